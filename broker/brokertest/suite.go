package brokertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/subject"
)

// Suite checks what any set of connected nodes must do. request sends a request with these headers to node's NATS address, as a
// service does, and returns the answer.
func Suite(t *testing.T, nodes []*Node, request func(t testing.TB, node int, subject string, data []byte, headers map[string]string) []byte) {
	last := nodes[len(nodes)-1]
	first := nodes[0]

	t.Run("a message reaches every node that joined, unchanged", func(t *testing.T) {
		for _, group := range []string{"chat.1", "a..b", ".x", "räksmörgås.ü", "with-dash_and_underscore", "semi:colon!excl"} {
			for _, n := range nodes {
				n.JoinWait(t, group)
			}
			m := broker.Message{
				Group: []byte(group), Data: []byte(`{"n":1}`), ID: []byte("id 1%"), From: []byte("a.b@x.com"), Conn: []byte("c-1"), Exclude: []byte("c-1,c-2"),
			}
			if err := last.Publish(&m); err != nil {
				t.Fatal(err)
			}
			want := Received{Group: group, Data: `{"n":1}`, ID: "id 1%", From: "a.b@x.com", Conn: "c-1", Exclude: "c-1,c-2"}
			for _, n := range nodes {
				if got := n.WaitMessages(t, group, 1); got[0] != want || len(got) != 1 {
					t.Errorf("%s got %+v, want one %+v", n.Name(), got, want)
				}
				n.Leave(group)
			}
		}
	})

	t.Run("every format arrives as it was sent", func(t *testing.T) {
		first.JoinWait(t, "formats")
		bodies := []string{`[1]`, "täxt", "\xff\x00\r\n", "\x81\xa1a\x01"}
		for f := broker.FormatJSON; f <= broker.FormatMsgpack; f++ {
			if err := last.Publish(&broker.Message{Group: []byte("formats"), Data: []byte(bodies[f]), Format: f}); err != nil {
				t.Fatal(err)
			}
		}
		for i, got := range first.WaitMessages(t, "formats", 4) {
			if got.Data != bodies[i] || got.Format != broker.Format(i) {
				t.Errorf("got %+v, want %q as %s", got, bodies[i], broker.Format(i))
			}
		}
	})

	t.Run("users' groups are heard without a subscription each", func(t *testing.T) {
		group := subject.UserGroup("a.b@x.com")
		first.JoinWait(t, group)
		before := first.Stats().Interest
		first.JoinWait(t, subject.UserGroup("7"))
		if after := first.Stats().Interest; after != before {
			t.Errorf("interest grew from %d to %d", before, after)
		}
		last.Send(t, group, `"hi"`)
		if got := first.WaitMessages(t, group, 1); got[0].Data != `"hi"` {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("one publisher's messages stay in order", func(t *testing.T) {
		const n = 5000
		first.JoinWait(t, "order")
		for i := range n {
			last.Send(t, "order", fmt.Sprint(i))
		}
		for i, m := range first.WaitMessages(t, "order", n) {
			if m.Data != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, m.Data)
			}
		}
	})

	t.Run("a join that is done hears the next message, from any node", func(t *testing.T) {
		for i := range 100 {
			group := fmt.Sprintf("barrier.%d", i)
			first.JoinWait(t, group)
			last.Send(t, group, "1")
			first.WaitMessages(t, group, 1)
			first.Leave(group)
		}
	})

	t.Run("a settled node has been handed what was published before", func(t *testing.T) {
		const n = 2000
		first.JoinWait(t, "settled")
		for i := range n {
			last.Send(t, "settled", fmt.Sprint(i))
		}
		if err := first.Settle(t.Context()); err != nil {
			t.Fatalf("Settle: %v", err)
		}
		if got := len(first.Messages("settled")); got != n {
			t.Errorf("%d of %d messages were handed over", got, n)
		}
		first.Leave("settled")
	})

	t.Run("many joins of one group at once are all told", func(t *testing.T) {
		var done sync.WaitGroup
		for range 200 {
			done.Add(1)
			first.Join("crowd", func(err error) {
				if err != nil {
					t.Errorf("Join: %v", err)
				}
				done.Done()
			})
		}
		done.Wait()
		last.Send(t, "crowd", "1")
		if got := first.WaitMessages(t, "crowd", 1); len(got) != 1 {
			t.Errorf("one subscription delivered %d times", len(got))
		}
		for range 200 {
			first.Leave("crowd")
		}
	})

	t.Run("names that are no groups are refused", func(t *testing.T) {
		for _, group := range []string{"", "a b", "a\nb", "a.*", ">", string(make([]byte, 300))} {
			if err := first.TryJoin(group); !errors.Is(err, broker.ErrBadGroup) {
				t.Errorf("Join(%q) = %v, want ErrBadGroup", group, err)
			}
			if err := first.Publish(&broker.Message{Group: []byte(group), Data: []byte("1")}); !errors.Is(err, broker.ErrBadGroup) {
				t.Errorf("Publish(%q) = %v, want ErrBadGroup", group, err)
			}
		}
	})

	t.Run("a message that is too large is refused", func(t *testing.T) {
		err := first.Publish(&broker.Message{Group: []byte("big"), Data: make([]byte, 65<<20)})
		if !errors.Is(err, broker.ErrTooLarge) {
			t.Errorf("got %v, want ErrTooLarge", err)
		}
	})

	t.Run("the ingress answers", func(t *testing.T) {
		first.JoinWait(t, "in.1")
		for i := range nodes {
			if got := string(request(t, i, "gc.in.in.1", []byte(`{"a":1}`), map[string]string{"Gc-Id": "x", "Gc-From": "42"})); got != `{"ok":true}` {
				t.Errorf("node %d answered %s", i, got)
			}
		}
		for _, m := range first.WaitMessages(t, "in.1", len(nodes)) {
			if m.Data != `{"a":1}` || m.From != "42" || m.ID != "x" {
				t.Errorf("got %+v", m)
			}
		}
		for _, c := range []struct {
			subject, body, format, code string
		}{
			{"gc.in.a=zz", "1", "", "bad_group"},
			{"gc.in.a=61", "1", "", "bad_group"},
			{"gc.in.in.1", "{", "", "bad_request"},
			{"gc.in.in.1", "\xff", "text", "bad_request"},
			{"gc.in.in.1", "\xc1", "msgpack", "bad_request"},
			{"gc.in.in.1", "1", "xml", "bad_request"},
		} {
			got := string(request(t, 0, c.subject, []byte(c.body), map[string]string{"Gc-Format": c.format}))
			if want := fmt.Sprintf(`{"ok":false,"code":%q,"message":`, c.code); len(got) < len(want) || got[:len(want)] != want {
				t.Errorf("%s %q %s: got %s, want %s…", c.subject, c.body, c.format, got, want)
			}
		}
	})

	t.Run("all nodes answer a question", func(t *testing.T) {
		answers, err := first.AskAll(context.Background(), "connections", []byte("x\ny"))
		if err != nil || len(answers) != len(nodes) {
			t.Fatalf("AskAll = %v, %v; want %d answers", answers, err, len(nodes))
		}
		seen := map[string]bool{}
		for _, a := range answers {
			seen[a.Node] = true
			if a.Err != nil || string(a.Body) != "connections:x\ny" {
				t.Errorf("got %+v", a)
			}
		}
		if len(seen) != len(nodes) {
			t.Errorf("answers of %v", seen)
		}
	})

	t.Run("a service's request is served once", func(t *testing.T) {
		got := string(request(t, len(nodes)-1, "gc.ctl.disconnect", []byte(`{"user":"1"}`), nil))
		if want := `{"ok":true,"verb":"disconnect","body":"{\"user\":\"1\"}"}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
