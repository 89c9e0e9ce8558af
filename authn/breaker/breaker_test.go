package breaker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// clock is a Breaker's that is set by hand.
type clock struct{ now time.Time }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func newBreaker(limit int) (*Breaker, *clock) {
	c := &clock{time.Now()}
	return &Breaker{Name: "it", Limit: limit, Pause: time.Second, Now: func() time.Time { return c.now }}, c
}

// ask is one question, and tells whether it was let through.
func ask(b *Breaker, how Outcome) bool {
	p, err := b.Enter()
	if err == nil {
		b.Leave(p, how)
	}
	return err == nil
}

func TestFailuresInARowOpenIt(t *testing.T) {
	b, c := newBreaker(3)
	for _, how := range []Outcome{Failed, Failed, Answered, Failed, Unknown, Failed} {
		if !ask(b, how) || b.Check() != nil {
			t.Fatalf("it is open before 3 in a row, at %v", how)
		}
	}
	ask(b, Failed)
	if err := b.Check(); !errors.Is(err, ErrOpen) || !strings.HasPrefix(err.Error(), "it failed again") {
		t.Fatalf("Check after 3 in a row = %v", err)
	}
	c.pass(time.Second - 1)
	if ask(b, Answered) {
		t.Error("a question was let through in the pause")
	}
	c.pass(1)
	if err := b.Check(); err != nil { // else nobody would come to probe
		t.Errorf("Check after the pause = %v", err)
	}
	if !ask(b, Failed) || ask(b, Answered) {
		t.Error("after the pause not one question was let through, whose failure begins another")
	}
	c.pass(time.Second)
	if !ask(b, Answered) {
		t.Fatal("no second probe")
	}
	for range 2 { // the count begins again
		if !ask(b, Failed) || b.Check() != nil {
			t.Error("an answer does not close it")
		}
	}
}

func TestOneProbeAtATime(t *testing.T) {
	b, c := newBreaker(1)
	ask(b, Failed)
	c.pass(time.Second)
	probe, err := b.Enter()
	if _, second := b.Enter(); err != nil || !errors.Is(second, ErrOpen) || !errors.Is(b.Check(), ErrOpen) {
		t.Errorf("the first = %v, a second beside it = %v, Check = %v", err, second, b.Check())
	}
	b.Leave(probe, Unknown) // whoever probed gave up
	if !ask(b, Answered) || b.Check() != nil {
		t.Error("no other probe follows one that was given up")
	}
}

// Many questions hang when it opens, and end after it: what they say is old.
func TestWhatWasAskedBeforeItOpened(t *testing.T) {
	b, c := newBreaker(2)
	var before []Pass
	for range 6 {
		p, err := b.Enter()
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, p)
	}
	b.Leave(before[0], Failed)
	b.Leave(before[1], Failed)
	c.pass(time.Second)
	b.Leave(before[2], Failed) // makes the pause no longer
	probe, err := b.Enter()
	if err != nil {
		t.Fatalf("after the pause: %v", err)
	}
	b.Leave(before[3], Failed) // is not the probe's
	if _, err := b.Enter(); err == nil {
		t.Error("there were two probes")
	}
	b.Leave(before[4], Answered) // is as good as the probe's
	if err := b.Check(); err != nil {
		t.Errorf("after an answer: %v", err)
	}
	b.Leave(probe, Failed)
	b.Leave(before[5], Failed) // and not two in a row
	if !ask(b, Answered) {
		t.Error("failures of before opened it again")
	}
}

func TestAnAnswerWithoutLeaveClosesIt(t *testing.T) {
	b, _ := newBreaker(1)
	ask(b, Failed)
	if b.Answered(); !ask(b, Unknown) {
		t.Error("it is open")
	}
}

func TestWithoutALimitItIsAlwaysAsked(t *testing.T) {
	b, _ := newBreaker(0)
	for range 100 {
		if !ask(b, Failed) {
			t.Fatal("it was not")
		}
	}
}

