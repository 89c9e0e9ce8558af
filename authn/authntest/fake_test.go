package authntest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/gatecast/gatecast/authn"
)

// A Fake that is told to behave passes the suite, optional interfaces included.
func TestAFakePassesTheSuite(t *testing.T) {
	Run(t, func(t *testing.T) Harness {
		const cookie, good, bad = "sid", "good-session-key", "logged-out-session"
		f := &Fake{Cookie: cookie}
		f.Hash = func(c authn.Credential) (string, bool) {
			key, ok := c.Cookie(cookie)
			sum := sha256.Sum256([]byte(key))
			return hex.EncodeToString(sum[:]), ok
		}
		f.Answer = func(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
			key, ok := c.Cookie(cookie)
			if !ok {
				return nil, authn.ErrNotMine
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if key != good {
				return nil, authn.Refuse("unknown_session", nil)
			}
			hash, _ := f.Hash(c)
			return &authn.Identity{ID: "42", SessionHash: hash, Ref: authn.Secret(key)}, nil
		}
		return Harness{
			Verifier: f,
			Good:     []Good{{Credential: WithCookie(cookie, good), ID: "42"}},
			Bad:      map[string]authn.Credential{"logged out": WithCookie(cookie, bad)},
			NotMine:  []authn.Credential{WithBearer(good)},
			Secrets:  []string{good},
			Blocks:   true,
		}
	})
}

func TestAFakeCounts(t *testing.T) {
	f := &Fake{}
	for range 3 {
		if _, err := f.Verify(t.Context(), WithBearer("x")); err != authn.ErrNotMine {
			t.Errorf("Verify = %v, want ErrNotMine", err)
		}
	}
	if f.Asked() != 3 {
		t.Errorf("Asked = %d, want 3", f.Asked())
	}
}
