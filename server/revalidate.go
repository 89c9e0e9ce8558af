package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/wire"
)

// A login is looked at again when the backend says so (revalidate), every authn.revalidate (sweep), and when the
// grants of config.toml change (regrant). Each ends in renew, or in 4401.

// revalidateUser looks again at the logins of a user on this node.
func (n *Node) revalidateUser(ctx context.Context, user string) controlAnswer {
	n.chain.ForgetUser(user)
	n.revoked.user(user)
	conns, unsure := n.recheck(ctx, n.loginsOf(user), true)
	if unsure {
		return controlAnswer{Code: wire.CodeUnavailable, Message: "the login cannot be looked at now; the next sweep will"}
	}
	return controlAnswer{OK: true, Conns: conns}
}

// pruneEvery is how often cached logins that are too old are given up.
const pruneEvery = 15 * time.Second

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
	for {
		select {
		case <-ctx.Done():
			return
		case <-prune.C:
			n.chain.Prune()
		case <-sweep:
			n.recheck(ctx, n.loginsOf(""), false)
			n.counters.sweeps.Add(1)
		}
	}
}

// loginsOf returns the distinct logins of this node, by socket and by NATS, that are a user's; all users' if user is "".
func (n *Node) loginsOf(user string) []held {
	found := make([]map[loginKey]*authn.Identity, len(n.owners))
	ok := n.onLoops(func(o *owner) {
		seen, mine := make([]bool, o.logins.taken), make(map[loginKey]*authn.Identity)
		for _, c := range o.loggedIn() {
			id := o.logins.user(c.login)
			if len(id) == 0 || user != "" && string(id) != user || seen[c.login] {
				continue
			}
			seen[c.login] = true
			mine[o.logins.key(c.login)] = o.logins.identity(c.login)
		}
		found[o.loop.Index()] = mine
	})
	if !ok {
		return nil
	}
	var all []held
	for i, part := range found {
		for key, id := range part {
			if i == 0 || !heldBefore(found[:i], key) {
				all = append(all, held{key, id})
			}
		}
	}
	for _, u := range n.broker.NativeUsers() {
		if id, ok := u.Login.(*authn.Identity); ok && id.ID != "" && (user == "" || id.ID == user) {
			all = append(all, held{id: id})
		}
	}
	return all
}

func heldBefore(parts []map[loginKey]*authn.Identity, key loginKey) bool {
	return slices.ContainsFunc(parts, func(m map[loginKey]*authn.Identity) bool { return m[key] != nil })
}

// recheck asks the verifiers about logins and acts on the answers. With regrant the grants of a login that did
// not change are compiled again too. It returns how many conns the answers were for, and whether some are missing.
func (n *Node) recheck(ctx context.Context, logins []held, regrant bool) (conns int, unsure bool) {
	if len(logins) == 0 {
		return 0, false
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
			changes[key] = change{err: refused}
		case r.Err != nil:
			n.counters.sweepErrors.Add(1)
			unsure = true
			continue
		case r.Identity != nil:
			changes[key] = change{id: r.Identity}
		case regrant:
			changes[key] = change{id: ids[i]}
		default:
			continue
		}
		changed[ids[i]], users[ids[i].ID] = true, true
	}
	if len(changed) == 0 {
		return 0, unsure
	}
	// A native user's permissions are fixed at connect: if it may, it comes back with the new ones.
	n.broker.DisconnectNative(func(u broker.NativeUser) bool {
		id, ok := u.Login.(*authn.Identity)
		return ok && changed[id]
	})
	delete(changes, loginKey{}) // native users have no socket
	var met counter
	n.onLoops(func(o *owner) {
		for slot, c := range o.loggedIn() {
			if !users[string(o.logins.user(c.login))] { // found without making a key
				continue
			}
			ch, ok := changes[o.logins.key(c.login)]
			if !ok || c.state != stateOpen && c.state != stateJoining {
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
	return int(met.Load()), unsure
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
			if c.state == stateOpen && expired[o.logins.key(c.login)] {
				o.loop.Blame(slot)
				o.end(slot, expiredLogin)
			}
		}
	})
}

// regrantAll compiles the grants of every conn again, after the rules changed.
func (n *Node) regrantAll() {
	n.onLoops(func(o *owner) {
		for slot, c := range o.loggedIn() {
			if c.state == stateOpen || c.state == stateJoining {
				o.loop.Blame(slot)
				o.regrant(slot, c, o.logins.identity(c.login))
			}
		}
	})
	n.broker.DisconnectNative(func(broker.NativeUser) bool { return true })
}

// regrant gives a conn the grants of id, which is its own login or what that has become.
func (o *owner) regrant(slot uint32, c *conn, id *authn.Identity) {
	grants, err := o.node.grants(id, c.id)
	if err != nil {
		o.end(slot, refuseLogin(err))
		return
	}
	o.renew(slot, c, &verdict{id: id, grants: grants})
}
