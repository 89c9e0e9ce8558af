package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/server/hub"
	"github.com/gatecast/gatecast/server/proxyproto"
	"github.com/gatecast/gatecast/server/wire"
	"github.com/gatecast/gatecast/server/ws"
)

// The handshake: PROXY header, if a proxy sends one ─► header block ─► route ─► limits ─► Origin ─► login (on a worker) ─► 101 ─► joins ─► welcome.
// The functions stand in that order.

// intake holds the bytes of a conn that cannot be parsed yet, and the request whose login is being verified.
type intake struct {
	b       []byte
	scanned int // of b went through ws.Scan in vain
	paused  bool
	headed  bool // b begins with a PROXY header

	req  *ws.Request
	echo string   // subprotocol to answer with
	path []string // route parameters
}

// maxIntake is how much a peer may send ahead of its login before it is not read any more.
const maxIntake = 64 << 10

// readHeader collects the header block.
func (o *owner) readHeader(slot uint32, c *conn, b []byte) {
	in, scanned := o.intake[slot], 0
	if in != nil {
		in.b = append(in.b, b...)
		b, scanned = in.b, in.scanned
	}
	switch {
	case in != nil && in.headed:
		o.readProxyHeader(slot, c, b)
		return
	case o.node.opts.ProxyProtocol && proxyproto.Begins(b):
		o.refuse(slot, 400, "proxy_header", "a PROXY header is believed from trusted_proxies only")
		return
	}
	n, err := ws.ScanFrom(b, scanned, o.node.bounds.Load().header.HeaderBytes)
	if err != nil {
		o.refuseRequest(slot, err)
		return
	}
	if n == 0 {
		if in == nil {
			in = &intake{b: slices.Clone(b)}
			o.intake[slot] = in
		}
		in.scanned = len(in.b)
		return
	}
	req, err := ws.ParseRequest(b[:n], o.node.bounds.Load().header)
	if err != nil {
		o.refuseRequest(slot, err)
		return
	}
	o.request(slot, c, req, b[n:])
}

// hold keeps bytes for later. A peer that sends too much ahead is not read until they are wanted.
func (o *owner) hold(slot uint32, c *conn, b []byte) {
	in := o.intake[slot]
	if in == nil {
		in = &intake{}
		o.intake[slot] = in
	}
	in.b = append(in.b, b...)
	if len(in.b) > maxIntake && !in.paused {
		in.paused = true
		o.loop.Pause(slot)
	}
}

// release goes on with the bytes that were held.
func (o *owner) release(slot uint32, c *conn) {
	in := o.intake[slot]
	if in == nil {
		return
	}
	delete(o.intake, slot)
	if in.paused {
		o.loop.Resume(slot)
	}
	if len(in.b) > 0 {
		o.readFrames(slot, c, in.b)
	}
}

// refuseRequest answers what ws would not have.
func (o *owner) refuseRequest(slot uint32, err error) {
	var e *ws.HTTPError
	if !errors.As(err, &e) {
		e = &ws.HTTPError{Status: 400, Reason: "malformed", Text: "malformed request"}
	}
	o.node.counters.handshake("refused", e.Reason)
	o.logConn(slot, "handshake refused", "status", e.Status, "reason", e.Reason, "detail", e.Text)
	o.respond(slot, ws.AppendHTTPError(o.frame[:0], e))
}

// request routes a request and checks all that needs no login.
func (o *owner) request(slot uint32, c *conn, req *ws.Request, rest []byte) {
	n := o.node
	route, params := n.route(req.Path)
	if route < 0 {
		o.serveStatic(slot, req)
		return
	}
	if err := req.CheckUpgrade(); err != nil {
		o.refuseRequest(slot, err)
		return
	}
	if !n.accepting() {
		o.refuse(slot, 503, "draining", "this node is being drained; connect again to reach another", retryAfter())
		return
	}
	r := n.authRequest(c, req)
	r.Certificate = o.clientCertificate(slot)
	c.addr = r.Remote.As16()
	if !n.handshakes.take(n) {
		o.refuse(slot, 503, "handshakes_per_second", "too many handshakes at once; retry later", retryAfter())
		return
	}
	if !o.countAddress(slot, c) {
		return
	}
	selectProtocol := authn.SelectNative
	if route > 0 {
		selectProtocol = authn.SelectRaw
	}
	echo, err := selectProtocol(req.Subprotocols)
	if err != nil {
		word := "subprotocol"
		var e *authn.SubprotocolError
		if errors.As(err, &e) {
			word = e.Reason
		}
		o.refuse(slot, 400, word, err.Error())
		return
	}
	c.route, c.state, c.id = uint16(route), stateVerifying, uuid.New()
	if route > 0 {
		c.flags |= flagRaw
		if n.routes[route-1].data {
			c.flags |= flagData
		}
	}
	o.due[slot] = never // authn.timeout bounds the login from here on
	in := o.intake[slot]
	if in == nil {
		in = &intake{}
		o.intake[slot] = in
	}
	in.req, in.echo, in.path = req, echo, params
	in.b = slices.Clone(rest)
	o.verify(slot, c, r)
}

