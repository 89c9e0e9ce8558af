package authn

import (
	"errors"
	"strings"
	"testing"
)

// The table was found by running channels.security.websocket.OriginValidator of Channels 4.3.2; where it ends in a
// ValueError and so in HTTP 500, we refuse.
func TestOriginListsAreThoseOfChannels(t *testing.T) {
	tests := []struct {
		allowed string
		origin  string // "-" = no header
		reason  string // "" = allowed
	}{
		{"example.com", "https://example.com:8443", ""},
		{"example.com", "http://EXAMPLE.com", ""},
		{"EXAMPLE.com", "http://example.com", ""},
		{"example.com", "https://user@example.com", ""},
		{"example.com", "https://example.com@evil.com", OriginNotListed},
		{"example.com", "https://evil.com/example.com", OriginNotListed},
		{"example.com", "https://evil.com?example.com", OriginNotListed},
		{"example.com", "https://evil.com#@example.com", OriginNotListed},
		{"example.com", "https://sub.example.com", OriginNotListed},
		{"example.com:8443", "https://example.com", OriginNotListed},
		{"example.com:8443", "https://example.com:8443", OriginNotListed},
		{".example.com", "https://a.b.example.com", ""},
		{".example.com", "https://example.com", ""},
		{".example.com", "https://evilexample.com", OriginNotListed},
		{"https://example.com", "http://example.com", OriginNotListed},
		{"https://example.com", "https://example.com:443", ""},
		{"https://example.com:443", "https://example.com", ""},
		{"https://example.com:8443", "https://example.com:8443", ""},
		{"https://example.com:8443", "https://example.com:08443", ""},
		{"https://example.com:8443", "https://example.com", OriginNotListed},
		{"https://.example.com", "https://a.example.com", ""},
		{"https://.example.com", "https://example.com", ""},
		{"*.example.com", "https://a.example.com", OriginNotListed},
		{"ws://example.com", "http://example.com", OriginNotListed},
		{"ws://example.com", "ws://example.com:80", ""},
		{"example.com", "https://example.com.", OriginNotListed},
		{"example.com", "null", OriginOpaque},
		{"example.com", "", OriginOpaque},
		{"example.com", "file://", OriginOpaque},
		{"example.com", "-", OriginMissing},
		{"*", "null", ""},
		{"*", "-", ""},
		{"*", "https://anything:99999", ""},
		{"https://example.com", "https://example.com:99999", OriginMalformed},
		{"https://example.com", "https://example.com:8o", OriginMalformed},
		{"example.com", "https://[::1", OriginMalformed},
		{"example.com", "https://exa mple.com", OriginMalformed},
		{"example.com", "https://ex\xc3\xa4mple.com", OriginMalformed},
		{"example.com, https://other.org", "https://other.org", ""},
		{"example.com, *", "null", ""},
		{"[::1]", "http://[::1]:3000", ""},
		{"http://[::1]:3000", "http://[::1]:3000", ""},
		{"127.0.0.1", "http://127.0.0.1:8000", ""},
		{"localhost", "http://localhost:8000", ""},
		{"app://localhost", "app://localhost", ""},
		{"app://localhost", "capacitor://localhost", OriginNotListed},
		{"example.com", "//example.com", ""},
		{"example.com", "example.com", OriginOpaque},
	}
	for _, tt := range tests {
		p, err := NewOriginPolicy(strings.Split(tt.allowed, ", "))
		if err != nil {
			t.Errorf("NewOriginPolicy(%q) = %v", tt.allowed, err)
			continue
		}
		r := &Request{Origin: tt.origin, HasOrigin: true, Host: "example.com"}
		if tt.origin == "-" {
			r.Origin, r.HasOrigin = "", false
		}
		checkOrigin(t, p, r, tt.reason)
	}
}

func checkOrigin(t *testing.T, p *OriginPolicy, r *Request, reason string) {
	t.Helper()
	err := p.Check(r, true)
	var origin *OriginError
	if (reason != "") != errors.As(err, &origin) || origin != nil && (origin.Reason != reason || origin.Error() == "") {
		t.Errorf("Check of origin %q on host %q = %v, want %q", r.Origin, r.Host, err, reason)
	}
	if err := p.Check(r, false); err != nil {
		t.Errorf("Check of origin %q with a credential that is not ambient = %v", r.Origin, err)
	}
}

