package server

import (
	"context"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/wire"
)

// A login is looked at again when the backend says so (revalidate), every authn.revalidate (sweep), and when the
// grants of config.toml change (regrant). Each ends in renew, or in 4401. What the backend says is said once, so a look that
// came to nothing then is tried again (doubts).

// revalidateUsers looks again at the logins of users on this node.
func (n *Node) revalidateUsers(ctx context.Context, users []string) controlAnswer {
	n.forget(&control{Users: users})
	conns, overtaken, missed := n.recheck(ctx, n.loginsOf(users), true)
	for range overtakenAgain { // whoever overtook it may have read before what we are told of
		if len(overtaken) == 0 {
			break
		}
		met, again, missing := n.recheck(ctx, n.loginsOf(usersOf(overtaken)), true)
		conns, overtaken, missed = conns+met, again, append(missed, missing...)
	}
	if missed = append(missed, overtaken...); len(missed) > 0 {
		n.doubts.add(usersOf(missed))
		return controlAnswer{Code: wire.CodeUnavailable, Message: "a login cannot be looked at now; it is tried again until it can"}
	}
	return controlAnswer{OK: true, Conns: conns}
}

func usersOf(logins []held) []string {
	users := make([]string, len(logins))
	for i := range logins {
		users[i] = logins[i].id.ID
	}
	return users
}

// overtakenAgain is how often a revalidation looks again at logins that others revalidated meanwhile.
const overtakenAgain = 2

// doubts are users on this node whose revalidation could not ask about a login, for its verifier was unavailable. Until it could, they have the rights of before,
// and nobody will tell of them again.
type doubts struct {
	mu    sync.Mutex
	users map[string]bool
	begun chan struct{} // there are some; never closed
}

func (d *doubts) add(users []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users == nil {
		d.users = make(map[string]bool)
	}
	for _, user := range users {
		d.users[user] = true
	}
	select {
	case d.begun <- struct{}{}:
	default:
	}
}

// take returns the users, who are no longer in doubt.
func (d *doubts) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	users := slices.Collect(maps.Keys(d.users))
	d.users = nil
	return users
}

// lookAtDoubts asks again about the users in doubt. What is cached of them was forgotten when they were told of, and where a login has not changed
// nothing happens: a conn by another verifier, which could be asked, would else be regranted, or disconnected if by NATS, at every look.
func (n *Node) lookAtDoubts(ctx context.Context) {
	users := n.doubts.take()
	if len(users) == 0 {
		return
	}
	if _, overtaken, missed := n.recheck(ctx, n.loginsOf(users), false); len(overtaken)+len(missed) > 0 {
		n.doubts.add(usersOf(append(missed, overtaken...)))
	}
}

// doubtPause is how long to wait before users in doubt are looked at again, and again. A verifier that hangs is left alone meanwhile (authn/breaker).
const doubtPause = time.Second

// missedPause is how long to wait before all logins are looked at again because another node had given this one up: until that node has met it
// here, it may still ask of all without asking this one.
const missedPause = time.Second

// pruneEvery is how often cached logins that are too old are given up.
const pruneEvery = 15 * time.Second

// prune gives up cached logins that are too old. They are garbage that the next collection finds, which no other counter tells.
func (n *Node) prune() {
	n.pruned.Add(int64(n.chain.Prune()) * cachedLogin)
	n.attempts.rest()
}

// cachedLogin is about what a login in the cache takes, in bytes.
const cachedLogin = 512

// sweep looks again at every login, each interval (0 is never), and keeps the cache small, until ctx ends.
func (n *Node) sweep(ctx context.Context, interval time.Duration) {
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	var sweep <-chan time.Time
	if interval > 0 {
		t := time.NewTicker(interval)
		defer t.Stop()
		sweep = t.C
	}
	// After new rules it is looked until it is sure: until then conns have the grants of before, also against a new deny.
	var again <-chan time.Time
	pause := unsurePause
	resweep := func() {
		if again = nil; n.sweepLogins(ctx) {
			again = time.After(pause)
			pause = min(2*pause, mostUnsurePause)
		}
	}
	var doubted, missed <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-prune.C:
			n.prune()
		case <-n.doubts.begun:
			if doubted == nil {
				doubted = time.After(doubtPause)
			}
		case <-doubted:
			doubted = nil
			n.lookAtDoubts(ctx)
		case <-n.missed:
			missed = time.After(missedPause)
		case <-missed:
			missed = nil
			n.chain.ForgetAll()
			pause = unsurePause
			resweep()
		case <-n.resweep:
			pause = unsurePause
			resweep()
		case <-again:
			resweep()
		case <-sweep:
			if unsure := n.sweepLogins(ctx); !unsure {
				again = nil
			}
			n.counters.sweeps.Add(1)
		}
	}
}