// authRequest is what authn sees of a request. Forwarded headers count only from a trusted proxy.
func (n *Node) authRequest(c *conn, req *ws.Request) *authn.Request {
	r := &authn.Request{
		Cookie: req.Cookie, Authorization: req.Authorization, Subprotocols: req.Subprotocols,
		Token: req.Query("token"), Remote: c.address(), Path: req.Path,
		Origin: req.Origin, HasOrigin: req.HasOrigin, Host: req.Host, SecFetchSite: req.SecFetchSite, Headers: req,
	}
	if n.proxies.trust(r.Remote) {
		r.Proxied = !c.is(flagHeaded) // behind a proxy that speaks PROXY the headers are the client's
		r.Remote = n.proxies.client(r.Remote, req.ForwardedFor)
		r.ForwardedHost = req.ForwardedHost
	}
	return r
}

// verdict is the outcome of a login, back from the workers.
type verdict struct {
	job    *loginJob
	id     *authn.Identity
	grants *authn.Grants
	rules  uint64 // rulesAge when grants were compiled
	err    error
}

// verify finds in the cache who this is, or has a worker decide it.
func (o *owner) verify(slot uint32, c *conn, r *authn.Request) {
	job := &loginJob{owner: o, slot: slot, gen: o.loop.ID(slot).Gen(), conn: c.id, request: r, queued: time.Now()}
	job.began = job.queued
	if v := o.node.finish(&verdict{job: job}, o.node.chain.Cached); !errors.Is(v.err, authn.ErrNotCached) {
		o.decided(slot, v)
		return
	}
	if o.node.attempts.over(r.Remote) {
		o.decided(slot, &verdict{job: job, err: errAttempts})
		return
	}
	if !o.node.logins.submit(job) {
		o.decided(slot, &verdict{job: job, err: errBusy})
	}
}

var errBusy = errors.New("too many logins wait to be verified")

// login verifies one request on a worker.
func (n *Node) login(ctx context.Context, job *loginJob) *verdict {
	if n.opts.authTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.opts.authTimeout)
		defer cancel()
	}
	v := &verdict{job: job}
	if job.accepted != nil {
		return n.reconsider(ctx, v)
	}
	if n.attempts.over(job.request.Remote) { // since it was queued: a burst of guesses is counted one by one
		v.err = errAttempts
		return v
	}
	defer func() {
		err := v.err
		if err == nil && v.id.Stale() {
			err = errStale
		}
		n.countAttempt(job.request.Remote, err)
	}()
	now := time.Now()
	if n.opts.authTimeout > 0 && now.Sub(job.queued) >= n.opts.authTimeout { // its turn came too late
		if v.err = errBusy; job.awaits != nil {
			v.err = job.awaits
		}
		return v
	}
	job.began = now
	return n.finish(v, func(r *authn.Request) (*authn.Identity, error) { return n.chain.Authenticate(ctx, r) })
}

// reconsider looks again at a login that a revalidation or a logout has overtaken, without its credential: that was good for one login.
func (n *Node) reconsider(ctx context.Context, v *verdict) *verdict {
	v.job.began = time.Now()
	return n.finish(v, func(*authn.Request) (*authn.Identity, error) { return n.chain.Reconsider(ctx, v.job.accepted) })
}

// countAttempt takes the outcome of a login into account for the limit of its address.
func (n *Node) countAttempt(a netip.Addr, err error) {
	if n.attempts.count(a, err) {
		n.log.Warn("an address has reached authn.failed_per_second; is it a proxy? then list it in server.trusted_proxies", "addr", a)
	}
}

