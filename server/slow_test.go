package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/broker"
)

// numbered is message k of a group: large enough that few fill a socket.
func numbered(group string, k int) *broker.Message {
	return message(group, fmt.Sprintf(`{"k":%d,"fill":"%s"}`, k, strings.Repeat("x", 30<<10)))
}

// TestSlowPolicies lets a conn read nothing while 300 messages come, 9 MB, and then read on. What it finds is what its policy says.
func TestSlowPolicies(t *testing.T) {
	const messages = 300
	for _, tt := range []struct {
		slow string
		want func(got []int) string // "" if content
	}{
		{"drop_oldest", func(got []int) string {
			if got[0] != 0 || got[len(got)-1] != messages-1 {
				return "the first ones, which the kernel took, and the last"
			}
			return ""
		}},
		{"drop_newest", func(got []int) string {
			if got[0] != 0 || got[len(got)-1] == messages-1 {
				return "the first ones, and not the last"
			}
			return ""
		}},
		{"latest", func(got []int) string {
			if n := len(got); got[n-1] != messages-1 || got[n-2] > messages-10 {
				return "those that the kernel took, and the last one alone"
			}
			return ""
		}},
	} {
		t.Run(tt.slow, func(t *testing.T) {
			bothModes(t, func(t *testing.T, mode string) {
				c := testConfig(t, mode)
				c.Groups = []GroupRule{{Pattern: "chat.>", Slow: tt.slow}}
				c.Server.Limits.PendingAge = 0
				n, b := startAlone(t, c)
				s := dial(t, n, "/ws", "a")
				s.want(`{"op":"welcome"}`)
				s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
				s.want(`{"op":"ok","id":1}`)
				for k := range messages {
					if err := b.Publish(numbered("chat.1", k)); err != nil {
						t.Fatal(err)
					}
					if waiting := pending(n, "a"); waiting > 2*n.bounds.Load().PendingBytes {
						t.Fatalf("%d bytes wait for a conn that may have %d", waiting, n.bounds.Load().PendingBytes)
					}
				}
				s.send(`{"op":"ping","id":2}`) // its answer comes last
				got := numbersUntilOK(t, s)
				if len(got) == messages || len(got) < 3 {
					t.Fatalf("%d of %d messages came; some were to be dropped", len(got), messages)
				}
				for i := 1; i < len(got); i++ {
					if got[i] <= got[i-1] {
						t.Fatalf("message %d came after %d", got[i], got[i-1])
					}
				}
				if want := tt.want(got); want != "" {
					t.Errorf("got %v, want %s", got, want)
				}
				if dropped := int(n.counters.dropped[slowPolicies[tt.slow]].Load()); dropped != messages-len(got) {
					t.Errorf("%d were counted as dropped, want %d", dropped, messages-len(got))
				}
				if n.counters.slow.Load() != 0 {
					t.Error("the conn was closed for being slow")
				}
				if err := b.Publish(numbered("chat.1", messages)); err != nil {
					t.Fatal(err)
				}
				s.want(`{"op":"message","group":"chat.1"}`) // it goes on as if nothing had been
			})
		})
	}
}

// numbersUntilOK reads messages until the answer to an op.
func numbersUntilOK(t *testing.T, s *sock) (got []int) {
	t.Helper()
	for {
		var m struct {
			Op   string
			Data struct{ K int }
		}
		if err := json.Unmarshal(s.frame().Payload, &m); err != nil {
			t.Fatal(err)
		}
		if m.Op == "ok" {
			return got
		}
		got = append(got, m.Data.K)
	}
}

// TestAnswersOutliveShedding: what is said to a conn itself is never dropped with the messages around it.
func TestAnswersOutliveShedding(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Groups = []GroupRule{{Pattern: "chat.>", Slow: "drop_oldest"}}
		n, b := startAlone(t, c)
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		s.want(`{"op":"ok","id":1}`)
		const rounds = 40
		for k := range rounds {
			for i := range 5 {
				if err := b.Publish(numbered("chat.1", 5*k+i)); err != nil {
					t.Fatal(err)
				}
			}
			s.send(`{"op":"ping","id":%d}`, 100+k)
			pending(n, "a")
		}
		answers := 0
		for answers < rounds {
			var m struct {
				Op string
				ID int
			}
			if err := json.Unmarshal(s.frame().Payload, &m); err != nil {
				t.Fatal(err)
			}
			if m.Op == "message" {
				continue
			}
			if m.Op != "ok" || m.ID != 100+answers {
				t.Fatalf("got %+v, want the answer to ping %d", m, 100+answers)
			}
			answers++
		}
	})
}
