package ticket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django"
)

// clockedNode is a node whose wall clock is ahead of the true one by some time, less than nothing if it is behind.
type clockedNode struct {
	*Verifier
	ahead time.Duration
}

func (n *clockedNode) wall() time.Time { return time.Now().Add(n.ahead) }

// clockedCluster starts nodes with these clocks at once.
func clockedCluster(t *testing.T, maxAge time.Duration, ahead ...time.Duration) (*cluster, []*clockedNode) {
	t.Helper()
	c := &cluster{}
	var nodes []*clockedNode
	for _, by := range ahead {
		nodes = append(nodes, c.join(t, maxAge, by))
	}
	return c, nodes
}

func (c *cluster) join(t *testing.T, maxAge, ahead time.Duration) *clockedNode {
	t.Helper()
	site := django.DefaultOptions()
	site.TicketKey = django.DeriveKeys(secret).TicketKey
	o := DefaultOptions()
	o.MaxAge = maxAge
	l := NewLedger()
	v, err := Open(t.Context(), o, site, l, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n := &clockedNode{v, ahead}
	v.now, l.wall = n.wall, n.wall
	l.Join(c, nil)
	c.ledgers = append(c.ledgers, l)
	return n
}

// outcome is what a node says of a ticket now.
func outcome(t *testing.T, n *clockedNode, ticket string) string {
	t.Helper()
	_, err := n.Verify(t.Context(), byQuery(ticket))
	var refused *authn.Refused
	var pending *authn.Pending
	switch {
	case err == nil:
		return "accepted"
	case errors.As(err, &pending):
		return "pending"
	case errors.As(err, &refused):
		return refused.Reason
	}
	t.Fatal(err)
	return ""
}

// signedAt is a ticket of an application whose clock is right.
func signedAt(at time.Time) string { return sign(secret, fields{"user": "42", "id": rand.Text()}, at) }

// useAnother has the ledgers forget what is old, which they do when they need room.
func useAnother(t *testing.T, n *clockedNode) {
	t.Helper()
	if got := outcome(t, n, signedAt(n.wall())); got != "accepted" {
		t.Fatalf("a new ticket is %s", got)
	}
}

// However much the clocks of nodes differ, up to 20 minutes less max_age, and however long somebody tries: no ticket is used twice, for it is known to be used
// for longer than any of these clocks takes it for young. How long it is known goes by no wall clock.
func TestNoTicketIsUsedTwiceByClocksThatDiffer(t *testing.T) {
	for _, maxAge := range []time.Duration{time.Minute, longestAge} {
		for _, apart := range []time.Duration{0, 2 * time.Second, 45 * time.Second, 5 * time.Minute, remember - maxAge - leeway} {
			t.Run(fmt.Sprint(maxAge, " ", apart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					_, nodes := clockedCluster(t, maxAge, 0, apart, -apart)
					<-time.After(time.Hour) // all nodes vouch
					tickets := make([]string, 0, 3)
					used := make(map[string]int)
					for range cap(tickets) {
						tickets = append(tickets, signedAt(time.Now()))
						<-time.After(700 * time.Millisecond)
					}
					try := func() {
						useAnother(t, nodes[0])
						for _, ticket := range tickets {
							for i := range nodes {
								if outcome(t, nodes[len(nodes)-1-i], ticket) == "accepted" { // those that are behind first
									used[ticket]++
								}
							}
						}
					}
					for range 200 {
						try()
						<-time.After(time.Second)
					}
					for range 200 {
						try()
						<-time.After(20 * time.Second)
					}
					for _, ticket := range tickets {
						if used[ticket] != 1 { // the node whose clock is right takes it, if no other did
							t.Errorf("a ticket was used %d times, want once", used[ticket])
						}
					}
				})
			})
		}
	}
}

// What a node with a wrong clock says to a ticket that was signed now: it judges the age by its own clock, and by that alone.
func TestATicketIsAsOldAsTheNodesClockSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for ahead, want := range map[time.Duration]string{
			59 * time.Second: "accepted", 62 * time.Second: "expired", 10 * time.Minute: "expired",
			-2 * time.Second: "pending", -4 * time.Second: "from_the_future", -10 * time.Minute: "from_the_future",
		} {
			_, nodes := clockedCluster(t, time.Minute, ahead, 0)
			<-time.After(time.Hour)
			ticket := signedAt(time.Now())
			if got := outcome(t, nodes[0], ticket); got != want {
				t.Errorf("%v ahead: %s, want %s", ahead, got, want)
			}
			left := "accepted" // by the other node, whose clock is right
			if want == "accepted" {
				left = "ticket_used"
			}
			if got := outcome(t, nodes[1], ticket); got != left {
				t.Errorf("%v ahead, at the other node: %s, want %s", ahead, got, left)
			}
		}
	})
}