// finish asks who it is, and compiles what it may.
func (n *Node) finish(v *verdict, who func(*authn.Request) (*authn.Identity, error)) *verdict {
	if v.id, v.err = who(v.job.request); v.err == nil {
		v.rules = n.rulesAge.Load()
		v.grants, v.err = n.grants(v.id, v.job.conn)
	}
	return v
}

// grants compiles what a login may hear and say. A login whose grants cannot be compiled is refused for good, unless only rows are missing.
func (n *Node) grants(id *authn.Identity, conn uuid.UUID) (*authn.Grants, error) {
	g, err := n.chain.Grants(id, conn.String())
	if errors.Is(err, authn.ErrNoRows) {
		return nil, err
	}
	if err != nil {
		return nil, &authn.Refused{Code: authn.CodeForbidden, Reason: "grants", Err: err}
	}
	return g, nil
}

// decided goes on where the login of a handshake, or of an auth op, came out.
func (o *owner) decided(slot uint32, v *verdict) {
	if v.err == nil && o.node.revoked.overtook(v.id, v.job.began) {
		if o.node.chain.OneTime(v.id) {
			v.job.accepted = v.id
		}
		if o.node.logins.submit(v.job) {
			return
		}
		v.err = errBusy
	}
	c := o.conns.at(slot)
	if v.err == nil && v.rules != o.node.rulesAge.Load() {
		v.grants, v.err = o.node.grants(v.id, c.id)
	}
	if v.job.op != nil {
		o.authDecided(slot, c, v)
		return
	}
	if c.state != stateVerifying {
		return
	}
	if err := o.node.checkOrigin(v); err != nil {
		o.refuse(slot, 403, err.Reason, fmt.Sprintf("origin %q may not connect to %q with a cookie login; see server.origins in config.toml", err.Origin, err.Host))
		return
	}
	switch {
	case v.err == nil:
		o.admit(slot, c, v)
	case errors.Is(v.err, authn.ErrLoginLater) && c.is(flagRaw): // it has no words for a login
		o.refuseHandshake(slot, c, authn.Refuse("no_credential", nil))
	case errors.Is(v.err, authn.ErrLoginLater):
		o.upgrade(slot, c)
		c.state = stateWaiting
		o.due[slot] = o.deadline(o.node.opts.authTimeout)
		o.node.counters.handshake("waiting", "no_credential")
		o.release(slot, c)
	default:
		o.refuseHandshake(slot, c, v.err)
	}
}

// checkOrigin refuses a login that a page of another site made the browser send along.
func (n *Node) checkOrigin(v *verdict) *authn.OriginError {
	ambient := v.err == nil && v.id.Ambient()
	if v.err != nil && !errors.Is(v.err, authn.ErrLoginLater) {
		ambient = n.chain.HasAmbient(v.job.request)
	}
	err := n.origins.Load().Check(v.job.request, ambient)
	if err == nil {
		return nil
	}
	var refused *authn.OriginError
	errors.As(err, &refused)
	return refused
}

// refuseHandshake answers a refused login as authn.reject says.
func (o *owner) refuseHandshake(slot uint32, c *conn, err error) {
	e := refuseLogin(err)
	o.node.counters.handshake("refused", e.word)
	o.logConn(slot, "handshake refused", "reason", e.word, "detail", err.Error(), "path", o.intake[slot].req.Path)
	if o.node.rejectHTTP {
		status, headers := 401, [][2]string{{"WWW-Authenticate", "Bearer"}}
		switch e.code {
		case closeForbidden:
			status, headers = 403, nil
		case closeOverloaded:
			status, headers = 503, [][2]string{retryAfter()}
			if errors.Is(err, errAttempts) {
				status = 429
			}
		}
		o.respond(slot, ws.AppendHTTPResponse(o.frame[:0], status, headers, e.reason+"\n"))
		return
	}
	o.upgrade(slot, c)
	o.end(slot, e)
}

