package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	beatEvery = time.Second
	lostAfter = 3 * time.Second
	// ownBeatWithin: while this node does not even hear itself, silence of the others says nothing about them.
	ownBeatWithin = 1500 * time.Millisecond
)

// card is what a node says of itself, the body of hello, its answer, heartbeats and bye.
type card struct {
	Version int      `json:"v"`
	Name    string   `json:"name"`
	ID      string   `json:"id"` // of this start of the node
	Shards  int      `json:"shards"`
	Started int64    `json:"started"` // Unix ns
	Ready   bool     `json:"ready"`   // has met all others
	Ingress bool     `json:"ingress"` // handles services' messages, with broker.url
	Peers   []string `json:"peers,omitempty"`
	GaveUp  []string `json:"gave_up,omitempty"` // starts of nodes that it had lost: what it asked of all meanwhile did not reach them
	Refuse  string   `json:"refuse,omitempty"`  // in an answer: why the asker may not serve
}

// peer is another live node.
type peer struct {
	card
	token string
	seen  time.Time
}

// card returns this node's. mu is held.
func (b *Broker) card(withPeers bool) card {
	c := card{
		Version: ProtocolVersion, Name: b.o.Name, ID: b.instance, Shards: b.o.Shards, Started: b.started.UnixNano(),
		Ready: b.serving, Ingress: b.ingress.held(),
	}
	if withPeers {
		for name := range b.peers {
			c.Peers = append(c.Peers, name) // the asker waits for them too
		}
	}
	return c
}

func (c card) encode() []byte {
	body, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return body
}

func readCard(body []byte) (c card, ok bool) {
	if json.Unmarshal(body, &c) != nil || !nameForm.MatchString(c.Name) || c.ID == "" {
		return card{}, false
	}
	return c, true
}

// mismatch says why two nodes cannot be of one cluster, to the one that must give way.
func (b *Broker) mismatch(c *card) string {
	switch {
	case c.Version != ProtocolVersion:
		return fmt.Sprintf("node %s speaks version %d of the nodes' protocol, this one %d: run the same release of Gatecast", b.o.Name, ProtocolVersion, c.Version)
	case c.Shards != b.o.Shards:
		return fmt.Sprintf("node %s has broker.shards = %d, this one %d: use the same on every node", b.o.Name, b.o.Shards, c.Shards)
	case c.Name == b.o.Name:
		return fmt.Sprintf("another node is named %s: broker.name must be unique", b.o.Name)
	}
	return ""
}

// stays says which of two nodes that cannot both serve goes on: one that serves, then the older. mu is held.
func (b *Broker) stays(c *card) bool {
	if b.serving != c.Ready {
		return b.serving
	}
	if s := b.started.UnixNano(); s != c.Started {
		return s < c.Started
	}
	return b.instance < c.ID
}

// onHello meets a node that starts, came back, or lost a route. To answer is to say: my interest is in force at your server,
// for the answer followed it; to have heard the hello is to have theirs.
func (b *Broker) onHello(f *frame) {
	c, ok := readCard(f.body)
	if !ok || c.ID == b.instance || !strings.HasPrefix(string(f.reply), b.sub.ns+".ctl.r.") {
		return
	}
	reply := string(f.reply)
	b.mu.Lock()
	if b.left {
		b.mu.Unlock()
		return
	}
	b.count.hellos.Add(1)
	if why := b.mismatch(&c); why != "" {
		if b.stays(&c) {
			answer := b.card(false)
			answer.Refuse = why
			b.relay.publish(reply, answer.encode())
		} else {
			b.greet()
		}
		b.mu.Unlock()
		return
	}
	b.meetPeer(&c)
	answer := b.card(true)
	answer.GaveUp = b.gaveUp()
	delete(b.givenUp, c.Name) // which is told now
	b.relay.publish(reply, answer.encode())
	done := b.settle()
	b.mu.Unlock()
	b.heardGaveUp(&c)
	done.call()
}

// mostGivenUp bounds the nodes that are remembered: those of a cluster that scales by itself have new names, and never come back.
const mostGivenUp = 100

// lostPeer is a node that was silent too long, and may come back.
type lostPeer struct {
	id   string // of its start
	told bool   // a hello said since that it is given up
}

// giveUp remembers a peer that was lost. mu is held.
func (b *Broker) giveUp(p *peer) {
	for name := range b.givenUp {
		if len(b.givenUp) < mostGivenUp {
			break
		}
		delete(b.givenUp, name)
	}
	b.givenUp[p.Name] = &lostPeer{id: p.ID}
}

// gaveUp lists the starts of nodes that this one has given up. mu is held.
func (b *Broker) gaveUp() (ids []string) {
	for _, l := range b.givenUp {
		ids = append(ids, l.id)
	}
	return ids
}

// heardGaveUp tells the handler if the node that says c had given this one up. mu is not held.
func (b *Broker) heardGaveUp(c *card) {
	if slices.Contains(c.GaveUp, b.instance) {
		b.log.Warn("another node had given this one up: all logins are looked at again", "node", c.Name)
		b.h.Missed()
	}
}

