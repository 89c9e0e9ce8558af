package server

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
)

// site is an application whose tickets are for ann and good for one login. It is also where SQL rules find her rooms. The first question for those waits.
type site struct {
	asking, answer chan struct{} // closed when the first question is there, and by the test to have it answered

	mu     sync.Mutex
	groups []string // guarded by mu, as are all below
	room   string
	gone   bool
	used   bool
	asked  bool
}

func newSite() *site {
	return &site{asking: make(chan struct{}), answer: make(chan struct{}), groups: []string{"old"}, room: "old"}
}

func (s *site) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *site) OneTime(c authn.Credential) bool { return strings.HasPrefix(c.Value, "ticket") }

func (s *site) Verify(_ context.Context, c authn.Credential) (*authn.Identity, error) {
	if !s.OneTime(c) {
		return nil, authn.ErrNotMine
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used {
		return nil, authn.Refuse("ticket_used", nil)
	}
	s.used = true
	return &authn.Identity{ID: "ann", Groups: s.groups, SessionHash: sessionHash("ann")}, nil
}

func (s *site) Revalidate(_ context.Context, ids []*authn.Identity) []authn.Recheck {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]authn.Recheck, len(ids))
	for i, id := range ids {
		now := *id
		if now.Groups = s.groups; !slices.Equal(now.Groups, id.Groups) {
			out[i].Identity = &now
		}
		if s.gone {
			out[i] = authn.Recheck{Err: authn.Refuse("inactive", nil)}
		}
	}
	return out
}

