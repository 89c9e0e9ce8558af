package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/subject"
	"github.com/gatecast/gatecast/server/admin"
	"github.com/gatecast/gatecast/server/hub"
	"github.com/gatecast/gatecast/server/wire"
)

// A control verb (disconnect, revalidate, group_add, group_discard) reaches a node by HTTP (Call) or by NATS
// (Serve), is asked of every node (Ask), and carried out on every loop of each.

// control is the body of a control verb.
type control struct {
	Conn    string   `json:"conn,omitempty"`
	User    string   `json:"user,omitempty"`
	Users   []string `json:"users,omitempty"` // of revalidate, instead of User
	Session string   `json:"session,omitempty"`
	Group   string   `json:"group,omitempty"`
	Code    int      `json:"code,omitempty"`
	Reason  string   `json:"reason,omitempty"`
}

// users are those that the control is about.
func (c *control) users() []string {
	if c.User != "" {
		return []string{c.User}
	}
	return c.Users
}

// controlAnswer is what a verb did, on one node or on all.
type controlAnswer struct {
	OK      bool   `json:"ok"`
	Conns   int    `json:"conns"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

func refusedControl(code, message string) []byte {
	b, _ := json.Marshal(struct {
		OK      bool   `json:"ok"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}{false, code, message})
	return b
}

