package authn

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// OriginPolicy decides from which pages a browser may connect with a credential that it adds by itself. It is immutable.
//
// Without a list the Origin's host name must be that of Host, which no page of another site has. With a list it does what
// channels.security.websocket.OriginValidator (Channels 4.3.2) does, but never fails on odd input and says why it refused.
type OriginPolicy struct {
	sameHost bool
	any      bool // the list has "*"
	patterns []originPattern
	warnings []string
}

type originPattern struct {
	scheme string // "" = any scheme and port
	port   string // of a pattern with scheme, its default filled in; "" = none known
	host   string // lower case; a leading dot stands for the domain and all below it
}

// Reasons of an [OriginError].
const (
	OriginMissing   = "origin_missing"    // a list is set and the WebSocket handshake has no Origin
	OriginOpaque    = "origin_opaque"     // null, file:// and other origins without a host
	OriginMalformed = "origin_malformed"  // no address at all
	OriginOtherHost = "origin_other_host" // no list is set and Host is another
	OriginNotListed = "origin_not_listed"
	OriginCrossSite = "origin_cross_site" // an event stream without Origin, of which the browser says it comes from elsewhere
)

// OriginError says why an origin was refused.
type OriginError struct {
	Reason string // one of the constants above
	Origin string // as sent, cut
	Host   string // what it was compared with, where it was
}

func (e *OriginError) Error() string {
	switch e.Reason {
	case OriginMissing:
		return "no Origin header; server.origins is set, so browsers and programs must send one"
	case OriginOpaque:
		return fmt.Sprintf("origin %q has no host name", e.Origin)
	case OriginMalformed:
		return fmt.Sprintf("origin %q is malformed", e.Origin)
	case OriginOtherHost:
		return fmt.Sprintf("origin %q is another host than %q; list it in server.origins if it may connect", e.Origin, e.Host)
	case OriginCrossSite:
		return "the event stream was opened from another site"
	}
	return fmt.Sprintf("origin %q is not in server.origins", e.Origin)
}

// NewOriginPolicy compiles server.origins.
func NewOriginPolicy(origins []string) (*OriginPolicy, error) {
	p := &OriginPolicy{sameHost: len(origins) == 0}
	var errs []error
	for _, text := range origins {
		if text == "*" {
			p.any = true
			continue
		}
		pattern, warning, err := parseOriginPattern(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("origins: %q %w", text, err))
			continue
		}
		if warning != "" {
			p.warnings = append(p.warnings, fmt.Sprintf("origins: %q never matches: %s", text, warning))
		}
		p.patterns = append(p.patterns, pattern)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// Warnings names the entries that can never match, with what was probably meant.
func (p *OriginPolicy) Warnings() []string { return slices.Clone(p.warnings) }

func parseOriginPattern(text string) (pattern originPattern, warning string, err error) {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return pattern, "", errors.New(`is no origin; write a host name, "https://host[:port]", or "*"`)
	}
	text = strings.ToLower(text)
	u, err := splitOrigin(text)
	if err != nil {
		return pattern, "", errors.New(`is no origin; write a host name or "https://host[:port]"`)
	}
	if u.scheme == "" {
		if u, err = splitOrigin("//" + text); err != nil {
			return pattern, "", errors.New(`is no origin; write a host name or "https://host[:port]"`)
		}
		pattern.host = u.host
		if pattern.host == "" {
			pattern.host = text
		}
	} else {
		port, ok := u.effectivePort()
		if !ok {
			return pattern, "", errors.New("has an impossible port")
		}
		pattern = originPattern{scheme: u.scheme, port: port, host: u.host}
		if u.host == "" {
			warning = "a host with a port needs its scheme, e.g. https://" + text
		}
	}
	if rest, star := strings.CutPrefix(pattern.host, "*."); star {
		warning = "write ." + rest + " for a domain and all below it"
	}
	return pattern, warning, nil
}

