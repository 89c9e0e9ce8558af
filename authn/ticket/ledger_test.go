package ticket

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// cluster joins ledgers as nodes are joined: it asks all of them, the asking one too, in any order.
type cluster struct {
	ledgers []*Ledger
	before  func(asked int) error // called before a ledger is asked; its error is that node's only answer
}

func newCluster(n int) *cluster {
	c := &cluster{}
	for range n {
		l := NewLedger()
		l.Join(c, nil)
		c.ledgers = append(c.ledgers, l)
	}
	return c
}

func (c *cluster) AskEvery(_ context.Context, verb string, body []byte) (all [][]byte, err error) {
	if verb != Verb {
		return nil, fmt.Errorf("asked %q", verb)
	}
	for _, i := range rand.Perm(len(c.ledgers)) {
		if c.before != nil {
			if e := c.before(i); e != nil {
				err = errors.Join(err, e)
				continue
			}
		}
		b, e := c.ledgers[i].Answer(body)
		all, err = append(all, b), errors.Join(err, e)
	}
	return all, err
}

func hashOf(i int) [32]byte { return sha256.Sum256(fmt.Append(nil, i)) }

// Whatever the order of claims and questions, no ticket is used twice. Of two nodes one uses it; of more, none may, if a third promised it to the one that
// then yielded.
func TestNoTicketIsUsedTwice(t *testing.T) {
	for _, nodes := range []int{1, 2, 5} {
		c := newCluster(nodes)
		for ticket := range 500 {
			var won atomic.Int32
			var wg sync.WaitGroup
			for _, l := range c.ledgers {
				for range 2 {
					wg.Go(func() {
						switch err := l.use(t.Context(), hashOf(ticket), "", time.Now().Add(time.Hour)); {
						case err == nil:
							won.Add(1)
						case !errors.Is(err, errUsed):
							t.Error(err)
						}
					})
				}
			}
			wg.Wait()
			if n := won.Load(); n > 1 || n == 0 && nodes <= 2 {
				t.Fatalf("ticket %d was used %d times by %d nodes at once", ticket, n, nodes)
			}
		}
	}
}

// Every way in which two claims can meet: each node's question may arrive before, while and after the other's claim is under way.
func TestTwoClaimsMeet(t *testing.T) {
	for _, firstIsSmaller := range []bool{true, false} {
		for _, when := range []string{"before", "between", "after"} {
			t.Run(fmt.Sprint(when, firstIsSmaller), func(t *testing.T) {
				c := newCluster(2)
				a, b := c.ledgers[0], c.ledgers[1]
				hash := hashOf(0)
				ca, _, err := a.begin(hash)
				if err != nil {
					t.Fatal(err)
				}
				ca.id = [16]byte{1}
				other := [16]byte{2}
				if !firstIsSmaller {
					other = [16]byte{0}
				}
				ask := func(l *Ledger, id [16]byte) bool {
					ok, _ := l.yield(hash, id)
					return ok
				}
				var cb *claim
				beginB := func() {
					if cb, _, err = b.begin(hash); err != nil && !errors.Is(err, errUsed) {
						t.Fatal(err)
					}
					if cb != nil {
						cb.id = other
					}
				}
				var aOK, bOK bool
				switch when {
				case "before": // b has claimed before a asks it
					beginB()
					aOK = ask(b, ca.id)
					bOK = ask(a, other)
				case "between":
					beginB()
					bOK = ask(a, other)
					aOK = ask(b, ca.id)
				case "after": // a has asked b before b claims
					aOK = ask(b, ca.id)
					if beginB(); cb != nil {
						t.Fatal("b claims a ticket that it knows to be another's")
					}
				}
				aUses := a.settle(ca, aOK)
				bUses := cb != nil && b.settle(cb, bOK)
				if aUses == bUses {
					t.Errorf("a uses it: %v, b uses it: %v; want one of them", aUses, bUses)
				}
			})
		}
	}
}

func TestANodeThatCannotBeAskedIsAReasonToRefuse(t *testing.T) {
	c := newCluster(3)
	gone := errors.New("node c does not answer")
	c.before = func(i int) error {
		if i == 2 {
			return gone
		}
		return nil
	}
	err := c.ledgers[0].use(t.Context(), hashOf(1), "", time.Now().Add(time.Hour))
	if !errors.Is(err, gone) {
		t.Fatalf("use with a node that cannot be asked = %v, want an error that is no answer", err)
	}
	c.before = nil
	for i, l := range c.ledgers { // the ticket is burnt all the same, also where nobody was asked
		if err := l.use(t.Context(), hashOf(1), "", time.Now().Add(time.Hour)); !errors.Is(err, errUsed) {
			t.Errorf("node %d = %v, want errUsed", i, err)
		}
	}
}

// A node that joins knows nothing, and asks those that do.
func TestANewNodeAsksThoseThatKnow(t *testing.T) {
	c := newCluster(2)
	if err := c.ledgers[0].use(t.Context(), hashOf(1), "", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	fresh := NewLedger()
	if err := fresh.use(t.Context(), hashOf(2), "", time.Now()); err == nil {
		t.Error("a node that has not joined uses a ticket")
	}
	fresh.Join(c, nil)
	c.ledgers = append(c.ledgers, fresh)
	if err := fresh.use(t.Context(), hashOf(1), "", time.Now().Add(time.Hour)); !errors.Is(err, errUsed) {
		t.Errorf("use = %v, want errUsed", err)
	}
}

// A node that has not joined yet was not told of what others used meanwhile, however long it runs.
func TestANodeVouchesFromWhenItJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger()
		<-time.After(time.Minute)
		signed := time.Now().Truncate(time.Second)
		<-time.After(time.Minute)
		c := &cluster{ledgers: []*Ledger{l}}
		l.Join(c, nil)
		if err := l.use(t.Context(), hashOf(1), "", signed); !errors.Is(err, errTooEarly) {
			t.Errorf("use of a ticket from before the join = %v, want errTooEarly", err)
		}
		<-time.After(time.Second)
		if err := l.use(t.Context(), hashOf(2), "", time.Now()); err != nil {
			t.Errorf("use of a later one = %v", err)
		}
		c.ledgers = append(c.ledgers, NewLedger()) // one that answers and has not joined
		if err := l.use(t.Context(), hashOf(3), "", signed); !errors.Is(err, errTooEarly) {
			t.Errorf("use with a node that has not joined = %v, want errTooEarly", err)
		}
	})
}