// A ticket that was used, and then all nodes are restarted. A node tells since when it knows by its own clock, so it vouches for too much if that is behind:
// by as much as it is behind, and no further back than max_age. See Known and left in threats.md.
func TestARestartWithClocksThatDiffer(t *testing.T) {
	for name, tt := range map[string]struct {
		ahead  []time.Duration // of the nodes after the restart; the first is asked
		signed time.Duration   // before the restart
		want   string
	}{
		"right":                           {[]time.Duration{0, 0}, 10 * time.Second, "ticket_too_early"},
		"ahead":                           {[]time.Duration{20 * time.Second, 20 * time.Second}, 10 * time.Second, "ticket_too_early"},
		"the other is ahead":              {[]time.Duration{0, 5 * time.Minute}, 10 * time.Second, "ticket_too_early"},
		"behind by less":                  {[]time.Duration{-8 * time.Second, 0}, 10 * time.Second, "ticket_too_early"},
		"behind, signed in its future":    {[]time.Duration{-5 * time.Minute, 0}, 10 * time.Second, "from_the_future"},
		"the other is behind, and it old": {[]time.Duration{0, -5 * time.Minute}, 70 * time.Second, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, before := clockedCluster(t, time.Minute, 0)
				<-time.After(time.Hour)
				ticket := signedAt(time.Now())
				if got := outcome(t, before[0], ticket); got != "accepted" {
					t.Fatal(got)
				}
				<-time.After(tt.signed)
				_, after := clockedCluster(t, time.Minute, tt.ahead...)
				if got := outcome(t, after[0], ticket); got != tt.want {
					t.Errorf("used again: %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// A node with a wrong clock joins others that knew before, and it is they who know: nothing is used again, and what is new is used.
func TestANodeWithAWrongClockJoins(t *testing.T) {
	for _, ahead := range []time.Duration{-5 * time.Minute, -10 * time.Second, 10 * time.Second, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			c, nodes := clockedCluster(t, longestAge, 0)
			<-time.After(time.Hour)
			used := signedAt(time.Now())
			if got := outcome(t, nodes[0], used); got != "accepted" {
				t.Fatal(got)
			}
			odd := c.join(t, longestAge, ahead)
			for range 1500 {
				useAnother(t, nodes[0])
				if got := outcome(t, odd, used); got == "accepted" {
					t.Fatalf("%v ahead: it accepts a ticket that was used", ahead)
				}
				<-time.After(time.Second)
			}
			if got := outcome(t, nodes[0], signedAt(time.Now())); got != "accepted" {
				t.Errorf("%v ahead: the other node says %s of a new ticket", ahead, got)
			}
			if got, want := outcome(t, odd, signedAt(odd.wall())), "accepted"; ahead < 0 && got != want {
				t.Errorf("%v ahead: it says %s of a ticket that it takes for new, want %s", ahead, got, want)
			}
		})
	}
}

// The wall clock of a running node is set, while it knows of a ticket that was used.
func TestTheWallClockOfANodeIsSet(t *testing.T) {
	for _, by := range []time.Duration{-9 * time.Minute, -30 * time.Second, 30 * time.Second, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			_, nodes := clockedCluster(t, longestAge, 0)
			n := nodes[0]
			<-time.After(time.Hour)
			ticket := signedAt(time.Now())
			if got := outcome(t, n, ticket); got != "accepted" {
				t.Fatal(got)
			}
			n.ahead = by
			for range 240 {
				useAnother(t, n)
				if got := outcome(t, n, ticket); got == "accepted" {
					t.Fatalf("set by %v: the ticket is used again", by)
				}
				<-time.After(10 * time.Second)
			}
		})
	}
}

// A claim is kept by a clock that nobody sets.
func TestClaimsAreKeptByTheMonotonicClock(t *testing.T) {
	l := newCluster(1).ledgers[0]
	if err := l.use(context.Background(), hashOf(1), "", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if until := l.queue[0].until; until == until.Round(0) {
		t.Errorf("until %v has no monotonic reading", until)
	}
}
