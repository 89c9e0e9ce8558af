// Package agent spreads the receivers of a run over processes, of this machine and of others.
//
// The flow: a [Host] starts a NATS server of its own, starts child processes, and waits until they and agents from elsewhere have
// joined; [Host.Open] gives each a share of the clients and returns a crew.Crew. An agent ([Join]) does what it is told with a
// crew of its own, tells a few times a second how far it is, and reports in the end; the reports are merged.
//
// The NATS server has nothing to do with the target: what agents say does not pass through what is measured.
package agent
