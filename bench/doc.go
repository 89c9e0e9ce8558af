// Package bench measures WebSocket pub/sub servers, ours and others, and proves that nothing was lost before any speed counts.
//
// The flow of `gatecast bench SCENARIO`:
//
//	main.go       command line ─► scenario and Options ─► measure ─► table, result.json, exit code
//	run.go        for each repeat, for each target: start it, run the scenario, stop it (A B A B)
//	fanout.go     swarm connects ─► publisher publishes ─► receivers count and time ─► ledger must balance
//	echo.go       the same, but the receivers publish · groups.go, notify.go: fanouts with other plans
//	slow.go       some receivers stop reading · churn.go: members leave and come back · selfcheck.go: is raw a yardstick
//	cluster.go    published on one node, received on all · reconnect.go: a node goes and comes back · soak.go, search.go
//	agents.go     receivers in processes of their own · inside.go: the kernel's memory, Go's runtime
//	connect.go    connect: times handshakes · idle: memory and CPU of connections that rest
//	result.go     medians; ratios to the first target, within each repeat
//	report.go     table, Go benchmark lines, HDR logs
//
// Below it, each of one idea:
//
//	target/   how a server is started and spoken to: gatecast, raw, raw-batch
//	raw/      the yardstick: a server that is nothing but sendto
//	crew/     the receivers: swarm, ledger and histograms, in one process
//	agent/    a crew spread over processes and machines
//	swarm/    the clients: one epoll loop, raw descriptors
//	load/     the publisher: open loop by due times, or a closed window
//	ledger/   stamps in payloads; lost, duplicated, reordered, wrong group
//	frame/    the client's half of RFC 6455
//	proc/     CPU, memory and descriptors of processes from /proc
//
// One goroutine receives (the swarm's), one publishes (the caller's); they share a few atomic counters. The server under test
// is another process, and its costs are read from outside, so every server is measured alike. Linux only: epoll, /proc.
//
// Nothing here imports server or broker: the harness must not share a mistake with what it measures.
package bench
