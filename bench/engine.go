//go:build linux

package bench

import (
	"time"

	"github.com/gatecast/gatecast/bench/result"
)

// The budgets of gatecast: at most so many times what the first target needs, or so much.
func atMost(metric string, ratio float64) result.Budget {
	return result.Budget{Target: "gatecast", Metric: metric, Ratio: ratio}
}

func atMostValue(metric string, value float64) result.Budget {
	return result.Budget{Target: "gatecast", Metric: metric, Value: value}
}

// The engine's budgets per idle connection: 1 KB, and 0.3 % of a core for 1,000 of them.
const (
	idleBytes = 1024
	idleNS    = 3000 // of CPU a second
)

// engine is the suite of what the socket engine must not cost more than.
func engine() []part {
	pair := []string{"raw", "gatecast"}
	fan := func(conns, window int, rate float64, targets ...string) func(o *result.Options) {
		return func(o *result.Options) {
			o.Targets, o.Conns, o.Window, o.Rate, o.Duration = targets, conns, window, rate, 4*time.Second
		}
	}
	echo := func(rate float64, batch int) func(o *result.Options) {
		return func(o *result.Options) {
			o.Targets, o.Conns, o.Rate, o.Window, o.Batch, o.Duration = pair, 1000, rate, 0, batch, 3*time.Second
		}
	}
	logins := func(known bool) func(o *result.Options) {
		return func(o *result.Options) {
			o.Targets, o.Conns, o.Login, o.Known, o.Shared = pair, 3000, "session", known, 100
		}
	}
	idle := func(login string) func(o *result.Options) {
		return func(o *result.Options) {
			o.Targets, o.Conns, o.Login, o.Shared, o.Settle, o.Duration, o.Repeat = pair, 19000, login, 100, 30*time.Second, 25*time.Second, 1
		}
	}
	perDelivery, perMessage := "server-ns/delivery", "server-ns/message"
	idleBudgets := []result.Budget{atMostValue("rss-B/conn", idleBytes), atMostValue("server-ns/conn/s", idleNS)}
	return []part{
		of("fanout", fan(5000, 1, 0, pair...), atMost(perDelivery, 1.10)),
		of("fanout", fan(100, 1, 0, pair...), atMost(perDelivery, 1.25)),
		of("fanout", fan(5000, 16, 0, "raw-batch", "gatecast"), atMost(perDelivery, 1.5)),
		of("groups", func(o *result.Options) { o.Targets = pair }, atMost(perDelivery, 1.3)),
		of("fanout", fan(5000, 0, 11, pair...), atMost("last-p50-ns", 1.3), atMost("last-p99-ns", 1.3)), // half of what raw can do
		of("fanout", func(o *result.Options) { fan(5000, 0, 11, pair...)(o); o.HTTP = true }, atMost("last-p50-ns", 1.3)),
		of("connect", logins(true), atMost("server-ns/handshake", 2.3)),
		of("connect", logins(false)),
		of("echo", echo(20_000, 1), atMost(perMessage, 2)),
		of("echo", echo(100_000, 10)),
		of("idle", idle("jwt"), idleBudgets...),
		of("idle", idle("session"), idleBudgets...),
	}
}

// strain is the suite of what bad company may cost the others.
func strain() []part {
	pair := []string{"raw", "gatecast"}
	stop := func(policy string, phase time.Duration) func(o *result.Options) {
		return func(o *result.Options) {
			o.Targets, o.Conns, o.Rate, o.Policy, o.Duration, o.Repeat = pair, 5000, 4, policy, 3*phase, 1
		}
	}
	undisturbed := atMost("during/before", 1.2) // raw keeps no queue worth the name: what disturbs its receivers too is the machine
	return []part{
		of("slow", stop("close", time.Minute), undisturbed),
		of("slow", stop("drop_oldest", 10*time.Second), undisturbed),
		of("slow", stop("drop_newest", 10*time.Second), undisturbed),
		of("slow", stop("latest", 10*time.Second), undisturbed),
		of("flood", func(o *result.Options) { o.Targets, o.Duration, o.Repeat = pair, 15*time.Second, 3 }, atMostValue("during/before", 1.5)),
	}
}
