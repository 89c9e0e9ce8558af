package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatecast/gatecast/authn"
)

// pendingVerifier is cookieVerifier whose users "late…" have a key that is being fetched.
type pendingVerifier struct {
	cookieVerifier
	fetched context.Context
	asked   *atomic.Int32 // about those
}

func (v pendingVerifier) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	if strings.HasPrefix(c.Value, "late") {
		v.asked.Add(1)
		if v.fetched.Err() == nil {
			return nil, &authn.Pending{Until: v.fetched, Err: errors.New("the key is being fetched")}
		}
	}
	return v.cookieVerifier.Verify(ctx, c)
}

// pendingNode has one worker. fetch ends the fetch.
func pendingNode(t *testing.T) (n *Node, fetch context.CancelFunc, asked *atomic.Int32) {
	c := testConfig(t, "auto")
	asked = new(atomic.Int32)
	v := pendingVerifier{asked: asked}
	v.fetched, fetch = context.WithCancel(context.Background())
	t.Cleanup(fetch)
	var err error
	if c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": v}, nil, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	c.Server.AuthWorkers = 1
	n, _ = startAlone(t, c)
	return n, fetch, asked
}

// Who waits for a key takes no worker from the others, and is let in when the key is there.
func TestPendingLoginsHoldNoWorker(t *testing.T) {
	n, fetch, asked := pendingNode(t)
	late := make([]*sock, 20)
	for i := range late {
		late[i] = dial(t, n, "/ws", "")
		late[i].send(`{"op":"auth","id":1,"token":"late%d"}`, i)
	}
	eventually(t, "twenty pending logins", func() bool { return int(asked.Load()) == len(late) })
	dial(t, n, "/ws", "42").want(`{"op":"welcome","user":"42"}`)
	if n := asked.Load(); int(n) != len(late) {
		t.Errorf("pending logins were asked about %d times before there was news, want %d", n, len(late))
	}
	fetch()
	for i, s := range late {
		s.want(`{"op":"ok","id":1}`)
		s.want(fmt.Sprintf(`{"op":"welcome","user":"late%d"}`, i))
	}
}

// A login that is pending for longer than authn.timeout is told to come again.
func TestPendingLoginsHaveAnEnd(t *testing.T) {
	t.Parallel() // it waits, others need not
	n, _, _ := pendingNode(t)
	s := dial(t, n, "/ws", "")
	s.send(`{"op":"auth","id":1,"token":"late"}`)
	s.want(`{"op":"error","code":"unavailable"}`)
	s.want(`{"op":"close","code":4100}`)
	s.wantClose(closeOverloaded)
}
