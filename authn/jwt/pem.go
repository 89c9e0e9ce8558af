package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds what is read of a file with keys.
const maxFile = 256 << 10

// publicKeys reads public_key; none if it is empty.
func (o *Options) publicKeys() ([]key, error) {
	if o.PublicKey == "" {
		return nil, nil
	}
	if strings.Contains(o.PublicKey, "-----BEGIN") {
		return readPublic([]byte(o.PublicKey))
	}
	text, err := readFile(o.path(o.PublicKey))
	if err != nil {
		return nil, err
	}
	return readPublic(text)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	return text, err
}

// readPublic reads every public key and certificate of a PEM text.
func readPublic(text []byte) ([]key, error) {
	var keys []key
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		public, err := publicOf(block)
		if err != nil {
			return nil, err
		}
		k, err := newKey("", "", public)
		if err != nil {
			return nil, err
		}
		if len(keys) == maxTries {
			return nil, fmt.Errorf("more than %d keys", maxTries)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New(`no PEM in it, which begins with "-----BEGIN PUBLIC KEY-----"`)
	}
	return keys, nil
}

func publicOf(block *pem.Block) (public any, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, errors.New("a private key, which belongs to who makes the tokens only; write the public one with: openssl pkey -pubout -in FILE")
		}
		return nil, fmt.Errorf("a PEM block %.40q; want PUBLIC KEY or CERTIFICATE", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("the PEM block %s does not decode: %w", block.Type, err)
	}
	return public, nil
}

// ReadPrivate reads the private key of a PEM file, for [Claims].Key. It has to be unencrypted.
func ReadPrivate(path string) (crypto.Signer, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "EC PARAMETERS" { // openssl ecparam writes it before the key
			continue
		}
		private, err := privateOf(block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return private, nil
	}
	return nil, fmt.Errorf(`%s: no PEM in it, which begins with "-----BEGIN PRIVATE KEY-----"`, path)
}

func privateOf(block *pem.Block) (crypto.Signer, error) {
	var private any
	var err error
	switch {
	case block.Type == "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, errors.New("the key is encrypted; decrypt it with: openssl pkey -in FILE")
	case block.Type == "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a PEM block %.40q; want PRIVATE KEY", block.Type)
	}
	if err != nil {
		return nil, errors.New("the private key does not decode") // the library's text may quote it
	}
	switch k := private.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, errors.New("a key that is neither RSA, ECDSA nor Ed25519")
}
