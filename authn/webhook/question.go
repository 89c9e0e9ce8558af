package webhook

import (
	"encoding/json"

	"github.com/gatecast/gatecast/authn"
)

// question is the body of the POST. Fields are added, never taken away; the application ignores those it does not know.
type question struct {
	Carrier string            `json:"carrier"`           // "cookie", "header", "subprotocol", "query" or "message"
	Token   string            `json:"token,omitempty"`   // of the carriers that are no cookie
	Scheme  string            `json:"scheme,omitempty"`  // "bearer", "token", … of the Authorization header
	Cookies map[string]string `json:"cookies,omitempty"` // those of the list, as Django would read them
	Headers map[string]string `json:"headers,omitempty"` // those of the list, repeated ones joined by ", "
	Path    string            `json:"path,omitempty"`    // none by message
	Host    string            `json:"host,omitempty"`
	Origin  string            `json:"origin,omitempty"`
	Remote  string            `json:"remote,omitempty"` // the client's address
}

// ask makes the question about a credential; none if it is not for the application. The text is also the cache key.
func (v *Verifier) ask(c authn.Credential) (body string, mine bool) {
	q := question{Carrier: string(c.Carrier), Token: c.Value, Scheme: c.Scheme}
	if c.Carrier == authn.CarrierCookie {
		q.Token = ""
		for _, name := range v.opts.Cookies {
			if value, ok := c.Cookie(name); ok && value != "" {
				if q.Cookies == nil {
					q.Cookies = make(map[string]string, len(v.opts.Cookies))
				}
				q.Cookies[name] = value
			}
		}
	}
	if q.Token == "" && q.Cookies == nil {
		return "", false
	}
	if r := c.Request; r != nil {
		q.Path, q.Host, q.Origin = r.Path, r.Host, r.Origin
		if r.Remote.IsValid() {
			q.Remote = r.Remote.String()
		}
		for _, name := range v.opts.Headers {
			if value, ok := r.Header(name); ok {
				if q.Headers == nil {
					q.Headers = make(map[string]string, len(v.opts.Headers))
				}
				q.Headers[name] = value
			}
		}
	}
	b, err := json.Marshal(&q) // bytes that are no UTF-8 become U+FFFD: no token of anybody has them
	return string(b), err == nil
}
