package server

import (
	"context"
	"errors"
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
	ids := n.identities(func(id *authn.Identity) bool { return id.ID == user })
	conns, unsure := n.recheck(ctx, ids, true)
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
			ids := n.identities(func(id *authn.Identity) bool { return id.ID != "" })
			n.recheck(ctx, ids, false)
			n.counters.sweeps.Add(1)
		}
	}
}

// identities returns the distinct logins of this node, by socket and by NATS, that want chooses.
func (n *Node) identities(want func(*authn.Identity) bool) []*authn.Identity {
	found := make([][]*authn.Identity, len(n.owners))
	ok := n.onLoops(func(o *owner) {
		seen := make(map[*authn.Identity]bool)
		for _, l := range o.logins {
			if l != nil && !seen[l.Identity] && want(l.Identity) {
				seen[l.Identity] = true
				found[o.loop.Index()] = append(found[o.loop.Index()], l.Identity)
			}
		}
	})
	if !ok {
		return nil
	}
	seen := make(map[*authn.Identity]bool)
	var ids []*authn.Identity
	add := func(id *authn.Identity) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, part := range found {
		for _, id := range part {
			add(id)
		}
	}
	for _, u := range n.broker.NativeUsers() {
		if id, ok := u.Login.(*authn.Identity); ok && want(id) {
			add(id)
		}
	}
	return ids
}

// recheck asks the verifiers about logins and acts on the answers. With regrant the grants of a login that did
// not change are compiled again too. It returns how many conns the answers were for, and whether some are missing.
func (n *Node) recheck(ctx context.Context, ids []*authn.Identity, regrant bool) (conns int, unsure bool) {
	if len(ids) == 0 {
		return 0, false
	}
	type change struct {
		id  *authn.Identity // what the login is now
		err *authn.Refused
	}
	changes := make(map[*authn.Identity]change)
	for i, r := range n.chain.Revalidate(ctx, ids) {
		var refused *authn.Refused
		switch {
		case errors.As(r.Err, &refused):
			changes[ids[i]] = change{err: refused}
		case r.Err != nil:
			n.counters.sweepErrors.Add(1)
			unsure = true
		case r.Identity != nil:
			changes[ids[i]] = change{id: r.Identity}
		case regrant:
			changes[ids[i]] = change{id: ids[i]}
		}
	}
	if len(changes) == 0 {
		return 0, unsure
	}
	// A native user's permissions are fixed at connect: if it may, it comes back with the new ones.
	n.broker.DisconnectNative(func(u broker.NativeUser) bool {
		id, ok := u.Login.(*authn.Identity)
		_, isChanged := changes[id]
		return ok && isChanged
	})
	var changed counter
	n.onLoops(func(o *owner) {
		for i, l := range o.logins {
			if l == nil {
				continue
			}
			ch, ok := changes[l.Identity]
			slot := uint32(i)
			c := o.conns.at(slot)
			if !ok || c.state != stateOpen && c.state != stateJoining {
				continue
			}
			changed.Add(1)
			o.loop.Blame(slot)
			if ch.err != nil {
				o.end(slot, refuseLogin(ch.err))
				continue
			}
			o.regrant(slot, c, ch.id)
		}
	})
	return int(changed.Load()), unsure
}

// recheckExpired looks again at sessions whose time is over, for the site may have extended them, and ends the conns of
// those that it has not.
func (n *Node) recheckExpired(ctx context.Context, ids []*authn.Identity) {
	n.recheck(ctx, ids, false)
	expired := make(map[*authn.Identity]bool)
	for _, id := range ids {
		expired[id] = true
	}
	n.onLoops(func(o *owner) {
		for slot, l := range o.logins {
			if c := o.conns.at(uint32(slot)); l != nil && expired[l.Identity] && c.state == stateOpen {
				o.loop.Blame(uint32(slot))
				o.end(uint32(slot), expiredLogin)
			}
		}
	})
}

// regrantAll compiles the grants of every conn again, after the rules changed.
func (n *Node) regrantAll() {
	n.onLoops(func(o *owner) {
		for i, l := range o.logins {
			if c := o.conns.at(uint32(i)); l != nil && (c.state == stateOpen || c.state == stateJoining) {
				o.loop.Blame(uint32(i))
				o.regrant(uint32(i), c, l.Identity)
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
