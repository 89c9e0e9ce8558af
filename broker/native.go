package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/gatecast/gatecast/broker/subject"
	"github.com/nats-io/nats-server/v2/server"
)

// authenticateWithin bounds a login: nats.go gives up a connection at 2 s.
const authenticateWithin = 1500 * time.Millisecond

// door decides who connects to the embedded server: this node itself, services, native users. It is called on the client's own
// goroutine, and again for every client whenever routes are reloaded.
type door Broker

// visitor is a client that was let in. There is no call when it goes: sweep asks the server.
type visitor struct {
	user   *NativeUser // nil for services and the node itself
	grant  *server.User
	escape string       // userToken of the user
	may    *subject.Set // publish grant
}

// own says that it is a link of the node itself, the only ones without permissions.
func (v *visitor) own() bool { return v.grant.Permissions == nil }

// Check lets a client in or not.
func (d *door) Check(c server.ClientAuthentication) bool {
	b := (*Broker)(d)
	if c.Kind() != server.CLIENT {
		return false // only clients are asked for here; leaf nodes and others have no door
	}
	cid := c.GetID()
	b.doorMu.Lock()
	known, checking := b.visitors[cid], b.checking[cid]
	if known == nil {
		b.checking[cid] = true
	}
	b.doorMu.Unlock()
	switch {
	case known != nil:
		c.RegisterUser(known.grant)
		return true
	case checking:
		return true // a reload asks; its own check, under way, decides and gives the grant
	}
	defer func() {
		b.doorMu.Lock()
		delete(b.checking, cid)
		b.doorMu.Unlock()
	}()
	o := *c.GetOpts()
	if !b.clearName(c) {
		return false
	}
	v := b.admit(c, &o)
	if v == nil {
		return false
	}
	c.RegisterUser(v.grant)
	return true
}

// clearName hides the user name: a reload closes clients whose name is not in the server's own table, which is empty. It waits for
// a reload under way, but not for ever, as it may be that reload which asks.
func (b *Broker) clearName(c server.ClientAuthentication) bool {
	if c.GetOpts().Username == "" {
		return true
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for range 1000 {
		if b.reloading.TryRLock() {
			c.GetOpts().Username = ""
			b.reloading.RUnlock()
			return true
		}
		<-ticker.C
	}
	return false
}

// admit finds out who c is and remembers it.
func (b *Broker) admit(c server.ClientAuthentication, o *server.ClientOpts) *visitor {
	if o.Token != "" && same(o.Token, b.nodeKey) && c.RemoteAddress().Network() == "pipe" {
		return b.remember(c.GetID(), &visitor{grant: &server.User{Account: b.account}})
	}
	if i, claimed := b.service(o.Username, o.Password, o.Token); i >= 0 {
		b.count.serviceAccepted.Add(1)
		b.log.Debug("service connected", "service", b.o.Services[i].Name)
		return b.remember(c.GetID(), &visitor{grant: b.serviceGrant(i)})
	} else if claimed {
		b.count.nativeRefused.Add(1)
		b.log.Warn("service refused: wrong token", "service", o.Username, "remote", remote(c))
		return nil
	}
	token := o.Token
	if token == "" {
		token = o.Password
	}
	v, err := b.nativeUser(c, token)
	if err != nil {
		b.count.nativeRefused.Add(1)
		b.log.Info("native user refused", "remote", remote(c), "reason", err)
		return nil
	}
	b.count.nativeAccepted.Add(1)
	return v
}

func remote(c server.ClientAuthentication) string {
	if a := c.RemoteAddress(); a != nil {
		return a.String()
	}
	return ""
}

// same compares a secret with a key's hash in constant time, whatever its length.
func same(secret string, key [32]byte) bool {
	sum := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(sum[:], key[:]) == 1
}

// service finds the service that these credentials are of, looking at all of them in any case. claimed: the user name is a service's.
func (b *Broker) service(user, password, token string) (index int, claimed bool) {
	index = -1
	for i := range b.o.Services {
		name := b.o.Services[i].Name
		claimed = claimed || user == name
		switch {
		case user == name && password != "" && same(password, b.serviceKeys[i]):
			index = i
		case user == "" && token != "" && same(token, b.serviceKeys[i]):
			index = i
		}
	}
	return index, claimed
}

func (b *Broker) serviceGrant(i int) *server.User {
	s := &b.o.Services[i]
	publish := s.Publish
	if len(publish) == 0 {
		publish = []string{b.sub.ingress + ">"}
		for _, v := range verbs {
			publish = append(publish, b.sub.ns+".ctl."+v)
		}
	}
	subscribe := append([]string{serviceInbox + ">"}, s.Subscribe...)
	return &server.User{Account: b.account, Permissions: permissions(publish, nil, subscribe, nil)}
}

// permissions never leaves an allow list empty, which to nats-server may mean everything.
func permissions(pub, pubDeny, sub, subDeny []string) *server.Permissions {
	if len(pub) == 0 {
		pub, pubDeny = nil, []string{">"}
	}
	if len(sub) == 0 {
		sub, subDeny = nil, []string{">"}
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: pub, Deny: pubDeny},
		Subscribe: &server.SubjectPermission{Allow: sub, Deny: subDeny},
	}
}

