package server

import (
	"strconv"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/admin"
	"github.com/gatecast/gatecast/server/loop"
	"github.com/gatecast/gatecast/server/ws"
)

// Metrics is the one table of what a node measures: /metrics and docs/metrics.md are made from it. On a nil node
// the rows are there and collect nothing, which is all that the documentation needs.
func (n *Node) Metrics() []admin.Metric {
	count := func(name, help string, c func(*counters) *counter) admin.Metric {
		return admin.Metric{Name: name, Help: help, Type: admin.Counter, Collect: func(emit func(float64, ...string)) {
			emit(float64(c(&n.counters).Load()))
		}}
	}
	gauge := func(name, help string, v func() float64) admin.Metric {
		return admin.Metric{Name: name, Help: help, Type: admin.Gauge, Collect: func(emit func(float64, ...string)) { emit(v()) }}
	}
	ofBroker := func(name, help string, typ admin.Type, v func(*broker.Stats) float64) admin.Metric {
		return admin.Metric{Name: name, Help: help, Type: typ, Collect: func(emit func(float64, ...string)) {
			s := n.broker.Stats()
			emit(v(&s))
		}}
	}
	perLoop := func(name, help string, typ admin.Type, v func(*loop.LoopStats) float64) admin.Metric {
		return admin.Metric{Name: name, Help: help, Type: typ, Labels: []string{"loop"}, Collect: func(emit func(float64, ...string)) {
			s := n.engine.Stats()
			for i := range s.Loops {
				emit(v(&s.Loops[i]), strconv.Itoa(i))
			}
		}}
	}
	boolean := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	return []admin.Metric{
		{Name: "gatecast_info", Help: "Always 1; the labels say what runs.", Type: admin.Gauge, Labels: []string{"version", "node"},
			Collect: func(emit func(float64, ...string)) { emit(1, n.version, n.broker.Name()) }},
		gauge("gatecast_conns", "Conns on this node, those in handshake included.", func() float64 { return float64(n.conns.Load()) }),
		gauge("gatecast_groups", "Groups with members on this node, counted on each loop.", func() float64 { g, _ := n.sizes(); return float64(g) }),
		gauge("gatecast_memberships", "Memberships of conns of this node in groups.", func() float64 { _, m := n.sizes(); return float64(m) }),
		{Name: "gatecast_handshakes_total", Help: "Handshakes and logins by result (accepted, refused, waiting, static) and reason; for accepted ones the reason is the verifier.",
			Type: admin.Counter, Labels: []string{"result", "reason"}, Collect: func(emit func(float64, ...string)) {
				n.counters.handshakes.each(func(k [2]string, v uint64) { emit(float64(v), k[0], k[1]) })
			}},
		{Name: "gatecast_closes_total", Help: "Conns this node closed, by close code.", Type: admin.Counter, Labels: []string{"code"},
			Collect: func(emit func(float64, ...string)) {
				n.counters.closes.each(func(code int, v uint64) { emit(float64(v), strconv.Itoa(code)) })
			}},
		count("gatecast_peer_closes_total", "Conns the peer closed with a close frame.", func(c *counters) *counter { return &c.peerClosed }),
		count("gatecast_lost_conns_total", "Conns that broke without a close frame.", func(c *counters) *counter { return &c.lost }),
		{Name: "gatecast_refused_ops_total", Help: "Ops answered with an error, by code.", Type: admin.Counter, Labels: []string{"code"},
			Collect: func(emit func(float64, ...string)) {
				n.counters.refusals.each(func(code string, v uint64) { emit(float64(v), code) })
			}},
		count("gatecast_limited_total", "Times a conn was refused something for a limit of its own.", func(c *counters) *counter { return &c.limited }),
		count("gatecast_slow_conns_total", "Conns that could not keep up.", func(c *counters) *counter { return &c.slow }),
		{Name: "gatecast_slow_dropped_total", Help: "Messages dropped because a conn could not keep up, by the policy of their group.", Type: admin.Counter,
			Labels: []string{"policy"}, Collect: func(emit func(float64, ...string)) {
				for p := slowDropOldest; p <= slowLatest; p++ {
					emit(float64(n.counters.dropped[p].Load()), p.String())
				}
			}},
		count("gatecast_messages_in_total", "Messages from conns.", func(c *counters) *counter { return &c.messagesIn }),
		count("gatecast_message_bytes_in_total", "Bytes of messages from conns.", func(c *counters) *counter { return &c.bytesIn }),
		{Name: "gatecast_compression_offers_total", Help: "Handshakes that offered extensions while compression is enabled, by result: accepted, or declined because no offer could be met.",
			Type: admin.Counter, Labels: []string{"result"}, Collect: func(emit func(float64, ...string)) {
				emit(float64(n.counters.offersAccepted.Load()), "accepted")
				emit(float64(n.counters.offersDeclined.Load()), "declined")
			}},
		{Name: "gatecast_compression_messages_total", Help: "Messages by direction: out were compressed, once for all members that take it; in came compressed and were inflated.",
			Type: admin.Counter, Labels: []string{"direction"}, Collect: func(emit func(float64, ...string)) {
				emit(float64(n.counters.deflated.Load()), "out")
				emit(float64(n.counters.inflated.Load()), "in")
			}},
		{Name: "gatecast_compression_bytes_total", Help: "Bytes of those messages by form: plain before compression or after inflating, compressed the other way round.",
			Type: admin.Counter, Labels: []string{"direction", "form"}, Collect: func(emit func(float64, ...string)) {
				emit(float64(n.counters.deflatedFrom.Load()), "out", "plain")
				emit(float64(n.counters.deflatedTo.Load()), "out", "compressed")
				emit(float64(n.counters.inflatedFrom.Load()), "in", "compressed")
				emit(float64(n.counters.inflatedTo.Load()), "in", "plain")
			}},
		count("gatecast_compression_deliveries_total", "Deliveries that went out compressed.", func(c *counters) *counter { return &c.deliveredDeflated }),
		{Name: "gatecast_compression_refused_total", Help: "Compressed messages that were refused, by reason: bad_deflate, invalid_utf8, message_too_big, or rate (bytes_per_second would have been passed).",
			Type: admin.Counter, Labels: []string{"reason"}, Collect: func(emit func(float64, ...string)) {
				n.counters.uninflatable.each(func(reason string, v uint64) { emit(float64(v), reason) })
			}},
		count("gatecast_published_total", "Messages of conns and of the HTTP API handed to the broker.", func(c *counters) *counter { return &c.published }),
		count("gatecast_deliveries_total", "Messages queued to members: one message to 100 members counts 100.", func(c *counters) *counter { return &c.delivered }),
		count("gatecast_undeliverable_total", "Messages dropped because their data is invalid for their format.", func(c *counters) *counter { return &c.undeliverable }),
		count("gatecast_sweeps_total", "Times all logins were looked at again.", func(c *counters) *counter { return &c.sweeps }),
		count("gatecast_sweep_errors_total", "Logins that a sweep could not look at because their verifier was unavailable.", func(c *counters) *counter { return &c.sweepErrors }),
		gauge("gatecast_partial_message_bytes", "Memory of messages that have arrived in part.", func() float64 { return float64(ws.PartialBytes()) }),
		count("gatecast_partial_refused_total", "Conns closed because their message would have passed partial_bytes of [server.limits].", func(c *counters) *counter { return &c.noRoom }),

		{Name: "gatecast_kept_entries", Help: "What is kept for conns beside the conns themselves, by what it is. On a node without conns all are 0.", Type: admin.Gauge,
			Labels: []string{"what"}, Collect: func(emit func(float64, ...string)) {
				n.kept(func(what string, entries int) { emit(float64(entries), what) })
			}},

		perLoop("gatecast_loop_conns", "Sockets of the loop.", admin.Gauge, func(s *loop.LoopStats) float64 { return float64(s.Conns) }),
		perLoop("gatecast_loop_queue", "Tasks that wait for the loop.", admin.Gauge, func(s *loop.LoopStats) float64 { return float64(s.Queue) }),
		perLoop("gatecast_loop_pieces", "Pieces of output that wait for their sockets: a message to 100 slow conns counts 100.", admin.Gauge, func(s *loop.LoopStats) float64 { return float64(s.Pieces) }),
		perLoop("gatecast_loop_turns_total", "Turns the loop took.", admin.Counter, func(s *loop.LoopStats) float64 { return float64(s.Turns) }),
		perLoop("gatecast_loop_sends_total", "Writes to sockets.", admin.Counter, func(s *loop.LoopStats) float64 { return float64(s.Sends) }),
		perLoop("gatecast_loop_read_bytes_total", "Bytes read from sockets.", admin.Counter, func(s *loop.LoopStats) float64 { return float64(s.BytesIn) }),
		perLoop("gatecast_loop_written_bytes_total", "Bytes written to sockets.", admin.Counter, func(s *loop.LoopStats) float64 { return float64(s.BytesOut) }),
		perLoop("gatecast_loop_backlogs_total", "Writes the kernel did not take whole.", admin.Counter, func(s *loop.LoopStats) float64 { return float64(s.Again) }),
		perLoop("gatecast_loop_panics_total", "Panics that cost one conn each; the log has their stacks.", admin.Counter, func(s *loop.LoopStats) float64 { return float64(s.Panics) }),
		perLoop("gatecast_loop_longest_turn_seconds", "The longest work between two waits.", admin.Gauge, func(s *loop.LoopStats) float64 { return s.LongestTurn.Seconds() }),
		perLoop("gatecast_loop_blocks_total", "Calls that blocked the loop and all its conns for a second or more; the log says which conn and has the stack.", admin.Counter, func(s *loop.LoopStats) float64 { return float64(s.Blocks) }),
		perLoop("gatecast_loop_blocked_seconds", "How long the loop is blocked now; 0 if it is not.", admin.Gauge, func(s *loop.LoopStats) float64 { return s.BlockedFor.Seconds() }),
		{Name: "gatecast_accept_errors_total", Help: "Sockets that could not be accepted, by reason.", Type: admin.Counter, Labels: []string{"reason"},
			Collect: func(emit func(float64, ...string)) {
				a := n.engine.Stats().Accept
				emit(float64(a.Files), "files")
				emit(float64(a.Memory), "memory")
				emit(float64(a.Aborted), "aborted")
				emit(float64(a.Other), "other")
			}},

		{Name: "gatecast_authn_answers_total", Type: admin.Counter,
			Help:   "Answers of verifiers by outcome and reason, cached ones included. unavailable has the reason left_alone if nobody was asked because there had been no answers.",
			Labels: []string{"verifier", "outcome", "reason"}, Collect: func(emit func(float64, ...string)) {
				for _, a := range n.chain.Stats().Answers {
					emit(float64(a.Count), a.Verifier, string(a.Outcome), a.Reason)
				}
			}},
		{Name: "gatecast_authn_lookups_total", Help: "Logins by where the answer came from: cache, verifier, or another's lookup of the same credential.",
			Type: admin.Counter, Labels: []string{"from"}, Collect: func(emit func(float64, ...string)) {
				s := n.chain.Stats()
				emit(float64(s.CacheHits), "cache")
				emit(float64(s.CacheMisses), "verifier")
				emit(float64(s.CacheShared), "shared")
			}},
		{Name: "gatecast_authn_rows_total", Help: "Rows of SQL rules wanted for users, by where they came from: cache, database, or nowhere (failed).",
			Type: admin.Counter, Labels: []string{"from"}, Collect: func(emit func(float64, ...string)) {
				s := n.chain.Stats()
				emit(float64(s.RowsCached), "cache")
				emit(float64(s.RowsAnswered), "database")
				emit(float64(s.RowsFailed), "failed")
			}},
		gauge("gatecast_authn_cached_logins", "Logins in the cache.", func() float64 { return float64(n.chain.Stats().CacheEntries) }),
		gauge("gatecast_authn_tombstones", "Ended sessions that are remembered.", func() float64 { return float64(n.chain.Stats().Tombstones) }),

		ofBroker("gatecast_broker_up", "1 while the broker is linked.", admin.Gauge, func(s *broker.Stats) float64 { return boolean(s.Up) }),
		ofBroker("gatecast_broker_published_total", "Messages written to live lanes.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.Published) }),
		ofBroker("gatecast_broker_published_bytes_total", "Bytes of them.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.PublishedBytes) }),
		ofBroker("gatecast_broker_delivered_total", "Messages handed to this node: what it published itself, and what arrived on lanes.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.Delivered) }),
		ofBroker("gatecast_broker_delivered_bytes_total", "Bytes of them.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.DeliveredBytes) }),
		ofBroker("gatecast_broker_undeliverable_total", "Messages on a lane that made no sense, or for a group already left.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.Undeliverable) }),
		ofBroker("gatecast_broker_ingress_total", "Messages of services and native users that were accepted.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.IngressOK) }),
		{Name: "gatecast_broker_ingress_refused_total", Help: "Messages of services and native users that were refused, by code.", Type: admin.Counter, Labels: []string{"code"},
			Collect: func(emit func(float64, ...string)) {
				for code, v := range n.broker.Stats().IngressRefused {
					emit(float64(v), code)
				}
			}},
		ofBroker("gatecast_broker_refused_replies_total", "Requests ignored because their reply subject was no inbox of the sender.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.RefusedReplies) }),
		ofBroker("gatecast_broker_subscriptions", "Subscriptions of this node to groups.", admin.Gauge, func(s *broker.Stats) float64 { return float64(s.Interest) }),
		ofBroker("gatecast_broker_pending_joins", "Joins that wait for their barrier.", admin.Gauge, func(s *broker.Stats) float64 { return float64(s.PendingJoins) }),
		ofBroker("gatecast_broker_barriers_total", "Join barriers done.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.Barriers) }),
		ofBroker("gatecast_broker_barrier_timeouts_total", "Join barriers a peer did not answer.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.BarrierTimeouts) }),
		ofBroker("gatecast_broker_barrier_seconds_total", "Time spent in barriers.", admin.Counter, func(s *broker.Stats) float64 { return s.BarrierSeconds }),
		ofBroker("gatecast_broker_peers", "Other live nodes.", admin.Gauge, func(s *broker.Stats) float64 { return float64(s.Peers) }),
		ofBroker("gatecast_broker_peers_lost_total", "Nodes that went without a word.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.PeersLost) }),
		ofBroker("gatecast_broker_reconnects_total", "Times the link to an external broker came back.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.Reconnects) }),
		ofBroker("gatecast_broker_routes", "Routes to other nodes' embedded servers.", admin.Gauge, func(s *broker.Stats) float64 { return float64(s.Routes) }),
		ofBroker("gatecast_broker_native_conns", "Native NATS users connected.", admin.Gauge, func(s *broker.Stats) float64 { return float64(s.NativeConns) }),
		ofBroker("gatecast_broker_native_logins_total", "Native NATS users accepted.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.NativeAccepted) }),
		ofBroker("gatecast_broker_native_refused_total", "Native NATS logins refused.", admin.Counter, func(s *broker.Stats) float64 { return float64(s.NativeRefused) }),
		ofBroker("gatecast_broker_write_buffer_bytes", "Bytes waiting to be written to the broker.", admin.Gauge, func(s *broker.Stats) float64 { return float64(s.WriteBufferBytes) }),
	}
}
