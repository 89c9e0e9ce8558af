// Package bench measures WebSocket pub/sub servers, ours and others, and proves that nothing was lost before any speed counts.
//
// The flow of `gatecast bench SCENARIO`:
//
//	main.go       command line ─► scenario and Options (options.go) ─► measure ─► table, files, exit code
//	scenarios.go  what there is to measure · suite.go: several in one document; gate's, once more
//	run.go        for each repeat, for each target: start it, run the scenario, stop it (A B A B); again if the harness was at fault
//	fanout.go     crew connects ─► publisher publishes ─► receivers count and time ─► ledger must balance
//	echo.go       the same, but the receivers publish · groups.go, notify.go: fanouts with other plans
//	slow.go       some receivers stop reading · flood.go: strangers ask for handshakes · churn.go: members leave and come back
//	selfcheck.go  is raw a yardstick
//	cluster.go    published on one node, received on all · reconnect.go: a node goes and comes back · soak.go, search.go
//	connect.go    connect: times handshakes · idle: memory and CPU of connections that rest
//	meter.go      CPU and memory of target and harness, each second · inside.go: the kernel's memory, Go's runtime
//	agents.go     receivers in processes of their own · progress.go: what the view is told
//	report.go     tables, Go benchmark lines, HDR logs
//
// Below it, each of one idea:
//
//	target/     how servers are started, asked and stopped · rivals/: the files that other people's run from
//	codec/      how they are spoken to
//	raw/        the yardstick: a server that is nothing but sendto
//	plan/       which client is in which groups, and what is published where
//	crew/       the receivers: swarm, ledger and histograms, in one process
//	agent/      a crew spread over processes and machines
//	flooder/    handshakes that nobody wants, from a process of its own
//	swarm/      the clients: one epoll loop, raw descriptors
//	load/       the publisher: open loop by due times, or a closed window
//	ledger/     stamps in payloads; lost, duplicated, reordered, wrong group
//	frame/      the client's half of RFC 6455
//	proc/       CPU, memory and descriptors of processes from /proc
//	result/     what was measured: medians, ratios to the first target within each repeat, result.json
//	live/       the view while it is measured · html/: report.html
//	compare/    do two documents differ · gate: is a new one worse than a baseline
//	benchtest/  a server that misbehaves on purpose, for the tests
//
// One goroutine receives (the swarm's), one publishes (the caller's); they share a few atomic counters. The server under test
// is another process, and its costs are read from outside, so every server is measured alike. Linux only: epoll, /proc.
//
// Nothing here imports server or broker: the harness must not share a mistake with what it measures.
package bench