// Check returns nil or an *OriginError. ambient says that the credential is one that a browser adds by itself (the cookie
// carrier); without one nothing is refused.
func (p *OriginPolicy) Check(r *Request, ambient bool) error {
	if !ambient || p.any {
		return nil
	}
	if !r.HasOrigin {
		return p.checkMissing(r)
	}
	u, err := splitOrigin(r.Origin)
	if err != nil {
		return &OriginError{Reason: OriginMalformed, Origin: cut(r.Origin)}
	}
	if u.host == "" {
		return &OriginError{Reason: OriginOpaque, Origin: cut(r.Origin)}
	}
	if p.sameHost {
		forwarded, _, _ := strings.Cut(r.ForwardedHost, ",")
		if u.host == hostOf(r.Host) || forwarded != "" && u.host == hostOf(strings.TrimSpace(forwarded)) {
			return nil
		}
		return &OriginError{Reason: OriginOtherHost, Origin: cut(r.Origin), Host: cut(r.Host)}
	}
	for i := range p.patterns {
		ok, err := p.patterns[i].match(u)
		if ok {
			return nil
		}
		if err != nil {
			return &OriginError{Reason: OriginMalformed, Origin: cut(r.Origin)}
		}
	}
	return &OriginError{Reason: OriginNotListed, Origin: cut(r.Origin)}
}

// checkMissing decides without an Origin. Browsers send one with every WebSocket; an event stream of the same origin has
// none, but Sec-Fetch-Site, where the browser is not very old.
func (p *OriginPolicy) checkMissing(r *Request) error {
	if r.SSE {
		site := strings.TrimSpace(r.SecFetchSite)
		if strings.EqualFold(site, "cross-site") || strings.EqualFold(site, "same-site") {
			return &OriginError{Reason: OriginCrossSite}
		}
		return nil
	}
	if p.sameHost {
		return nil
	}
	return &OriginError{Reason: OriginMissing}
}

func (p *originPattern) match(u originURL) (bool, error) {
	if p.scheme != "" {
		port, ok := u.effectivePort()
		if !ok {
			return false, errOrigin
		}
		if u.scheme != p.scheme || port != p.port {
			return false, nil
		}
	}
	// django.utils.http.is_same_domain
	if p.host == "" {
		return false, nil
	}
	return u.host == p.host || p.host[0] == '.' && (strings.HasSuffix(u.host, p.host) || u.host == p.host[1:]), nil
}

// hostOf gives the lower-case host name of a Host header.
func hostOf(host string) string {
	if strings.ContainsAny(host, "/?#@\\") {
		return ""
	}
	u, err := splitOrigin("//" + host)
	if err != nil {
		return ""
	}
	return u.host
}

// cut keeps what the peer sent short enough for a log line.
func cut(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// originURL is what Python's urlsplit makes of an address, as far as origins need it.
type originURL struct{ scheme, host, port string }

var errOrigin = errors.New("malformed origin")

// effectivePort gives the port, or the scheme's own; ok is false if it is no port.
func (u originURL) effectivePort() (port string, ok bool) {
	if u.port == "" {
		switch u.scheme {
		case "http", "ws":
			return "80", true
		case "https", "wss":
			return "443", true
		}
		return "", true
	}
	n := 0
	for i := 0; i < len(u.port); i++ {
		if u.port[i] < '0' || u.port[i] > '9' {
			return "", false
		}
		if n = n*10 + int(u.port[i]-'0'); n > 65535 {
			return "", false
		}
	}
	return fmt.Sprint(n), true
}

// splitOrigin is urllib.parse.urlsplit: scheme and host in lower case. It refuses what makes Python raise ValueError.
func splitOrigin(s string) (u originURL, err error) {
	for s != "" && s[0] <= ' ' {
		s = s[1:]
	}
	s = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(s)
	if i := strings.IndexByte(s, ':'); i > 0 && schemeChars(s[:i]) {
		u.scheme, s = strings.ToLower(s[:i]), s[i+1:]
	}
	netloc, found := strings.CutPrefix(s, "//")
	if !found {
		return u, nil
	}
	if i := strings.IndexAny(netloc, "/?#"); i >= 0 {
		netloc = netloc[:i]
	}
	if strings.Contains(netloc, "[") != strings.Contains(netloc, "]") {
		return u, errOrigin
	}
	netloc = netloc[strings.LastIndexByte(netloc, '@')+1:]
	host, port := netloc, ""
	if before, bracketed, open := strings.Cut(netloc, "["); open {
		if before != "" {
			return u, errOrigin
		}
		var rest string
		host, rest, _ = strings.Cut(bracketed, "]")
		if rest != "" && rest[0] != ':' {
			return u, errOrigin
		}
		_, port, _ = strings.Cut(rest, ":")
	} else {
		host, port, _ = strings.Cut(netloc, ":")
	}
	for i := 0; i < len(host); i++ {
		if host[i] <= ' ' || host[i] >= 0x7f {
			return u, errOrigin // browsers send IDNA
		}
	}
	u.host, u.port = strings.ToLower(host), port
	return u, nil
}

func schemeChars(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return true
}