// nativeUser asks the handler and turns grants over names into permissions over subjects.
func (b *Broker) nativeUser(c server.ClientAuthentication, token string) (*visitor, error) {
	if token == "" {
		return nil, errors.New("no token and no password")
	}
	ctx, cancel := context.WithTimeout(b.ctx, authenticateWithin)
	defer cancel()
	var overtaken *NativeUser
	for range 3 {
		user, err := b.authenticate(ctx, token, remote(c), overtaken)
		if err != nil {
			return nil, err
		}
		v, err := b.newVisitor(user)
		if err != nil {
			return nil, err
		}
		// From here on who revokes something finds it among the visitors. What was revoked before, the handler knows.
		if b.remember(c.GetID(), v) == nil {
			return nil, ErrUnavailable
		}
		if !b.h.NativeOvertaken(*user) {
			return v, nil
		}
		b.doorMu.Lock()
		b.forget(c.GetID())
		b.doorMu.Unlock()
		overtaken = user
	}
	return nil, errors.New("its login changed again and again while it came in")
}

// authenticate asks the handler until ctx ends, and waits no longer for it.
func (b *Broker) authenticate(ctx context.Context, token, remote string, overtaken *NativeUser) (*NativeUser, error) {
	type result struct {
		user NativeUser
		err  error
	}
	out := make(chan result, 1)
	started := b.spawn(func() { // the handler's limit ends it; Close waits
		user, err := b.h.AuthenticateNative(ctx, token, remote, overtaken)
		out <- result{user, err}
	})
	if !started {
		return nil, ErrUnavailable
	}
	select {
	case r := <-out:
		return &r.user, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// newVisitor is the same policy as for sockets, in NATS's terms.
func (b *Broker) newVisitor(u *NativeUser) (*visitor, error) {
	if u.ID == "" {
		return nil, errors.New("native users need a user id")
	}
	if err := subject.CheckUserID(u.ID); err != nil {
		return nil, err
	}
	if !u.Expires.IsZero() && !time.Now().Before(u.Expires) {
		return nil, errors.New("expired")
	}
	token := userToken(u.ID)
	in := b.sub.userIn + token + "."
	hear := []string{subject.Escape(subject.UserGroup(u.ID))}
	escape := func(patterns []string, to []string) ([]string, error) {
		for _, p := range patterns {
			e, err := subject.EscapePattern(p)
			if err != nil {
				return nil, err // nats-server would skip a wrong deny with no more than a line in its log
			}
			to = append(to, e)
		}
		return to, nil
	}
	hear, err := escape(u.Subscribe, hear)
	if err != nil {
		return nil, err
	}
	say, err := escape(u.Publish, nil)
	if err != nil {
		return nil, err
	}
	deny, err := escape(u.Deny, nil)
	if err != nil {
		return nil, err
	}
	may, err := subject.NewSet(u.Publish)
	if err != nil {
		return nil, err
	}
	lane := b.sub.live + "*."
	grant := &server.User{
		Account:            b.account,
		ConnectionDeadline: u.Expires,
		Permissions: permissions(
			prefixed(in, say), prefixed(in, deny),
			append(prefixed(lane, hear), userInbox+token+".>"), prefixed(lane, deny)),
	}
	return &visitor{user: u, grant: grant, escape: token, may: may}, nil
}

func prefixed(prefix string, patterns []string) []string {
	out := make([]string, 0, len(patterns)+1)
	for _, p := range patterns {
		out = append(out, prefix+p)
	}
	return out
}

// userMayPublish completes what NATS checked: a name with an empty token is one NATS token, which a wildcard matches there but
// not in a grant.
func (b *Broker) userMayPublish(user string, escaped, name []byte) bool {
	if b.embedded == nil || subject.CheckNameBytes(name) != nil || string(escaped) == string(name) || !emptyToken(name) {
		return true
	}
	token := userToken(user)
	b.doorMu.Lock()
	defer b.doorMu.Unlock()
	for _, v := range b.visitors {
		if v.user != nil && v.escape == token && v.may.Match(name) {
			return true
		}
	}
	return false
}

func emptyToken(name []byte) bool {
	last := byte('.')
	for _, c := range name {
		if c == '.' && last == '.' {
			return true
		}
		last = c
	}
	return last == '.'
}

// remember lets v in, or returns nil if the door is shut for it.
func (b *Broker) remember(cid uint64, v *visitor) *visitor {
	b.doorMu.Lock()
	defer b.doorMu.Unlock()
	if b.shut && !v.own() {
		return nil
	}
	b.visit(cid, v)
	return v
}

// visit notes a visitor, for the first time or with a new login. doorMu is held.
func (b *Broker) visit(cid uint64, v *visitor) {
	if b.visitors[cid] == nil {
		if !v.own() {
			b.strangers.Add(1)
		}
		if v.user != nil {
			b.natives++
		}
	}
	b.visitors[cid] = v
}

// shutDoor lets nobody in but this node's links, and returns who is in.
func (b *Broker) shutDoor() (cids []uint64) {
	b.doorMu.Lock()
	defer b.doorMu.Unlock()
	b.shut = true
	for cid, v := range b.visitors {
		if !v.own() {
			cids = append(cids, cid)
		}
	}
	return cids
}

// sweep forgets visitors that have gone. It runs every few seconds.
func (b *Broker) sweep() {
	b.doorMu.Lock()
	cids := make([]uint64, 0, len(b.visitors))
	for cid := range b.visitors {
		cids = append(cids, cid)
	}
	b.doorMu.Unlock()
	for _, cid := range cids {
		if b.embedded.GetClient(cid) != nil {
			continue
		}
		b.doorMu.Lock()
		b.forget(cid)
		b.doorMu.Unlock()
	}
}

// forget drops a visitor. doorMu is held.
func (b *Broker) forget(cid uint64) {
	if v := b.visitors[cid]; v != nil {
		delete(b.visitors, cid)
		if !v.own() {
			b.strangers.Add(-1)
		}
		if v.user != nil {
			b.natives--
		}
	}
}

// NativeUsers returns the native users that are connected, one for each connection.
func (b *Broker) NativeUsers() []NativeUser {
	b.doorMu.Lock()
	defer b.doorMu.Unlock()
	var users []NativeUser
	for _, v := range b.visitors {
		if v.user != nil {
			users = append(users, *v.user)
		}
	}
	return users
}

// DisconnectNative closes the native users' connections that match and returns their number. One that is just logging in is among them, or
// the handler is asked about it by NativeOvertaken later. match is called with a lock held and must not call the broker.
func (b *Broker) DisconnectNative(match func(user NativeUser) bool) int {
	if b.embedded == nil {
		return 0
	}
	b.doorMu.Lock()
	var cids []uint64
	for cid, v := range b.visitors {
		if v.user != nil && match(*v.user) {
			cids = append(cids, cid)
			b.forget(cid)
		}
	}
	b.doorMu.Unlock()
	n := 0
	for _, cid := range cids {
		if b.embedded.DisconnectClientByID(cid) == nil {
			n++
		}
	}
	return n
}