// upgrade sends the 101.
func (o *owner) upgrade(slot uint32, c *conn) {
	in := o.intake[slot]
	extensions := ""
	if o.node.opts.Compression.Enabled && in.req.Extensions != "" {
		if extensions = ws.NegotiateDeflate(in.req.Extensions); extensions != "" {
			c.flags |= flagDeflate
			c.parser.AllowDeflate()
			o.node.counters.offersAccepted.Add(1)
		} else {
			o.node.counters.offersDeclined.Add(1)
		}
	}
	o.frame = ws.AppendUpgradeResponse(o.frame[:0], in.req, in.echo, extensions)
	o.loop.SendBytes(slot, o.frame)
	c.flags |= flagUpgraded
}

// admit makes a conn of an accepted login: joined to the groups of its grants and route, then welcomed.
func (o *owner) admit(slot uint32, c *conn, v *verdict) {
	n := o.node
	id := v.id
	if !c.is(flagUpgraded) {
		o.upgrade(slot, c)
	}
	if limit := n.bounds.Load().ConnsPerUser; limit > 0 && id.ID != "" {
		ok, oldest := n.users.acquire(id.ID, o.loop.ID(slot), limit, n.bounds.Load().ConnsPerUserPolicy == "replace")
		if !ok {
			n.counters.handshake("refused", "conns_per_user")
			o.end(slot, ending{code: closeLimit, reason: "this user has too many conns", word: "conns_per_user"})
			return
		}
		c.flags |= flagUserCount
		n.endID(oldest, ending{code: closeReplaced, reason: "replaced by a newer conn of this user", word: "replaced"})
	}
	o.open++
	o.joining++
	c.state = stateJoining
	o.setLogin(slot, c, v)

	names := v.grants.Join()
	if c.is(flagRaw) {
		groups, publish, err := n.routes[c.route-1].groupsFor(o.intake[slot].path, id, c.id)
		for _, name := range groups {
			if err == nil && !v.grants.CanSubscribe([]byte(name)) {
				err = errors.New("the grants of this user do not cover group " + name)
			}
		}
		if err != nil {
			n.counters.handshake("refused", "forbidden_group")
			o.logConn(slot, "conn refused", "detail", err.Error())
			o.end(slot, ending{code: closeForbidden, reason: "you may not hear this group", word: "forbidden_group"})
			return
		}
		names = append(slices.Clone(names), groups...)
		o.rawGroups[slot] = publish
	}
	n.counters.handshake("accepted", id.Verifier)
	if o.log.Enabled(context.Background(), slog.LevelInfo) { // else its arguments cost for nothing
		o.log.Info("login accepted", "conn", c.id, "addr", c.address(), "user", id.ID, "kind", id.Kind, "verifier", id.Verifier)
	}
	o.add(&addition{slot: slot, gen: o.loop.ID(slot).Gen(), names: names, how: hub.ByRule, done: (*owner).welcome})
}

// welcome opens the conn when the barriers of its first groups are done.
func (o *owner) welcome(a *addition) {
	slot := a.slot
	c := o.conns.at(slot)
	for i, err := range a.errs {
		if err != nil && (err != errMayNotHear || c.is(flagRaw)) { // else the grants changed while it waited
			o.logConn(slot, "conn refused", "reason", err.code, "detail", err.text, "group", a.names[i])
			o.end(slot, ending{code: closeOverloaded, reason: "its groups cannot be joined now; retry later", word: "join_" + err.code,
				retryMin: retryMinMS, retryMax: retryMaxMS})
			return
		}
	}
	c.state = stateOpen
	o.joining--
	o.enter(a)
	if !c.is(flagRaw) {
		joined := make([]string, 0, len(a.names))
		for i, name := range a.names {
			if a.errs[i] == nil {
				joined = append(joined, name)
			}
		}
		o.sendJSON(slot, wire.AppendWelcome(o.json[:0], &wire.Welcome{
			Conn: c.id.String(), User: o.user(slot), Groups: joined, Ping: int(o.node.opts.Ping.Seconds()),
			Node: o.node.broker.Name(), Expires: o.logins.expires(c.login),
		}))
	}
	o.attend(slot, c)
	o.joinGranted(slot) // no more than the welcome says, unless the grants changed meanwhile
	late := o.late[slot]
	delete(o.late, slot)
	for _, a := range late {
		o.add(a)
	}
	if c.state == stateOpen {
		o.goOn(slot, c)
	}
	if c.state == stateOpen {
		o.release(slot, c)
	}
}
