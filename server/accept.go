package server

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"

	"github.com/gatecast/gatecast/server/loop"
	"github.com/gatecast/gatecast/server/ws"
)

// accept begins a conn: it has handshake_timeout to send its header block.
func (o *owner) accept(slot uint32, c *conn, peer netip.AddrPort) {
	n := o.node
	*c = conn{state: stateReading, addr: peer.Addr().As16(), port: peer.Port(), opened: o.loop.Now()}
	if ping := o.pingTicks(); ping != 0 {
		c.pinged = c.opened - min(slot%ping, c.opened) // spread over the interval what connects at once
	}
	o.due[slot] = o.deadline(n.bounds.Load().HandshakeTimeout)
	if total := n.conns.Add(1); n.bounds.Load().Conns > 0 && total > int64(n.bounds.Load().Conns) {
		o.refuse(slot, 503, "conns", "this node has no room for another conn; retry later", retryAfter())
		return
	}
	switch {
	case n.headed(c.address()):
		o.intake[slot] = &intake{headed: true}
	case !n.proxies.trust(c.address()): // else its address stands in the header block
		o.countAddress(slot, c)
	}
}

// countAddress counts a conn against conns_per_address, once, and tells whether it may stay.
func (o *owner) countAddress(slot uint32, c *conn) bool {
	limit := o.node.bounds.Load().ConnsPerAddress
	if limit == 0 || c.is(flagCounted) {
		return true
	}
	if !o.node.addresses.acquire(c.address(), limit) {
		o.refuse(slot, 429, "conns_per_address", "too many conns from this address; close some or retry later", retryAfter())
		return false
	}
	c.flags |= flagCounted
	return true
}

// retryAfter is sent with refusals that pass by themselves: some seconds within what a close says in retry. It is another each time, for HTTP
// has no range, and those who are refused together would come back together.
func retryAfter() [2]string {
	return [2]string{"Retry-After", strconv.Itoa(retryMinMS/1000 + rand.IntN((retryMaxMS-retryMinMS)/1000+1))}
}

// refuse answers a request that becomes no WebSocket conn, and ends it. The word goes to the log and to metrics.
func (o *owner) refuse(slot uint32, status int, word, text string, headers ...[2]string) {
	o.node.counters.handshake("refused", word)
	o.logConn(slot, "handshake refused", "status", status, "reason", word, "detail", text)
	o.respond(slot, ws.AppendHTTPResponse(o.frame[:0], status, headers, text+"\n"))
}

// respond sends a whole HTTP response and lets the socket go.
func (o *owner) respond(slot uint32, response []byte) {
	o.frame = response
	o.loop.SendBytes(slot, response)
	o.ended(slot, ending{})
	o.loop.Close(slot, true)
}

// counted bounds how many conns share a key. A limit of 0 counts nothing.
type counted[K comparable] struct {
	mu sync.Mutex
	n  map[K]int
}

// acquire counts one more, unless that would pass limit.
func (t *counted[K]) acquire(key K, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n[key] >= limit {
		return false
	}
	if t.n == nil {
		t.n = make(map[K]int)
	}
	t.n[key]++
	return true
}

// release takes back one acquire.
func (t *counted[K]) release(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n[key]--; t.n[key] <= 0 {
		delete(t.n, key)
	}
}

func (t *counted[K]) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.n)
}

// userConns knows the conns of each user on this node, oldest first, for conns_per_user.
type userConns struct {
	mu    sync.Mutex
	conns map[string][]loop.ID
}

// acquire adds a conn of the user. Above limit it is refused, or with replace the oldest is returned to be closed.
func (t *userConns) acquire(user string, id loop.ID, limit int, replace bool) (ok bool, oldest loop.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := t.conns[user]
	if len(ids) >= limit {
		if !replace {
			return false, 0
		}
		oldest, ids = ids[0], ids[1:]
	}
	if t.conns == nil {
		t.conns = make(map[string][]loop.ID)
	}
	t.conns[user] = append(ids, id)
	return true, oldest
}

// release takes a conn of the user out; one that was replaced is out already.
func (t *userConns) release(user string, id loop.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := t.conns[user]
	for i := range ids {
		if ids[i] == id {
			ids = append(ids[:i], ids[i+1:]...)
			break
		}
	}
	if len(ids) == 0 {
		delete(t.conns, user)
		return
	}
	t.conns[user] = ids
}

func (t *userConns) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}
