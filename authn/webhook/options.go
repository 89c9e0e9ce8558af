package webhook

import (
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Options are the section [authn.webhook].
type Options struct {
	// URL is where the application is asked, by POST. Redirects are not followed, and no proxy of the environment is used.
	URL string `toml:"url"`
	// Secret is sent along as "Authorization: Bearer …", so that the application knows who asks. At least 16 bytes. Empty: nothing is sent; right only where
	// nobody else can reach the address.
	Secret string `toml:"secret" secret:"true"`
	// CA is the path of the authorities that the application's certificate may be from, in PEM. Empty: those of the system.
	CA string `toml:"ca"`
	// Cookies lists the cookies that are sent. Without one of them a request's cookies are no credential here.
	Cookies []string `toml:"cookies"`
	// Headers lists the request headers that are sent beside the credential, such as "Accept-Language". Each that differs is another entry in the cache.
	Headers []string `toml:"headers"`
	// Timeout bounds one question. 0 = only authn.timeout.
	Timeout time.Duration `toml:"timeout"`
	// Concurrency bounds the questions at once; more wait.
	Concurrency int `toml:"concurrency"`
	// Failures is how many questions in a row may fail until the application is left alone for open_for; then one question tries it. 0 = it is always asked.
	Failures int `toml:"failures"`
	// OpenFor is how long it is left alone. Logins get 4100 or 503 at once meanwhile.
	OpenFor time.Duration `toml:"open_for"`
	// UserPrefix goes before the user's id. Set it when another verifier's ids could be the same and mean somebody else.
	UserPrefix string `toml:"user_prefix"`

	// BaseDir is the folder of config.toml, for a relative path. config sets it.
	BaseDir string `toml:"-"`
}

// DefaultOptions returns the defaults of config.toml.
func DefaultOptions() Options {
	return Options{Cookies: []string{"sessionid"}, Timeout: 2 * time.Second, Concurrency: 16, Failures: 5, OpenFor: 5 * time.Second}
}

// Validate reports every value that cannot work.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.webhook."+format, args...)) }
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		bad("url is no address; write https://host/path")
	case u.User != nil:
		bad("url holds a user or password; set secret instead, which is sent in a header and never shown")
	case u.Fragment != "":
		bad("url has a part behind #, which is never sent; take it out")
	}
	if o.Secret != "" && len(o.Secret) < 16 {
		bad("secret has %d bytes, which can be guessed; make one with: openssl rand -hex 32", len(o.Secret))
	}
	if strings.ContainsFunc(o.Secret, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		bad("secret has a space or a character beyond ASCII, which cannot stand in a header")
	}
	for _, name := range o.Cookies {
		if name == "" || strings.ContainsAny(name, "=;, \t\r\n\"") {
			bad("cookies has %q, which is no name of a cookie", name)
		}
	}
	for _, name := range o.Headers {
		switch canonical := textproto.CanonicalMIMEHeaderKey(name); {
		case name == "" || strings.ContainsAny(name, ":_ \t\r\n"):
			bad("headers has %q, which is no name of a header", name)
		case slices.Contains([]string{"Cookie", "Authorization", "Sec-Websocket-Protocol", "Sec-Websocket-Key"}, canonical):
			bad("headers has %q; credentials are sent by themselves, take it out", name)
		}
	}
	if o.Timeout < 0 {
		bad("timeout is negative; 0 = only authn.timeout")
	}
	if o.Concurrency < 1 || o.Concurrency > 1000 {
		bad("concurrency is %d: want 1 to 1000", o.Concurrency)
	}
	if o.Failures < 0 {
		bad("failures is negative; 0 = the application is always asked")
	}
	if o.Failures > 0 && (o.OpenFor <= 0 || o.OpenFor > 10*time.Minute) {
		bad("open_for is %v: want a time up to 10m", o.OpenFor)
	}
	if len(o.UserPrefix) > 64 || strings.ContainsFunc(o.UserPrefix, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		bad("user_prefix: want at most 64 bytes and no control characters")
	}
	return errors.Join(errs...)
}
