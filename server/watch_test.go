package server

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// lockedText is a log that a test reads while it is written.
type lockedText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestTheLogNamesTheConnThatBlocksItsLoop(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c, text := testConfig(t, mode), &lockedText{}
		c.Server.Loops = 1
		c.Log = slog.New(slog.NewTextHandler(text, nil))
		n, b := startAlone(t, c)
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		id := connsOf(t, n, "a")[0].Conn

		b.mu.Lock() // the broker takes no message: a fault that must never be
		s.send(`{"op":"group_send","id":1,"group":"chat.1","data":1}`)
		func() {
			defer b.mu.Unlock()
			eventually(t, "word of the blocked loop", func() bool { return strings.Contains(text.String(), "a loop is blocked") })
		}()
		for _, part := range []string{"call=read", "conn=" + id, "loopback_test.go"} {
			if !strings.Contains(text.String(), part) {
				t.Errorf("the log does not say %q:\n%s", part, text)
			}
		}
		s.want(`{"op":"ok","id":1}`)
		eventually(t, "word that it goes on", func() bool { return strings.Contains(text.String(), "the loop goes on") })
		if s := n.engine.Stats().Loops[0]; s.Blocks != 1 || s.BlockedFor != 0 {
			t.Errorf("blocks %d, blocked for %v; want 1 and 0s", s.Blocks, s.BlockedFor)
		}
	})
}