// When all nodes were restarted nobody knows what was used before.
func TestATicketFromBeforeTheClusterIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signed := time.Now()
		<-time.After(time.Minute)
		c := newCluster(2)
		if err := c.ledgers[0].use(t.Context(), hashOf(1), "", signed); !errors.Is(err, errTooEarly) {
			t.Errorf("use = %v, want errTooEarly", err)
		}
		if err := c.ledgers[0].use(t.Context(), hashOf(2), "", time.Now()); !errors.Is(err, errTooEarly) {
			t.Errorf("a ticket signed in the second of the start, perhaps before it = %v, want errTooEarly", err)
		}
		<-time.After(time.Second)
		if err := c.ledgers[0].use(t.Context(), hashOf(2), "", time.Now()); !errors.Is(err, errUsed) {
			t.Errorf("the same again = %v, want errUsed", err)
		}
		if err := c.ledgers[0].use(t.Context(), hashOf(4), "", time.Now()); err != nil {
			t.Errorf("a ticket signed later: %v", err)
		}
		// One node that was there is enough.
		old := &cluster{ledgers: []*Ledger{{since: signed, limit: 1, claims: map[[32]byte]*claim{}}}}
		fresh := NewLedger()
		old.ledgers = append(old.ledgers, fresh)
		fresh.Join(old, nil)
		if err := fresh.use(t.Context(), hashOf(3), "", signed.Add(time.Second)); err != nil {
			t.Errorf("with an older node: %v", err)
		}
	})
}

// A node that began after a logout was not told of it, and asks those that were.
func TestATicketOfASessionThatWasLoggedOutElsewhere(t *testing.T) {
	const session, other = "the one logged out", "another"
	c := newCluster(1)
	c.ledgers[0].Join(c, func(s string) bool { return s == session })
	fresh := NewLedger()
	fresh.Join(c, func(string) bool { return false })
	c.ledgers = append(c.ledgers, fresh)
	signed := time.Now().Add(time.Hour)
	for i, l := range c.ledgers {
		if err := l.use(t.Context(), hashOf(i), session, signed); !errors.Is(err, errRevoked) {
			t.Errorf("node %d = %v, want errRevoked", i, err)
		}
		if err := l.use(t.Context(), hashOf(i), other, signed); !errors.Is(err, errUsed) {
			t.Errorf("node %d, the same ticket again = %v, want errUsed", i, err)
		}
		for k, session := range []string{other, ""} {
			if err := l.use(t.Context(), hashOf(10+2*i+k), session, signed); err != nil {
				t.Errorf("node %d, a ticket for session %q = %v", i, session, err)
			}
		}
	}
}

func TestTheLedgerForgetsInTimeAndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(1)
		l := c.ledgers[0]
		l.limit = 100
		<-time.After(time.Second) // till it vouches
		for i := range l.limit {
			if err := l.use(t.Context(), hashOf(i), "", time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.use(t.Context(), hashOf(-1), "", time.Now()); err == nil || errors.Is(err, errUsed) {
			t.Errorf("use with a full ledger = %v, want an error that is no answer", err)
		}
		if body, _ := json.Marshal(question{Ticket: fmt.Sprintf("%064x", 1), Claim: fmt.Sprintf("%032x", 1)}); !refusing(t, l, body) {
			t.Error("a full ledger says yes to another node, and would forget it")
		}
		<-time.After(remember)
		if err := l.use(t.Context(), hashOf(-1), "", time.Now()); err != nil {
			t.Errorf("later: %v", err)
		}
		if len(l.claims) != 1 || len(l.queue) != 1 {
			t.Errorf("it holds %d claims and %d in the queue, want 1", len(l.claims), len(l.queue))
		}
	})
}

func refusing(t *testing.T, l *Ledger, body []byte) bool {
	t.Helper()
	b, err := l.Answer(body)
	var a answer
	if err != nil || json.Unmarshal(b, &a) != nil {
		t.Fatalf("Answer = %s, %v", b, err)
	}
	return !a.OK
}

// What comes from another node is still checked.
func FuzzAnswer(f *testing.F) {
	good, _ := json.Marshal(question{Ticket: fmt.Sprintf("%064x", 1), Claim: fmt.Sprintf("%032x", 1)})
	for _, s := range []string{string(good), "", "{}", "null", "[]", `{"ticket":"zz"}`, `{"ticket":1,"claim":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		l := NewLedger()
		b, err := l.Answer(body)
		if (err == nil) != (len(l.claims) == 1) {
			t.Fatalf("Answer(%q) = %s, %v, and the ledger has %d claims", body, b, err, len(l.claims))
		}
		if err != nil {
			return
		}
		if refusing(t, l, body) {
			t.Error("asked twice by one claim, it says no")
		}
		for hash := range l.claims {
			if ok, _ := l.yield(hash, [16]byte{0xde, 0xad}); ok && l.claims[hash].id != [16]byte{0xde, 0xad} {
				t.Error("two claims get one ticket")
			}
		}
	})
}