// unsurePause is how long to wait before logins are looked at again after new rules, if some could not be. It doubles up to mostUnsurePause.
const (
	unsurePause     = 2 * time.Second
	mostUnsurePause = time.Minute
)

// A sweep takes logins in parts, so that their identities and what verifiers read of them do not live all at once.
const (
	leastPart = 1000 // logins of a loop
	mostParts = 20   // each is a few queries, and a walk over the conns if something changed
)

// sweepLogins looks at every login once, and tells whether one could not be looked at.
func (n *Node) sweepLogins(ctx context.Context) (unsure bool) {
	size := max(leastPart, uint32(n.conns.Load())/mostParts/uint32(len(n.owners)))
	seen, seed := make(map[uint64]bool), maphash.MakeSeed()
	for from, more := uint32(1), true; more && ctx.Err() == nil; from += size {
		var part []held
		part, more = n.loginsFrom(from, size)
		part = slices.DeleteFunc(part, func(h held) bool { // conns of one login are on several loops
			hash := maphash.Comparable(seed, h.key)
			before := seen[hash]
			seen[hash] = true
			return before
		})
		_, overtaken, missed := n.recheck(ctx, part, false)
		unsure = unsure || len(missed) > 0 || len(overtaken) > 0 // by what may have asked the rules of before
	}
	_, overtaken, missed := n.recheck(ctx, n.nativeLogins(func(id *authn.Identity) bool { return id.ID != "" }), false)
	select {
	case n.swept <- struct{}{}:
	default:
	}
	return unsure || len(missed) > 0 || len(overtaken) > 0
}

// loginsFrom returns those of each loop with a place in [from, from+size), and tells whether there are more.
func (n *Node) loginsFrom(from, size uint32) (part []held, more bool) {
	parts, mores := make([][]held, len(n.owners)), make([]bool, len(n.owners))
	ok := n.onLoops(func(o *owner) {
		i, t := o.loop.Index(), &o.logins
		for login := from; login < min(from+size, t.taken); login++ {
			if t.inUse(login) && len(t.user(login)) > 0 {
				parts[i] = append(parts[i], t.hold(login))
			}
		}
		mores[i] = from+size < t.taken
	})
	if !ok {
		return nil, false
	}
	return slices.Concat(parts...), slices.Contains(mores, true)
}

// loginsOf returns the logins of users on this node, by socket and by NATS.
func (n *Node) loginsOf(users []string) []held {
	want := make(map[string]bool, len(users))
	for _, user := range users {
		want[user] = true
	}
	parts := make([][]held, len(n.owners))
	ok := n.onLoops(func(o *owner) {
		seen := make(map[uint32]bool)
		for _, c := range o.loggedIn() {
			if want[string(o.logins.user(c.login))] && !seen[c.login] {
				seen[c.login] = true
				parts[o.loop.Index()] = append(parts[o.loop.Index()], o.logins.hold(c.login))
			}
		}
	})
	if !ok {
		return nil
	}
	return append(slices.Concat(parts...), n.nativeLogins(func(id *authn.Identity) bool { return want[id.ID] })...)
}