// Serve implements [broker.Handler]: the answer is that of the HTTP call.
func (n *Node) Serve(ctx context.Context, verb string, body []byte) []byte {
	answer := n.Call(ctx, verb, body)
	var refused struct {
		OK      bool   `json:"ok"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(answer, &refused) == nil && !refused.OK {
		answer, _ = json.Marshal(map[string]any{"error": map[string]string{"code": refused.Code, "message": refused.Message}})
	}
	return answer
}

// Call runs a control verb on every node of the cluster and adds up the answers.
func (n *Node) Call(ctx context.Context, verb string, body []byte) []byte {
	if err := admin.CheckCall(verb, body); err != nil {
		var e *admin.Error
		if errors.As(err, &e) {
			return refusedControl(e.Code, e.Message)
		}
		return refusedControl(wire.CodeBadRequest, err.Error())
	}
	if !n.met(ctx) {
		return refusedControl(wire.CodeUnavailable, "the node is starting")
	}
	var c control
	if err := json.Unmarshal(body, &c); err != nil {
		return refusedControl(wire.CodeBadRequest, err.Error())
	}
	if c.Group != "" {
		if err := subject.CheckName(c.Group); err != nil {
			return refusedControl(wire.CodeBadGroup, err.Error())
		}
	}
	if verb == "disconnect" && c.Conn == "" || verb == "revalidate" {
		n.forgetEverywhere(ctx, body)
	}
	answers, err := n.broker.AskAll(ctx, verb, body)
	if err != nil {
		e := refuseOp(err)
		return refusedControl(e.code, e.text)
	}
	total := controlAnswer{OK: true}
	for _, a := range answers {
		var got controlAnswer
		switch {
		case a.Err != nil:
			return refusedControl(wire.CodeTimeout, "node "+a.Node+" did not answer: "+a.Err.Error())
		case json.Unmarshal(a.Body, &got) != nil:
			return refusedControl(wire.CodeInternal, "node "+a.Node+" answered nonsense")
		case !got.OK:
			return a.Body
		}
		total.Conns += got.Conns
	}
	b, _ := json.Marshal(total)
	return b
}

// forgetEverywhere has every node refuse a revoked session, and forget what it has cached about a user, before any of them ends a conn: whose
// socket closes here may be at another node in the next millisecond, with the same cookie (ADR 25). A node that takes longer, or is too old to know
// the question, is not waited for; it learns it with the verb.
func (n *Node) forgetEverywhere(ctx context.Context, body []byte) {
	ctx, cancel := context.WithTimeout(ctx, forgetWithin)
	defer cancel()
	answers, _ := n.broker.AskAll(ctx, verbForget, body) // an error is the verb's as well
	for _, a := range answers {
		if a.Err != nil {
			n.log.Warn("a node did not confirm in time that it refuses a login, whose conns end all the same", "peer", a.Node, "error", a.Err)
		}
	}
}

const (
	verbForget   = "forget"
	forgetWithin = 700 * time.Millisecond // of the second that a revocation may take
)

// forget drops what this node has cached about the session or the users, and keeps the session from coming back.
func (n *Node) forget(c *control) controlAnswer {
	if c.Session != "" {
		c.Session = strings.ToLower(c.Session)
		n.chain.RevokeSession(c.Session, revokedFor)
		n.revoked.session(c.Session)
	}
	for _, user := range c.users() {
		n.chain.ForgetUser(user)
		n.revoked.user(user)
	}
	return controlAnswer{OK: true}
}

// AskEvery asks every node, this one included, and returns their answers. If one of them gave none, it returns the others' and an error.
func (n *Node) AskEvery(ctx context.Context, verb string, body []byte) ([][]byte, error) {
	if !n.met(ctx) {
		return nil, ctx.Err()
	}
	answers, err := n.broker.AskAll(ctx, verb, body)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	var errs []error
	for _, a := range answers {
		if a.Err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", a.Node, a.Err))
			continue
		}
		all = append(all, a.Body)
	}
	return all, errors.Join(errs...)
}

// met waits until the node has its broker: a peer may ask before Open has returned.
func (n *Node) met(ctx context.Context) bool {
	select {
	case <-n.brokerReady:
		return true
	case <-ctx.Done():
		return false
	}
}

// Ask implements [broker.Handler]: it answers for this node.
func (n *Node) Ask(ctx context.Context, verb string, body []byte) ([]byte, error) {
	if !n.met(ctx) {
		return nil, ctx.Err()
	}
	switch verb {
	case verbTicket:
		if n.tickets == nil {
			return nil, errors.New("this node keeps no ledger of tickets")
		}
		return n.tickets.Answer(body)
	case "groups":
		return json.Marshal(n.localGroups())
	case "connections":
		var c control
		if err := json.Unmarshal(body, &c); err != nil {
			return nil, err
		}
		return json.Marshal(n.localConnections(c.User))
	}
	var c control
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, err
	}
	switch verb {
	case verbForget:
		return json.Marshal(n.forget(&c))
	case "explain":
		return json.Marshal(n.localExplain(&c))
	case "disconnect":
		return json.Marshal(n.disconnect(&c))
	case "revalidate":
		return json.Marshal(n.revalidateUsers(ctx, c.users()))
	case "group_add":
		return json.Marshal(n.addForBackend(ctx, &c))
	case "group_discard":
		return json.Marshal(n.discardForBackend(&c))
	}
	return nil, errors.New("unknown verb " + verb)
}

// onLoops runs f on every loop and waits for all: it must not be called on a loop. It returns false, and what f
// wrote must not be read, if the loops ended before.
func (n *Node) onLoops(f func(*owner)) bool {
	t := newTally()
	for _, o := range n.owners {
		t.begin()
		o.post(func(o *owner) {
			defer t.end()
			f(o)
		})
	}
	return n.await(context.Background(), t)
}

// tally counts work that others do.
type tally struct {
	left atomic.Int64
	done chan struct{} // closed when left is 0
}

// newTally returns a tally that await ends the first count of.
func newTally() *tally {
	t := &tally{done: make(chan struct{})}
	t.left.Store(1)
	return t
}

func (t *tally) begin() { t.left.Add(1) }

func (t *tally) end() {
	if t.left.Add(-1) == 0 {
		close(t.done)
	}
}

// await waits until all that began has ended, and tells whether it has before ctx or the loops did.
func (n *Node) await(ctx context.Context, t *tally) bool {
	t.end()
	select {
	case <-t.done:
		return true
	case <-n.stopped:
		return false
	case <-ctx.Done():
		return false
	}
}

// matching returns the slots of the conns that a control is about, and of nobody if it names none.
func (o *owner) matching(c *control) []uint32 {
	var slots []uint32
	switch {
	case c.User != "":
		for slot, conn := range o.loggedIn() { // not by the group user.…, which a conn may have left
			if string(o.logins.user(conn.login)) == c.User {
				slots = append(slots, slot)
			}
		}
	case c.Session != "":
		for slot, conn := range o.loggedIn() {
			if authn.OwnsSession(o.logins.own(conn.login), c.Session) {
				slots = append(slots, slot)
			}
		}
	case c.Conn != "":
		id, err := uuid.Parse(c.Conn)
		if err != nil {
			return nil
		}
		for slot, conn := range o.loggedIn() {
			if conn.id == id {
				slots = append(slots, slot)
			}
		}
	}
	return slices.DeleteFunc(slots, func(slot uint32) bool { return o.conns.at(slot).state == stateClosing })
}

// disconnect ends the conns of a user, session or conn id on this node, and keeps the session from coming back.
func (n *Node) disconnect(c *control) controlAnswer {
	e := ending{code: cmp.Or(c.Code, closeDisconnected), reason: cmp.Or(c.Reason, "disconnected by the backend"), word: "backend"}
	if c.Session != "" {
		e.word = "session_ended"
	}
	n.forget(c)
	var total counter
	n.onLoops(func(o *owner) {
		slots := o.matching(c)
		for _, slot := range slots {
			o.loop.Blame(slot)
			o.end(slot, e)
		}
		total.Add(uint64(len(slots)))
	})
	native := 0
	if c.Conn == "" {
		native = n.broker.DisconnectNative(func(u broker.NativeUser) bool {
			return c.User != "" && u.ID == c.User || c.Session != "" && u.SessionHash == c.Session
		})
	}
	return controlAnswer{OK: true, Conns: int(total.Load()) + native}
}

// revokedFor is how long a session that was logged out is refused unread; a verifier may ask for longer.
const revokedFor = 10 * time.Minute

// addForBackend puts the conns of a user, or one conn, into a group: no grant is needed.
func (n *Node) addForBackend(ctx context.Context, c *control) controlAnswer {
	var conns counter
	var failed atomic.Pointer[opError]
	adds := newTally()
	ok := n.onLoops(func(o *owner) {
		for _, slot := range o.matching(c) {
			if _, member := o.hub.Has([]byte(c.Group), slot); member {
				o.hub.Add(c.Group, slot, hub.ByBackend)
				conns.Add(1)
				continue
			}
			adds.begin()
			a := &addition{slot: slot, gen: o.loop.ID(slot).Gen(), names: []string{c.Group}, how: hub.ByBackend, gone: adds.end,
				done: func(o *owner, a *addition) {
					if err := a.errs[0]; err != nil {
						failed.Store(err)
					} else {
						conns.Add(1)
						o.addedForConn(a)
					}
					adds.end()
				}}
			if o.conns.at(slot).state == stateJoining { // nothing goes before its welcome
				o.late[slot] = append(o.late[slot], a)
			} else {
				o.add(a)
			}
		}
	})
	switch {
	case !ok || !n.await(ctx, adds):
		return controlAnswer{Code: wire.CodeTimeout, Message: "not all conns could be added in time; some may be in the group"}
	case failed.Load() != nil:
		return controlAnswer{Code: failed.Load().code, Message: failed.Load().text}
	}
	return controlAnswer{OK: true, Conns: int(conns.Load())}
}

// discardForBackend takes the conns of a user, or one conn, out of a group.
func (n *Node) discardForBackend(c *control) controlAnswer {
	var total counter
	n.onLoops(func(o *owner) {
		for _, slot := range o.matching(c) {
			if o.discard(slot, []byte(c.Group)) {
				o.tellDiscarded(slot, o.conns.at(slot), c.Group)
				total.Add(1)
			}
		}
	})
	return controlAnswer{OK: true, Conns: int(total.Load())}
}
