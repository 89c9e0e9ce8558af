package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
)

// shortSessions is a verifier whose sessions last two seconds and can be extended.
type shortSessions struct {
	cookieVerifier
	extend atomic.Bool
	looked atomic.Int32
}

func (v *shortSessions) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	id, err := v.cookieVerifier.Verify(ctx, c)
	if err == nil {
		id.Expires = time.Now().Add(2 * time.Second)
	}
	return id, err
}

func (v *shortSessions) Revalidate(_ context.Context, ids []*authn.Identity) []authn.Recheck {
	out := make([]authn.Recheck, len(ids))
	for i, id := range ids {
		v.looked.Add(1)
		if v.extend.Load() {
			longer := *id
			longer.Expires = time.Now().Add(2 * time.Second)
			out[i].Identity = &longer
		}
	}
	return out
}

func TestASessionThatTheSiteExtendedLivesOn(t *testing.T) {
	t.Parallel() // it waits, others need not
	c := testConfig(t, "auto")
	v := &shortSessions{}
	v.extend.Store(true)
	var err error
	c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": v}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n, _ := startAlone(t, c)
	s := dial(t, n, "/ws", "a")
	s.want(`{"op":"welcome"}`)
	eventually(t, "the second look", func() bool { return v.looked.Load() >= 2 })
	s.send(`{"op":"ping","id":1}`)
	s.want(`{"op":"ok","id":1}`)
	v.extend.Store(false)
	s.want(`{"op":"close","code":4401}`)
	s.wantClose(closeUnauthorized)
}
