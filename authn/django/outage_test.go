//go:build linux

package django

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/breaker"
	"github.com/gatecast/gatecast/authn/django/pgtest"
)

// A connection whose answer is given up is closed, which a server that hangs does not notice: whoever asks again and again must not have more and more of them
// there, all of which it would have to serve when it goes on. And then logins work again.
func TestConnectionsAreBoundedWhileTheServerHangs(t *testing.T) {
	t.Parallel() // as the others here, it waits most of the time, for a server of its own
	server := pgtest.Start(t)
	s := newPostgresSite(t, server, plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	s.db.SetMaxIdleConns(0) // those counted below are the verifier's
	const conns = 3
	v := s.open(func(o *Options) { o.DatabaseConns, o.QueryTimeout = conns, 100*time.Millisecond })
	v.db.breakers.session.Limit, v.db.breakers.user.Limit = 0, 0 // else it would be asked six times in all
	until(t, "the first login", func() bool { _, err := v.Verify(t.Context(), cookie(aliceKey)); return err == nil })
	server.Pause(t)
	most := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		var all sync.WaitGroup
		for range 2 * conns {
			all.Go(func() {
				_, err := v.Verify(t.Context(), cookie(aliceKey))
				var refused *authn.Refused
				if err == nil || errors.As(err, &refused) {
					t.Errorf("Verify while the server hangs = %v, want an error that is no refusal", err)
				}
			})
		}
		all.Wait()
		most = max(most, connectionsTo(t, server.Port))
	}
	// pgx waits up to 15 s for the end of each that it has given up, and sends a cancel request by a connection of its own; one more is being opened.
	if most > 2*conns+1 {
		t.Errorf("there were %d connections at once, want at most %d", most, 2*conns+1)
	}
	server.Resume(t)
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if _, err = v.Verify(t.Context(), cookie(aliceKey)); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("Verify 10 s after the server went on = %v", err)
	}
}

// A database that hangs costs the first logins query_timeout, and no others: they are told at once, by whom it is asked nothing. One question finds out that it answers again,
// or an answer to a sweep does.
func TestADatabaseThatHangsIsLeftAlone(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	s := newPostgresSite(t, server, plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	u, err := url.Parse(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	way := newTap(t, u.Host, false)
	u.Host = way.addr
	const conns = 3
	v := s.open(func(o *Options) {
		o.Database, o.DatabaseConns, o.QueryTimeout = u.String(), conns, hangTime
	})
	clock := setClock(v.db.breakers.session, v.db.breakers.user)
	id := mustVerify(t, v, aliceKey)
	server.Pause(t)
	login := func() error {
		_, err := v.Verify(t.Context(), cookie(aliceKey))
		return err
	}
	inVain(t, 16, login)
	asked := way.questions()
	for range 1000 {
		if err := login(); !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("Verify of those that come after = %v", err)
		}
	}
	if err := v.Ping(t.Context()); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("Ping = %v", err)
	}
	if now := way.questions(); now > asked+conns { // which may have been under way
		t.Errorf("a database that is left alone was asked %d times", now-asked)
	}
	clock.pass(breaker.Pause)
	if err := login(); err == nil || errors.Is(err, breaker.ErrOpen) {
		t.Errorf("Verify of one that probes = %v", err)
	}
	if err := login(); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("Verify after a probe that failed = %v", err)
	}
	if r := v.Revalidate(t.Context(), []*authn.Identity{id}); r[0].Err == nil || errors.Is(r[0].Err, breaker.ErrOpen) {
		t.Errorf("a sweep while it hangs = %+v, want that it was asked, and could not tell", r[0])
	}
	server.Resume(t)
	until(t, "a sweep is answered", func() bool { // no time passes for the breaker
		return v.Revalidate(t.Context(), []*authn.Identity{id})[0] == authn.Recheck{}
	})
	mustVerify(t, v, aliceKey)
	if err := v.Ping(t.Context()); err != nil {
		t.Errorf("Ping when it answers again = %v", err)
	}
}

// A login may find out as well, after the pause, and a node that nobody asks because it is not ready does by being asked whether it is.
func TestADatabaseThatIsBack(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	s := newPostgresSite(t, server, plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	v := s.open(func(o *Options) { o.QueryTimeout = hangTime })
	clock := setClock(v.db.breakers.session, v.db.breakers.user)
	mustVerify(t, v, aliceKey)
	server.Pause(t)
	inVain(t, breaker.Limit, func() error {
		_, err := v.Verify(t.Context(), cookie(aliceKey))
		return err
	})
	if err := v.Ping(t.Context()); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("Ping = %v", err)
	}
	clock.pass(breaker.Pause)
	if err := v.Ping(t.Context()); err == nil || errors.Is(err, breaker.ErrOpen) {
		t.Errorf("Ping after the pause = %v, want that it was asked and did not answer", err)
	}
	server.Resume(t)
	until(t, "the node is ready", func() bool { return v.Ping(t.Context()) == nil })
	mustVerify(t, v, aliceKey)
}

// connectionsTo counts the established TCP connections of this machine to a port of 127.0.0.1, proc(5).
func connectionsTo(t *testing.T, port int) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 3 && f[2] == fmt.Sprintf("0100007F:%04X", port) && f[3] == "01" {
			n++
		}
	}
	return n
}