func TestWithoutAListTheOriginIsTheHost(t *testing.T) {
	tests := []struct {
		origin, host, forwarded string
		reason                  string
	}{
		{"https://example.com", "example.com", "", ""},
		{"http://example.com:3000", "example.com:8080", "", ""},
		{"https://EXAMPLE.com", "example.COM:443", "", ""},
		{"app://example.com", "example.com", "", ""},
		{"http://[::1]:3000", "[::1]:8080", "", ""},
		{"https://evil.com", "example.com", "", OriginOtherHost},
		{"https://sub.example.com", "example.com", "", OriginOtherHost},
		{"https://example.com.evil.com", "example.com", "", OriginOtherHost},
		{"https://example.com", "10.0.0.1:8080", "example.com", ""},
		{"https://example.com", "10.0.0.1:8080", "example.com:443, inner", ""},
		{"https://example.com", "example.com", "other.com", ""},
		{"https://evil.com", "10.0.0.1:8080", "example.com", OriginOtherHost},
		{"https://evil.com", "10.0.0.1:8080", "example.com, evil.com", OriginOtherHost},
		{"null", "example.com", "", OriginOpaque},
		{"", "example.com", "", OriginOpaque},
		{"", "", "", OriginOpaque},
		{"file://", "", "", OriginOpaque},
		{"https://evil.com", "", "", OriginOtherHost},
		{"https://evil.com", "x@evil.com", "", OriginOtherHost},
		{"https://evil.com", "[evil.com", "", OriginOtherHost},
		{"https://[", "example.com", "", OriginMalformed},
	}
	p, err := NewOriginPolicy(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		checkOrigin(t, p, &Request{Origin: tt.origin, HasOrigin: true, Host: tt.host, ForwardedHost: tt.forwarded}, tt.reason)
	}
	checkOrigin(t, p, &Request{Host: "example.com"}, "")
}

func TestEventStreamsWithoutOrigin(t *testing.T) {
	for _, list := range [][]string{nil, {"example.com"}} {
		p, err := NewOriginPolicy(list)
		if err != nil {
			t.Fatal(err)
		}
		for site, reason := range map[string]string{"": "", "same-origin": "", "none": "", "cross-site": OriginCrossSite, "same-site": OriginCrossSite, " Cross-Site ": OriginCrossSite} {
			checkOrigin(t, p, &Request{SSE: true, Host: "example.com", SecFetchSite: site}, reason)
		}
		checkOrigin(t, p, &Request{SSE: true, Host: "example.com", Origin: "https://example.com", HasOrigin: true}, "")
		checkOrigin(t, p, &Request{SSE: true, Host: "example.com", Origin: "null", HasOrigin: true}, OriginOpaque)
	}
}

func TestOriginListsThatCannotWork(t *testing.T) {
	for _, text := range []string{"", " ", "a b", "http://[::1", "https://example.com:99999", "https://example.com:x"} {
		if _, err := NewOriginPolicy([]string{"example.com", text}); err == nil || !strings.Contains(err.Error(), "origins: ") {
			t.Errorf("NewOriginPolicy(%q) = %v, want an error", text, err)
		}
	}
	p, err := NewOriginPolicy([]string{"example.com:8443", "*.example.com", "https://*.example.com", "ok.com"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Warnings(), "\n"); len(p.Warnings()) != 3 || !strings.Contains(got, "https://example.com:8443") || !strings.Contains(got, "write .example.com") {
		t.Errorf("Warnings = %s", got)
	}
}

func FuzzOrigin(f *testing.F) {
	f.Add("https://example.com:8443", "example.com", "example.com")
	f.Add("null", "*", "")
	f.Add("https://[::1]:3000", "http://[::1]", "[::1]:8080")
	f.Fuzz(func(t *testing.T, origin, pattern, host string) {
		r := &Request{Origin: origin, HasOrigin: true, Host: host}
		sameHost, err := NewOriginPolicy(nil)
		if err != nil {
			t.Fatal(err)
		}
		// Whoever is let in without a list has a host name, and it is the one of Host.
		if sameHost.Check(r, true) == nil {
			if name := hostOf(host); name == "" || !strings.Contains(strings.ToLower(origin), name[:1]) {
				t.Fatalf("origin %q is allowed on host %q", origin, host)
			}
		}
		p, err := NewOriginPolicy([]string{pattern})
		if err != nil {
			return
		}
		err = p.Check(r, true)
		if u, split := splitOrigin(origin); err == nil && pattern != "*" && (split != nil || u.host == "") {
			t.Fatalf("origin %q without a host is allowed by %q", origin, pattern)
		}
		if err != nil {
			_ = err.Error()
		}
	})
}
