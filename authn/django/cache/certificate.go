package cache

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// ExplainCertificate adds to an error what to do about a server's certificate that was not accepted; option is what names the file of the CA in the address.
// lasting tells that trying again without a change by people is no use, which is not so of a certificate whose time is over: somebody will renew it.
func ExplainCertificate(err error, option string) (explained error, lasting bool) {
	var refused *tls.CertificateVerificationError
	if !errors.As(err, &refused) {
		return err, false
	}
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &host):
		return fmt.Errorf("%w; write the host in the address as the server's certificate names it", err), true
	case errors.As(err, &authority):
		return fmt.Errorf("%w; name the file of the CA that made the server's certificate, in the address: %s=/path/to/ca.pem", err, option), true
	}
	return err, false
}
