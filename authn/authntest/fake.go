package authntest

import (
	"context"
	"sync"
	"time"

	"github.com/gatecast/gatecast/authn"
)

// Fake is a verifier that answers as told, with every optional interface. Without Answer all credentials are not its own.
// Set the fields before use; the methods may be called concurrently.
type Fake struct {
	// Answer is Verify.
	Answer func(ctx context.Context, c authn.Credential) (*authn.Identity, error)
	// Cookie is the cookie it reads; "" = it is not asked about cookies.
	Cookie string
	// Hash is SessionHash; nil = its logins are no sessions.
	Hash func(c authn.Credential) (string, bool)
	// Sweep is Revalidate; nil = everything is still good.
	Sweep func(ctx context.Context, ids []*authn.Identity) []authn.Recheck
	// Down is what Ping answers.
	Down error
	// TTL is TombstoneTTL.
	TTL time.Duration

	mu    sync.Mutex
	asked int // guarded by mu
}

// Verify counts and answers.
func (f *Fake) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	f.mu.Lock()
	f.asked++
	f.mu.Unlock()
	if f.Answer == nil {
		return nil, authn.ErrNotMine
	}
	return f.Answer(ctx, c)
}

// Asked is how often Verify was called.
func (f *Fake) Asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// CookieName implements authn.CookieNamer.
func (f *Fake) CookieName() string { return f.Cookie }

// SessionHash implements authn.SessionHasher.
func (f *Fake) SessionHash(c authn.Credential) (string, bool) {
	if f.Hash == nil {
		return "", false
	}
	return f.Hash(c)
}

// Revalidate implements authn.Revalidator.
func (f *Fake) Revalidate(ctx context.Context, ids []*authn.Identity) []authn.Recheck {
	if f.Sweep == nil {
		return make([]authn.Recheck, len(ids))
	}
	return f.Sweep(ctx, ids)
}

// Ping implements authn.Pinger.
func (f *Fake) Ping(context.Context) error { return f.Down }

// TombstoneTTL implements authn.TombstoneKeeper.
func (f *Fake) TombstoneTTL() time.Duration { return f.TTL }