func (s *site) Rows(ctx context.Context, _ *authn.Query, _ string) ([]string, error) {
	s.mu.Lock()
	room, first := s.room, !s.asked
	s.asked = true
	s.mu.Unlock()
	if first {
		close(s.asking)
		select {
		case <-s.answer:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return []string{room}, nil
}

// lateNode is a node as its broker sees it. Something happens between the answer about the first native login and its end in the broker.
type lateNode struct {
	*Node
	once      sync.Once
	meanwhile func()
}

func (n *lateNode) AuthenticateNative(ctx context.Context, token, remote string, overtaken *broker.NativeUser) (broker.NativeUser, error) {
	u, err := n.Node.AuthenticateNative(ctx, token, remote, overtaken)
	n.once.Do(n.meanwhile)
	return u, err
}

// doorsNode is a node whose users come in by the tickets of s, with its log.
func doorsNode(t *testing.T, s *site, meanwhile func(n *Node)) (*Node, *lockedText) {
	t.Helper()
	c, text := testConfig(t, "auto"), &lockedText{}
	c.Log = slog.New(slog.NewTextHandler(text, nil))
	rules, err := authn.CompileRules([]authn.Rule{
		{To: "authenticated", Subscribe: []string{"{groups}"}},
		{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Subscribe: []string{"room.{row.room}"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": s}, rules, c.Log); err != nil {
		t.Fatal(err)
	}
	c.Chain.AskRows(s)
	n, err := open(t.Context(), c, func(n *Node) (Broker, error) {
		return broker.Open(t.Context(), c.Broker, &lateNode{Node: n, meanwhile: func() { meanwhile(n) }}, n.log)
	})
	if err != nil {
		t.Fatal(err)
	}
	runNode(t, n)
	return n, text
}

// doorOutcome is what became of a login: the groups it hears, or why it was refused.
func doorOutcome(t *testing.T, n *Node, in bool, text *lockedText) string {
	t.Helper()
	if !in {
		var reasons []string
		for _, reason := range []string{"revoked", "inactive", "ticket_used"} {
			if strings.Contains(text.String(), "reason="+reason) {
				reasons = append(reasons, reason)
			}
		}
		return strings.Join(reasons, " ")
	}
	logins := n.loginsOf([]string{"ann"})
	if len(logins) != 1 {
		t.Fatalf("%d logins are in, want 1", len(logins))
	}
	g, err := n.chain.Grants(logins[0].id, "")
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	for _, group := range []string{"old", "new", "room.old", "room.new"} {
		if g.CanSubscribe([]byte(group)) {
			heard = append(heard, group)
		}
	}
	return strings.Join(heard, " ")
}

// Whatever is changed or revoked while a login by ticket is under way, and when: both doors let in with the same rights or refuse for the same reason.
func TestChangesDuringALoginByTicket(t *testing.T) {
	call := func(n *Node, verb, body string) {
		if got := string(n.Call(context.Background(), verb, []byte(body))); !strings.Contains(got, `"ok":true`) {
			t.Errorf("%s %s answered %s", verb, body, got)
		}
	}
	session := `{"session":"` + sessionHash("ann") + `"}`
	for name, tt := range map[string]struct {
		change     func(s *site)
		verb, body string
		want       string
	}{
		"nothing":         {func(*site) {}, "revalidate", `{"user":"bob"}`, "old room.old"},
		"groups":          {func(s *site) { s.groups = []string{"new"} }, "revalidate", `{"user":"ann"}`, "new room.old"},
		"a row":           {func(s *site) { s.room = "new" }, "revalidate", `{"user":"ann"}`, "old room.new"},
		"deactivated":     {func(s *site) { s.gone = true }, "revalidate", `{"user":"ann"}`, "inactive"},
		"logged out":      {func(*site) {}, "disconnect", session, "revoked"},
		"disconnected":    {func(s *site) { s.groups = []string{"new"} }, "disconnect", `{"user":"ann"}`, "new room.old"},
		"somebody else's": {func(s *site) { s.groups = []string{"new"} }, "disconnect", `{"user":"bob"}`, "old room.old"},
	} {
		for _, when := range []string{"rows are asked for", "on its way in"} {
			t.Run("nats, "+name+", "+when, func(t *testing.T) {
				s := newSite()
				change := func(n *Node) {
					s.set(func() { tt.change(s) })
					call(n, tt.verb, tt.body)
				}
				late := func(*Node) {}
				if when == "on its way in" {
					close(s.answer)
					late = change
				}
				n, text := doorsNode(t, s, late)
				out := make(chan error)
				go func() {
					nc, err := nats.Connect(n.broker.ClientURL(), nats.Token("ticket"), nats.NoReconnect(), nats.Timeout(patience))
					if err == nil {
						t.Cleanup(nc.Close)
					}
					out <- err
				}()
				if when != "on its way in" {
					<-s.asking
					change(n)
					close(s.answer)
				}
				err := <-out
				if err != nil && !errors.Is(err, nats.ErrAuthorization) {
					t.Fatal(err)
				}
				if got := doorOutcome(t, n, err == nil, text); got != tt.want {
					t.Errorf("%q, want %q; the log:\n%s", got, tt.want, text)
				}
			})
			t.Run("socket, "+name+", "+when, func(t *testing.T) {
				s := newSite()
				n, text := doorsNode(t, s, func(*Node) {})
				ann := dial(t, n, "/ws", "")
				ann.send(`{"op":"auth","id":1,"token":"ticket"}`)
				<-s.asking
				if when == "on its way in" { // the verb itself would find no login yet
					held, release := newTally(), make(chan struct{})
					for _, o := range n.owners {
						held.begin()
						o.post(func(*owner) {
							held.end()
							<-release
						})
					}
					n.await(t.Context(), held)
					close(s.answer)
					eventually(t, "the chain's answer", func() bool { return len(n.chain.Stats().Answers) == 1 })
					s.set(func() { tt.change(s) })
					if _, err := n.Ask(t.Context(), verbForget, []byte(tt.body)); err != nil {
						t.Error(err)
					}
					close(release)
				} else {
					s.set(func() { tt.change(s) })
					call(n, tt.verb, tt.body)
					close(s.answer)
				}
				in := strings.Contains(tt.want, "room")
				if in {
					ann.want(`{"op":"ok","id":1}`)
					ann.want(`{"op":"welcome","user":"ann"}`)
				} else {
					ann.wantClose(closeUnauthorized)
				}
				if got := doorOutcome(t, n, in, text); got != tt.want {
					t.Errorf("%q, want %q; the log:\n%s", got, tt.want, text)
				}
			})
		}
	}
}