func TestTheLogHearsOncePerOutage(t *testing.T) {
	b, c := newBreaker(2)
	var log bytes.Buffer
	b.Log = slog.New(slog.NewTextHandler(&log, nil))
	for range 5 {
		ask(b, Failed)
		c.pass(time.Second)
	}
	ask(b, Answered)
	ask(b, Answered)
	if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "does not answer") || !strings.Contains(lines[1], "answers again") {
		t.Errorf("the log says %q", lines)
	}
}

func TestWhatCounts(t *testing.T) {
	locked := errors.New("locked")
	for name, test := range map[string]struct {
		limit    time.Duration // of the caller; 0 = none
		cause    error         // why the caller gives up, at once; nil = it does not
		question func(ctx context.Context) error
		want     Outcome
	}{
		"an answer":                    {question: func(context.Context) error { return nil }, want: Answered},
		"an error that the other says": {question: func(context.Context) error { return errors.New("undefined table") }, want: Answered},
		"a refused connection": {question: func(context.Context) error {
			return fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: errors.New("refused")})
		}, want: Failed},
		"a connection that ends":          {question: func(context.Context) error { return fmt.Errorf("read: %w", io.ErrUnexpectedEOF) }, want: Failed},
		"an error of the driver":          {question: func(context.Context) error { return locked }, want: Failed},
		"its own time is up":              {question: within(2 * time.Second), want: Failed},
		"its own short time is up":        {limit: time.Minute, question: within(time.Millisecond), want: Failed},
		"the caller's time is up":         {limit: 5 * time.Second, question: within(time.Minute), want: Failed},
		"the caller had no time left":     {limit: time.Millisecond, question: within(time.Minute), want: Unknown},
		"the caller went away":            {cause: context.Canceled, question: within(time.Minute), want: Unknown},
		"the last who waited had no time": {cause: context.DeadlineExceeded, question: within(time.Minute), want: Failed},
		"something else was given up":     {question: func(context.Context) error { return context.Canceled }, want: Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &Breaker{Limit: 2, Pause: time.Second, Silent: func(err error) bool { return errors.Is(err, locked) }}
				ctx := t.Context()
				if test.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.limit)
					defer cancel()
				}
				ctx, cancel := context.WithCancelCause(ctx)
				defer cancel(nil)
				if test.cause != nil {
					cancel(test.cause)
				}
				ask(b, Failed)
				b.Ask(ctx, func() error { return test.question(ctx) })
				got := Failed
				if b.Check() == nil {
					ask(b, Failed)
					got = map[bool]Outcome{true: Answered, false: Unknown}[b.Check() == nil]
				}
				if got != test.want {
					t.Errorf("it counts as %d, want %d", got, test.want)
				}
			})
		})
	}
}

// within is a question that hangs, and has so much time.
func within(d time.Duration) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		<-ctx.Done()
		return fmt.Errorf("read: %w", ctx.Err())
	}
}

// A storm on a side that hangs: those that are first wait, and all others are told at once.
func TestAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Breaker{Limit: 5, Pause: time.Second}
		hang := true
		var asked atomic.Int32
		login := func() error {
			return b.Ask(t.Context(), func() error {
				asked.Add(1)
				if hang {
					return within(3 * time.Second)(t.Context())
				}
				return nil
			})
		}
		began := time.Now()
		var workers sync.WaitGroup
		for range 16 {
			workers.Go(func() { login() })
		}
		workers.Wait()
		for range 1000 {
			if err := login(); !errors.Is(err, ErrOpen) {
				t.Fatalf("a login after the first = %v", err)
			}
		}
		if took := time.Since(began); took != 3*time.Second || asked.Load() != 16 {
			t.Errorf("1016 logins took %v and asked %d times, want the time of one, and 16", took, asked.Load())
		}
		<-time.After(b.Pause)
		hang = false
		for range 100 {
			if err := login(); err != nil {
				t.Fatalf("when it answers again: %v", err)
			}
		}
	})
}

func TestAPanicIsNoFailure(t *testing.T) {
	b, _ := newBreaker(1)
	func() {
		defer func() { _ = recover() }()
		b.Ask(t.Context(), func() error { panic("a bug") })
	}()
	if !ask(b, Unknown) {
		t.Error("it is open")
	}
}
