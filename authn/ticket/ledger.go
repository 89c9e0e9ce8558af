package ticket

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Ledger knows which tickets were used, here and on the other nodes, and sees to it that each is used once. A node has one for all its verifiers.
// All methods may be called concurrently.
//
// To use a ticket a node writes a claim of its own into its ledger, then asks every node whether it may. A node that knows of no other claim notes this one
// and says yes. One that has a claim of its own under way yields to the smaller claim, and takes its own for lost. Else it says no. The ticket is used
// if all say yes and the claim is not lost meanwhile.
//
//	(nothing) ─ own ─► pending ─┬─ all say yes ──► settled: used
//	    │                       ├─ smaller claim ► settled: another's
//	    │                       └─ no, no answer ► vain ─ any claim ─► settled: another's
//	    └─ asked ─► settled: another's
//
// So two nodes never both use it: each wrote its own claim down before it asked the other, and of two that are under way one side is told no by
// the other or has yielded to it. A node that joins meanwhile asks those that know. At one moment none may, where a third node said yes to the one that
// then yielded: the client asks for a new ticket.
type Ledger struct {
	limit int              // claims at once
	wall  func() time.Time // the wall clock, which may be set; only for what is compared with a ticket's time

	mu      sync.Mutex // guards all below
	cluster Cluster
	revoked func(session string) bool
	since   time.Time           // nothing signed before is vouched for by this node; zero before Join
	claims  map[[32]byte]*claim // by SHA-256 of the ticket
	queue   []oldClaim          // by until, as all last equally long
}

// Cluster asks every node of the cluster, this one included, and returns their answers; an error if one of them gave none.
type Cluster interface {
	AskEvery(ctx context.Context, verb string, body []byte) ([][]byte, error)
}

// Verb is what the ledgers of the nodes ask each other with.
const Verb = "ticket"

type claim struct {
	id    [16]byte
	state claimState
}

type oldClaim struct {
	hash  [32]byte
	until time.Time
}

type claimState uint8

const (
	pending claimState = iota // ours, the others are being asked
	vain                      // ours, and some node said no or could not be asked
	settled                   // ours and used, or another node's
)

const (
	// remember is for how long a ticket is known to be used: twice the longest age there is, for clocks that differ.
	remember = 2 * longestAge
	// maxClaims bounds the ledger to some 30 MB, which is 200 tickets a second all the time. What does not fit is not used, rather than used twice.
	maxClaims = 1 << 18
)

// NewLedger begins a ledger that knows nothing yet.
func NewLedger() *Ledger {
	return &Ledger{limit: maxClaims, wall: time.Now, claims: make(map[[32]byte]*claim)}
}

