package django

import (
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
)

func TestConformance(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.addUser(account{id: "42", groups: []int{1}})
		s.addUser(account{id: "7", inactive: true})
		s.login(aliceKey, "42")
		s.login(bobKey, "7")
		const expired = "expired0expired0expired0expired0"
		s.addSession(expired, sign(rawKey(s.keys.SessionKey), s.payload("42"), time.Now()), time.Now().Add(-time.Hour))
		cookieKey := rawKey(s.keys.CookieKey)
		good, inactive := sign(cookieKey, s.payload("42"), time.Now()), sign(cookieKey, s.payload("7"), time.Now())

		t.Run("db", func(t *testing.T) {
			authntest.Run(t, func(t *testing.T) authntest.Harness {
				return authntest.Harness{
					Verifier: s.openFor(t),
					Good: []authntest.Good{
						{Credential: authntest.WithCookie("sessionid", aliceKey), ID: "42"},
						{Credential: authntest.WithBearer(aliceKey), ID: "42"},
					},
					Bad: map[string]authn.Credential{
						"unknown": authntest.WithBearer("unknown0unknown0unknown0unknown0"), "expired": authntest.WithCookie("sessionid", expired),
						"inactive": authntest.WithCookie("sessionid", bobKey), "garbage": authntest.WithCookie("sessionid", "<script>"),
					},
					NotMine: []authn.Credential{authntest.WithBearer(good)},
					Secrets: []string{s.keys.SessionKey, s.keys.HashKey, vectorPassword},
					Blocks:  true,
					Takes: func(c authn.Credential) bool {
						return c.Carrier == authn.CarrierCookie && c.Cookies != nil || looksLikeKey(c.Value, 32, 32)
					},
				}
			})
		})
		t.Run("signed_cookies", func(t *testing.T) {
			authntest.Run(t, func(t *testing.T) authntest.Harness {
				return authntest.Harness{
					Verifier: s.openFor(t, func(o *Options) { o.Engine = EngineSignedCookies }),
					Good: []authntest.Good{
						{Credential: authntest.WithCookie("sessionid", good), ID: "42"},
						{Credential: authntest.WithBearer(good), ID: "42"},
					},
					Bad: map[string]authn.Credential{
						"inactive": authntest.WithBearer(inactive), "of engine db": authntest.WithCookie("sessionid", aliceKey),
						"signed as a row": authntest.WithBearer(sign(rawKey(s.keys.SessionKey), s.payload("42"), time.Now())),
					},
					NotMine: []authn.Credential{authntest.WithBearer(aliceKey)},
					Secrets: []string{s.keys.CookieKey, s.keys.HashKey, vectorPassword},
					Blocks:  true,
					Takes: func(c authn.Credential) bool {
						return c.Carrier == authn.CarrierCookie && c.Cookies != nil || looksSigned(c.Value, false)
					},
				}
			})
		})
	})
}