func (b *Broker) onHelloAnswer(f *frame) {
	c, ok := readCard(f.body)
	if !ok || c.ID == b.instance {
		return
	}
	b.mu.Lock()
	if c.Refuse != "" {
		b.mu.Unlock()
		b.refuse(c.Refuse)
		return
	}
	b.meetPeer(&c)
	if b.meeting != nil {
		b.meeting.answers[c.Name] = c
	}
	if l := b.givenUp[c.Name]; l != nil && !l.told && l.id == c.ID {
		b.greet() // it answers what we said before we gave it up
	} else {
		delete(b.givenUp, c.Name)
	}
	done := b.settle()
	b.mu.Unlock()
	b.heardGaveUp(&c)
	b.poke()
	done.call()
}

// meetPeer adds or renews a peer that we heard say or answer hello. mu is held; settle follows.
func (b *Broker) meetPeer(c *card) {
	p := b.peers[c.Name]
	if p == nil {
		p = &peer{token: nodeToken(c.Name)}
		b.peers[c.Name] = p
		b.log.Info("node joined", "node", c.Name)
	}
	p.card, p.seen = *c, time.Now()
	p.Peers = nil
	if c.Ready {
		b.syncAgain(p.token)
	} else {
		b.syncGone(p.token) // it publishes nothing before it has our answer, which follows our SUBs
	}
}

func (b *Broker) onBeat(f *frame) {
	c, ok := readCard(f.body)
	if !ok || c.ID == b.instance {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.peers[c.Name]
	if p == nil || p.ID != c.ID {
		b.greet() // a node that we have not met: a healed partition, or a new start
		return
	}
	p.card, p.seen = c, time.Now()
}

// onOwnBeat hears this node on the reader that hears the others: while that has a backlog, their silence means nothing. mu is not held.
func (b *Broker) onOwnBeat() {
	b.mu.Lock()
	b.ownBeat = time.Now()
	b.mu.Unlock()
}

func (b *Broker) onBye(f *frame) {
	c, ok := readCard(f.body)
	if !ok {
		return
	}
	b.mu.Lock()
	if p := b.peers[c.Name]; p != nil && p.ID == c.ID {
		b.dropPeer(p)
		b.log.Info("node left", "node", c.Name)
	}
	done := b.settle()
	b.mu.Unlock()
	b.poke()
	done.call()
}

// dropPeer forgets a peer. mu is held; settle follows.
func (b *Broker) dropPeer(p *peer) {
	delete(b.peers, p.Name)
	b.syncGone(p.token)
	if b.meeting != nil {
		delete(b.meeting.answers, p.Name)
	}
}

// beat says that this node lives. mu is held.
func (b *Broker) beat(now time.Time) {
	b.lastBeat = now
	if b.left {
		return
	}
	b.relay.publish(b.sub.beat, b.card(false).encode())
	b.control.publish(b.sub.relayInbox+ownBeat, nil) // to the relay link, which does not hear what it says itself
}

// ownBeat is what a node says to its own relay link.
const ownBeat = "b"

// greet has the next tick say hello to all. mu is held.
func (b *Broker) greet() { b.greeting = true }

// leave tells the others that this node is gone to them; a heartbeat behind it would bring it back. mu is held.
func (b *Broker) leave() bool {
	b.left = true
	return b.relay.publish(b.sub.bye, b.card(false).encode())
}

func (b *Broker) sayHello() {
	if b.left {
		return
	}
	hello := b.card(false)
	hello.GaveUp = b.gaveUp()
	for _, l := range b.givenUp {
		l.told = true
	}
	b.relay.request(b.sub.hello, b.sub.relayInbox+"h", hello.encode())
}

// watchPeers beats, greets, and drops peers that have been silent. It runs every tick.
func (b *Broker) watchPeers(now time.Time) {
	b.mu.Lock()
	if now.Sub(b.lastBeat) >= beatEvery && !b.alone() {
		b.beat(now)
	}
	if b.greeting && b.meeting == nil {
		b.greeting = false
		b.sayHello()
	}
	if now.Sub(b.ownBeat) < ownBeatWithin {
		for _, p := range b.peers {
			if now.Sub(p.seen) > lostAfter {
				b.log.Warn("node lost", "node", p.Name, "silent", now.Sub(p.seen).Round(time.Millisecond))
				b.count.peersLost.Add(1)
				b.dropPeer(p)
				b.giveUp(p)
			}
		}
	}
	done := b.settle()
	b.mu.Unlock()
	done.call()
}

// Nodes lists the live nodes, this one first.
func (b *Broker) Nodes() []NodeInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	nodes := []NodeInfo{{Name: b.o.Name, Self: true, Ready: b.serving, Ingress: b.ingress.held(), Started: b.started, LastSeen: time.Now()}}
	for _, p := range b.peers {
		nodes = append(nodes, NodeInfo{Name: p.Name, Ready: p.Ready, Ingress: p.Ingress, Started: time.Unix(0, p.Started), LastSeen: p.seen})
	}
	return nodes
}