// Join says how to reach the other nodes, of which this node is one from now on, and which sessions it knows to be revoked. It vouches for no ticket signed
// before, of whose use and whose session's end it was not told. Until then no ticket is used.
//
// A ticket tells its second only, and one of the second in which the node begins may have been used before in that second: the node vouches from the next.
func (l *Ledger) Join(c Cluster, revoked func(session string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cluster, l.revoked, l.since = c, revoked, l.wall().Truncate(time.Second).Add(time.Second)
}

var (
	errUsed     = errors.New("this ticket was used before; ask for a new one")
	errRevoked  = errors.New("the session that this ticket is for was logged out")
	errTooEarly = errors.New("this ticket was signed before the nodes began that could know whether it was used; ask for a new one")
)

// question is what nodes ask each other, and answer what they say.
type question struct {
	Ticket  string `json:"ticket"`            // hex of its SHA-256
	Claim   string `json:"claim"`             // hex
	Session string `json:"session,omitempty"` // that the ticket is for, as its hash
}

type answer struct {
	OK      bool  `json:"ok"`
	Revoked bool  `json:"revoked,omitempty"` // the session, as far as that node was told
	Since   int64 `json:"since"`             // Unix seconds when that node's ledger began
}

// use burns a ticket, for a session or for none (""), in the whole cluster. nil: it was not used before, anywhere. errUsed, errRevoked and errTooEarly are
// about the ticket; any other error says that some node could not be asked, which burns the ticket too.
func (l *Ledger) use(ctx context.Context, hash [32]byte, session string, signed time.Time) error {
	c, cluster, err := l.begin(hash)
	if err != nil {
		return err
	}
	body, err := json.Marshal(question{hex.EncodeToString(hash[:]), hex.EncodeToString(c.id[:]), session})
	if err != nil {
		return err
	}
	answers, err := cluster.AskEvery(ctx, Verb, body)
	err = l.verdict(answers, err, signed)
	if !l.settle(c, err == nil) && err == nil {
		return errUsed
	}
	return err
}

// verdict is what all nodes say together; err is that of asking them.
func (l *Ledger) verdict(answers [][]byte, err error, signed time.Time) error {
	const doing = "ask the other nodes whether the ticket was used"
	witness, revoked := false, false // this node answers too
	for _, b := range answers {
		var a answer
		if json.Unmarshal(b, &a) != nil {
			return errors.New(doing + ": one answers nonsense")
		}
		if !a.OK {
			return errUsed
		}
		revoked = revoked || a.Revoked
		witness = witness || !signed.Before(time.Unix(a.Since, 0))
	}
	switch {
	case err != nil:
		return fmt.Errorf(doing+": %w", err)
	case revoked:
		return errRevoked
	case !witness:
		return errTooEarly
	}
	return nil
}

// begin writes down a claim of this node's.
func (l *Ledger) begin(hash [32]byte) (*claim, Cluster, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cluster == nil {
		return nil, nil, errors.New("this node has not joined the cluster yet")
	}
	if l.claims[hash] != nil {
		return nil, nil, errUsed
	}
	c := &claim{}
	if _, err := rand.Read(c.id[:]); err != nil {
		return nil, nil, err
	}
	if !l.add(hash, c, time.Now()) {
		return nil, nil, errors.New("the ledger of used tickets is full")
	}
	return c, l.cluster, nil
}

// settle ends a claim of this node's, used or in vain, and tells whether it was not lost meanwhile.
func (l *Ledger) settle(c *claim, used bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.state != pending {
		return false
	}
	c.state = vain
	if used {
		c.state = settled
	}
	return used
}

// Answer answers a question of a node, this one too. The error is about the question.
func (l *Ledger) Answer(body []byte) ([]byte, error) {
	var q question
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, errors.New("a question about a ticket is a JSON object")
	}
	var hash [32]byte
	var id [16]byte
	if !decodeHex(hash[:], q.Ticket) || !decodeHex(id[:], q.Claim) {
		return nil, errors.New("a question about a ticket names it and the claim in hex")
	}
	ok, since := l.yield(hash, id)
	l.mu.Lock()
	revoked := l.revoked
	l.mu.Unlock()
	return json.Marshal(answer{OK: ok, Revoked: q.Session != "" && revoked != nil && revoked(q.Session), Since: since.Unix()})
}

func decodeHex(to []byte, text string) bool {
	if len(text) != hex.EncodedLen(len(to)) {
		return false
	}
	_, err := hex.Decode(to, []byte(text))
	return err == nil
}

// yield tells whether the claim with this id may have the ticket as far as this node knows, and since when it knows.
func (l *Ledger) yield(hash [32]byte, id [16]byte) (ok bool, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if since = l.since; since.IsZero() {
		since = never
	}
	return l.mayHave(hash, id), since
}

// never is when a node that is none of the cluster's begins to vouch.
var never = time.Unix(1<<40, 0)

// mayHave is yield with mu held.
func (l *Ledger) mayHave(hash [32]byte, id [16]byte) bool {
	known := l.claims[hash]
	switch {
	case known == nil:
		return l.add(hash, &claim{id: id, state: settled}, time.Now())
	case known.id == id: // our own, asked by ourselves, or one asked about twice
		return true
	case known.state == vain, known.state == pending && bytes.Compare(id[:], known.id[:]) < 0:
		known.state = settled // for whoever waits for it: lost
		l.claims[hash] = &claim{id: id, state: settled}
		return true
	}
	return false
}

// add makes room for a claim by what is old, and tells whether there was some. mu is held.
func (l *Ledger) add(hash [32]byte, c *claim, now time.Time) bool {
	old := 0
	for old < len(l.queue) && !now.Before(l.queue[old].until) {
		delete(l.claims, l.queue[old].hash)
		old++
	}
	l.queue = l.queue[old:]
	if len(l.claims) >= l.limit {
		return false
	}
	l.claims[hash] = c
	l.queue = append(l.queue, oldClaim{hash, now.Add(remember)})
	return true
}
