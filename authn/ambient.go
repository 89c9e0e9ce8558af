package authn

import "slices"

// HasCookie reports whether r carries a cookie that a verifier of the chain reads: a credential that the browser may
// have added by itself, whether it turns out good or not.
func (c *Chain) HasCookie(r *Request) bool {
	if r.Cookie == "" || !slices.Contains(c.carriers, CarrierCookie) {
		return false
	}
	return slices.ContainsFunc(c.links, func(l *link) bool {
		if l.cookie == nil {
			return true // it may read any
		}
		_, ok := Cookie(r.Cookie, l.cookie.CookieName())
		return ok && l.cookie.CookieName() != ""
	})
}
