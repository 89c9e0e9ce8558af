// Package brokertest starts brokers in one process and holds the suite that every kind of broker passes.
//
//	Start, StartCluster, StartNATS ─► Node = Broker + Recorder ─► Suite(t, nodes)
//
// [Recorder] is a handler that keeps what it is given; [Suite] is what any set of nodes must do, whatever carries their messages.
package brokertest
