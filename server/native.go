package server

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
)

// A native NATS user has what a socket has: the chain and the grants, a second look if its login was overtaken while it came in, and the end of both at
// the same moment. What a socket is given anew it gets by coming in again, for NATS fixes its permissions at connect.

// nativeLogin is what the broker keeps of a native user for the node.
type nativeLogin struct {
	id    *authn.Identity
	began time.Time // its verification
	rules uint64    // rulesAge before its grants were compiled
}

// nativeLoginOf is for users that AuthenticateNative made up, as all are.
func nativeLoginOf(u *broker.NativeUser) *nativeLogin { return u.Login.(*nativeLogin) }

// AuthenticateNative implements [broker.Handler].
func (n *Node) AuthenticateNative(ctx context.Context, token, remote string, overtaken *broker.NativeUser) (broker.NativeUser, error) {
	login := &nativeLogin{began: time.Now()}
	var err error
	if overtaken != nil && n.chain.OneTime(nativeLoginOf(overtaken).id) {
		login.id, err = n.chain.Reconsider(ctx, nativeLoginOf(overtaken).id)
	} else {
		login.id, err = n.verifyNative(ctx, token, remote)
	}
	if err != nil {
		return broker.NativeUser{}, err
	}
	login.rules = n.rulesAge.Load()
	g, err := n.chain.Grants(login.id, "")
	if err != nil {
		return broker.NativeUser{}, err
	}
	p, id := g.Patterns(), login.id
	n.log.Info("native login accepted", "user", id.ID, "verifier", id.Verifier, "addr", remote)
	return broker.NativeUser{
		ID: id.ID, Subscribe: append(slices.Clone(p.Subscribe), p.Join...), Publish: p.Publish, Deny: p.Deny,
		Expires: id.Expires, SessionHash: id.SessionHash, Login: login,
	}, nil
}

// verifyNative asks the chain about a token, within the limit of failed logins of its address.
func (n *Node) verifyNative(ctx context.Context, token, remote string) (*authn.Identity, error) {
	id, err := n.chain.CachedToken(token)
	if !errors.Is(err, authn.ErrNotCached) {
		return id, err
	}
	addr, _ := netip.ParseAddr(remote)
	if at, err := netip.ParseAddrPort(remote); err == nil {
		addr = at.Addr()
	}
	if n.attempts.over(addr) {
		return nil, errAttempts
	}
	id, err = n.chain.AuthenticateToken(ctx, token)
	n.countAttempt(addr, err)
	return id, err
}

// NativeOvertaken implements [broker.Handler]: what decided asks about a socket.
func (n *Node) NativeOvertaken(u broker.NativeUser) bool {
	login := nativeLoginOf(&u)
	return n.revoked.overtook(login.id, login.began) || login.rules != n.rulesAge.Load()
}

// endExpiredNatives ends those whose time is over by the wall clock. NATS has a timer for each, made when it came in; so this is for when the clock was set.
func (n *Node) endExpiredNatives() {
	select {
	case <-n.brokerReady:
	default: // still starting: who came in just now is left to the next sweep
		return
	}
	now := n.wall()
	n.broker.DisconnectNative(func(u broker.NativeUser) bool { return !u.Expires.IsZero() && !now.Before(u.Expires) })
}

// nativeLogins returns those logins of native users that want chooses.
func (n *Node) nativeLogins(want func(*authn.Identity) bool) (logins []held) {
	for _, u := range n.broker.NativeUsers() {
		if login := nativeLoginOf(&u); want(login.id) {
			logins = append(logins, held{id: login.id})
		}
	}
	return logins
}
