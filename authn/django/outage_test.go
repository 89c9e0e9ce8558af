//go:build linux

package django

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django/pgtest"
)

// A connection whose answer is given up is closed, which a server that hangs does not notice: whoever asks again and again must not have more and more of them
// there, all of which it would have to serve when it goes on. And then logins work again.
func TestConnectionsAreBoundedWhileTheServerHangs(t *testing.T) {
	server := pgtest.Start(t)
	s := newPostgresSite(t, server, plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	s.db.SetMaxIdleConns(0) // those counted below are the verifier's
	const conns = 3
	v := s.open(func(o *Options) { o.DatabaseConns, o.QueryTimeout = conns, 100*time.Millisecond })
	mustVerify(t, v, aliceKey)
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