// recheck asks the verifiers about logins and acts on the answers. With regrant the grants of a login that did
// not change are compiled again too. It returns how many conns the answers were for, which logins another revalidation
// of their users overtook, and of which the answer is missing.
func (n *Node) recheck(ctx context.Context, logins []held, regrant bool) (conns int, overtaken, missed []held) {
	if len(logins) == 0 {
		return 0, nil, nil
	}
	type change struct {
		id  *authn.Identity // what the login is now
		err *authn.Refused
	}
	ids := make([]*authn.Identity, len(logins))
	for i := range logins {
		ids[i] = logins[i].id
	}
	changes, changed, users := make(map[loginKey]change), make(map[*authn.Identity]bool), make(map[string]bool)
	for i, r := range n.chain.Revalidate(ctx, ids) {
		var refused *authn.Refused
		key := logins[i].key
		switch {
		case errors.As(r.Err, &refused):
			n.revoked.user(ids[i].ID) // so that a login as it was, on its way to its loop or to the door, is looked at again
			changes[key] = change{err: refused}
		case errors.Is(r.Err, authn.ErrOvertaken): // by another revalidate of the user, which has the last word
			overtaken = append(overtaken, logins[i])
			continue
		case r.Err != nil && r.Identity == nil:
			n.counters.sweepErrors.Add(1)
			missed = append(missed, logins[i])
			continue
		case r.Identity != nil:
			if r.Err != nil {
				n.counters.sweepErrors.Add(1)
				missed = append(missed, logins[i])
			}
			n.revoked.user(ids[i].ID)
			changes[key] = change{id: r.Identity}
		case regrant:
			changes[key] = change{id: ids[i]}
		default:
			continue
		}
		changed[ids[i]], users[ids[i].ID] = true, true
	}
	if len(changed) == 0 {
		return 0, overtaken, missed
	}
	// A native user's permissions are fixed at connect: if it may, it comes back with the new ones.
	n.broker.DisconnectNative(func(u broker.NativeUser) bool {
		return changed[nativeLoginOf(&u).id]
	})
	delete(changes, loginKey{}) // native users have no socket
	var met counter
	n.onLoops(func(o *owner) {
		for slot, c := range o.loggedIn() {
			if !users[string(o.logins.user(c.login))] { // found without making a key
				continue
			}
			ch, ok := changes[o.logins.key(c.login)]
			if !ok || !c.welcomed() && c.state != stateJoining {
				continue
			}
			met.Add(1)
			o.loop.Blame(slot)
			if ch.err != nil {
				o.end(slot, refuseLogin(ch.err))
				continue
			}
			o.regrant(slot, c, ch.id)
		}
	})
	return int(met.Load()), overtaken, missed
}

// recheckExpired looks again at sessions whose time is over, for the site may have extended them, and ends the conns of
// those that it has not.
func (n *Node) recheckExpired(ctx context.Context, logins []held) {
	n.recheck(ctx, logins, false)
	expired := make(map[loginKey]bool)
	for i := range logins {
		expired[logins[i].key] = true
	}
	n.onLoops(func(o *owner) {
		for slot, c := range o.loggedIn() {
			if c.welcomed() && expired[o.logins.key(c.login)] {
				o.loop.Blame(slot)
				o.end(slot, expiredLogin)
			}
		}
	})
}

// regrantPart is how many conns of a loop are given new grants in one go: those of many rows take a while each, and others wait.
const regrantPart = 256

// regrantAll compiles the grants of every conn again, after the rules changed. Who comes in meanwhile has the new ones.
func (n *Node) regrantAll() {
	for from, more := uint32(0), true; more; from += regrantPart {
		mores := make([]bool, len(n.owners))
		ok := n.onLoops(func(o *owner) {
			taken := uint32(len(o.due))
			for slot := from; slot < min(from+regrantPart, taken); slot++ {
				if c := o.conns.at(slot); c.login != 0 && (c.welcomed() || c.state == stateJoining) {
					o.loop.Blame(slot)
					o.regrant(slot, c, o.logins.identity(c.login))
				}
			}
			mores[o.loop.Index()] = from+regrantPart < taken
		})
		more = ok && slices.Contains(mores, true)
	}
	n.broker.DisconnectNative(func(broker.NativeUser) bool { return true })
}

// regrant gives a conn the grants of id, which is its own login or what that has become. While the rows of a new SQL rule are missing it keeps those it has.
func (o *owner) regrant(slot uint32, c *conn, id *authn.Identity) {
	grants, err := o.node.grants(id, c.id)
	if errors.Is(err, authn.ErrNoRows) {
		return
	}
	if err != nil {
		o.end(slot, refuseLogin(err))
		return
	}
	o.renew(slot, c, &verdict{id: id, grants: grants})
}
