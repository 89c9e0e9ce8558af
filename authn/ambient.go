package authn

import "slices"

// HasAmbient reports whether r carries a credential for a verifier of the chain that the browser may have added by itself, whether it turns out good or
// not: a cookie that one reads, what a trusted proxy says, a client certificate.
func (c *Chain) HasAmbient(r *Request) bool {
	return slices.ContainsFunc(c.carriers, func(carrier Carrier) bool {
		if !carrier.ambient() {
			return false
		}
		cred, present, err := c.credential(r, carrier)
		return err == nil && present && slices.ContainsFunc(c.links, func(l *link) bool { return l.reads(cred) })
	})
}

// reads tells whether a verifier has something to look at in a cookie header, or in what a proxy or certificate says.
func (l *link) reads(cred Credential) bool {
	switch {
	case l.keyer != nil:
		_, mine := l.keyer.CacheKey(cred)
		return mine
	case cred.Carrier != CarrierCookie:
		return false
	case l.cookie == nil:
		return true // it may read any
	}
	_, ok := cred.Cookie(l.cookie.CookieName())
	return ok && l.cookie.CookieName() != ""
}
