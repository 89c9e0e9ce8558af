package brokertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
)

// Within is how long a test waits for what should happen; far above what it takes.
const Within = 10 * time.Second

// Received is a delivered message, copied.
type Received struct {
	Group, Data, ID, From, Conn, Exclude string
	Format                               broker.Format
	Seq                                  uint64
}

// Change is one call of State.
type Change struct {
	Up     bool
	Reason string
}

// Recorder is a broker.Handler that keeps what it is given. Its functions may be set before the broker is opened.
type Recorder struct {
	OnAsk          func(ctx context.Context, verb string, body []byte) ([]byte, error)
	OnServe        func(ctx context.Context, verb string, body []byte) []byte
	OnAuthenticate func(ctx context.Context, token, remote string, overtaken *broker.NativeUser) (broker.NativeUser, error)
	OnOvertaken    func(u broker.NativeUser) bool
	OnDeliver      func(m *broker.Message) // instead of keeping it

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something is added
	messages map[string][]Received
	states   []Change
	missed   int
}

// NewRecorder returns a Recorder that refuses native users and answers questions with their verb and body.
func NewRecorder() *Recorder {
	return &Recorder{changed: make(chan struct{}), messages: map[string][]Received{}}
}

// Deliver keeps a copy of m.
func (r *Recorder) Deliver(m *broker.Message) {
	if r.OnDeliver != nil {
		r.OnDeliver(m)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	g := string(m.Group)
	r.messages[g] = append(r.messages[g], Received{
		Group: g, Data: string(m.Data), ID: string(m.ID), From: string(m.From), Conn: string(m.Conn), Exclude: string(m.Exclude),
		Format: m.Format, Seq: m.Seq,
	})
	r.wake()
}

// wake is called with mu held.
func (r *Recorder) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Ask calls OnAsk.
func (r *Recorder) Ask(ctx context.Context, verb string, body []byte) ([]byte, error) {
	if r.OnAsk != nil {
		return r.OnAsk(ctx, verb, body)
	}
	return fmt.Appendf(nil, "%s:%s", verb, body), nil
}

// Serve calls OnServe.
func (r *Recorder) Serve(ctx context.Context, verb string, body []byte) []byte {
	if r.OnServe != nil {
		return r.OnServe(ctx, verb, body)
	}
	return fmt.Appendf(nil, `{"ok":true,"verb":%q,"body":%q}`, verb, body)
}

// AuthenticateNative calls OnAuthenticate.
func (r *Recorder) AuthenticateNative(ctx context.Context, token, remote string, overtaken *broker.NativeUser) (broker.NativeUser, error) {
	if r.OnAuthenticate != nil {
		return r.OnAuthenticate(ctx, token, remote, overtaken)
	}
	return broker.NativeUser{}, errors.New("unknown token")
}

// NativeOvertaken calls OnOvertaken.
func (r *Recorder) NativeOvertaken(u broker.NativeUser) bool {
	return r.OnOvertaken != nil && r.OnOvertaken(u)
}

// Missed is counted.
func (r *Recorder) Missed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missed++
	r.wake()
}

// HasMissed tells whether Missed was called.
func (r *Recorder) HasMissed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed > 0
}

// State keeps the change.
func (r *Recorder) State(up bool, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, Change{up, reason})
	r.wake()
}

// Messages returns what was delivered for group so far.
func (r *Recorder) Messages(group string) []Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Received(nil), r.messages[group]...)
}

// States returns all changes so far.
func (r *Recorder) States() []Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Change(nil), r.states...)
}

// WaitMessages waits for n messages of group and returns them all.
func (r *Recorder) WaitMessages(t testing.TB, group string, n int) []Received {
	t.Helper()
	var got []Received
	r.wait(t, fmt.Sprintf("%d messages of %q", n, group), func() bool {
		got = r.messages[group]
		return len(got) >= n
	})
	return append([]Received(nil), got...)
}

// WaitState waits until the last change is up, or down.
func (r *Recorder) WaitState(t testing.TB, up bool) {
	t.Helper()
	r.wait(t, fmt.Sprintf("State(%v)", up), func() bool {
		return len(r.states) > 0 && r.states[len(r.states)-1].Up == up
	})
}

// wait calls done with mu held whenever something changed.
func (r *Recorder) wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	timeout := time.After(Within)
	for {
		r.mu.Lock()
		ok, changed := done(), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no %s within %s", what, Within)
		}
	}
}

// Eventually waits until cond holds.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(Within)
	for !cond() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("not within %s: %s", Within, what)
		}
	}
}
