//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/plan"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/swarm"
)

const (
	stallNote  = 500 * time.Millisecond // silence worth a word
	drainTick  = 5 * time.Millisecond
	lead       = 20 * time.Millisecond // between the decision to publish and the first due time
	maxBusy    = 0.9                   // share of one core the harness may need in a valid open-loop run; of echo each of its two threads
	gatherTime = 3                     // times the duration after which an overloaded run is cut off
)

// delivery is a run of publications: who receives, who publishes, and from when it counts.
type delivery struct {
	*site
	crew  crew.Crew
	pub   publisher
	sizes []int   // members of each group
	each  string  // what costs are divided by: "delivery", or "message" if each has one receiver
	twice bool    // the thread that publishes is as busy as the one that receives: each may need as much of a core
	spoke float64 // share of a core that the thread that publishes needed
	start int64   // the first publication is due
	from  int64   // measuring begins

	began    func(from int64) // hears when measuring will begin; may be nil
	complete func() bool      // whether all has arrived, where sizes cannot say; nil = they can
	rest     func() bool      // whether nothing is awaited that is not measured; nil = nothing is

	cutOff time.Duration // after the last publication, with messages still arriving; 0 = not
	closed bool          // a receiver's connection was, which may not have read in time

	looked, seen *inside // before the first publication and after the last delivery
}

// publisher is who publishes: one socket, or those of the receivers.
type publisher interface {
	Open(ctx context.Context, s load.Schedule, count int, alive func() error) error
	Window(ctx context.Context, window int, duration time.Duration, completed func() int, alive func() error) error
	Completed()
	Sent() []uint32
	Last() int64
	Lag() *hdrhistogram.Histogram
	Close() error
}

// fanout publishes to groups whose members are all here, and times every delivery.
func fanout(ctx context.Context, s *site) (*result.Run, error) {
	_, run, err := s.deliver(ctx)
	return run, err
}

// deliver is fanout for who wants the tally too.
func (s *site) deliver(ctx context.Context) (tally crew.Tally, run *result.Run, err error) {
	d, err := s.assemble(ctx)
	if err != nil {
		return tally, nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	tally, m, err := d.publish(ctx)
	if err != nil {
		return tally, nil, err
	}
	return tally, d.result(tally, m), nil
}

// plan is the layout that the options ask for.
func (s *site) plan() plan.Plan {
	return plan.Plan{Conns: s.o.Conns, Groups: s.o.Groups, PerConn: s.o.PerConn, Shared: s.o.Shared, Zipf: s.o.Zipf, Personal: s.personal}
}

// assemble connects the receivers and the publisher.
func (s *site) assemble(ctx context.Context) (_ *delivery, err error) {
	run := rand.Uint32()
	d := &delivery{site: s, sizes: s.plan().Sizes(), each: "delivery"}
	if d.crew, err = s.openCrew(run); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if _, err := d.crew.Connect(ctx); err != nil {
		return nil, err
	}
	c, err := codec.Open(s.in.Spec())
	if err != nil {
		return nil, err
	}
	pub, err := load.Open(ctx, load.Options{Addr: s.in.Addrs()[0], Codec: c, Plan: s.plan(), Run: run, Size: s.o.Size, HTTP: s.o.HTTP})
	if err != nil {
		return nil, err
	}
	d.pub = pub
	return d, nil
}

// openCrew opens the receivers of a run, not connected yet.
func (s *site) openCrew(run uint32) (crew.Crew, error) {
	return s.muster(crew.Options{Run: run, Inflight: loginsInFlight})
}

// muster opens receivers here or at the agents; what follows from the site is filled in.
func (s *site) muster(o crew.Options) (crew.Crew, error) {
	o.Addrs, o.Spec, o.Plan, o.Count = s.in.Addrs(), s.in.Spec(), s.plan(), s.o.Conns
	if s.host != nil {
		return s.host.Open(o)
	}
	return crew.Open(o)
}

// loginsInFlight is how many receivers log in at a time where logins are not what is measured.
const loginsInFlight = 64

func (d *delivery) close() error {
	var err error
	if d.pub != nil {
		err = d.pub.Close()
	}
	return errors.Join(err, d.crew.Close())
}

// publish sends what is due, waits until it has arrived, and balances.
func (d *delivery) publish(ctx context.Context) (tally crew.Tally, m metered, err error) {
	d.looked = d.look(ctx)
	defer load.Quietly()()
	d.start = ledger.Now() + int64(lead)
	d.from = d.start + int64(d.o.Warmup)
	var completed func(int64)
	if d.o.Window > 0 {
		completed = func(int64) { d.pub.Completed() }
	}
	if d.began != nil {
		d.began(d.from)
	}
	d.crew.Receive(d.from, completed)
	meter := startMeter(ctx, d.from, d.read)
	d.phase("publish")
	unfollow := d.follow(d.crew, d.ahead(), d.o.Warmup+d.o.Duration)
	load.Urgently(func() {
		at, cpu := ledger.Now(), load.ThreadCPU()
		err = d.send(ctx)
		d.spoke = float64(load.ThreadCPU()-cpu) / float64(ledger.Now()-at)
	})
	unfollow()
	d.phase("drain")
	if err == nil {
		err = d.gather(ctx)
	}
	m, meterErr := meter.stop()
	if err == nil && d.rest != nil {
		err = until(ctx, d.rest)
	}
	if stopErr := d.crew.Stop(); err == nil { // else these say the same again
		err = errors.Join(meterErr, stopErr)
	}
	if err != nil && !errors.Is(err, swarm.ErrClosed) {
		return tally, m, err
	}
	d.seen = d.look(ctx)
	tally, balanceErr := d.crew.Balance(d.pub.Sent())
	if err != nil && balanceErr == nil && d.overflow(tally) {
		d.closed = true
		return tally, metered{}, nil
	}
	return tally, m, errors.Join(err, balanceErr)
}

func (d *delivery) send(ctx context.Context) error {
	total := d.o.Warmup + d.o.Duration
	alive := func() error { return d.crew.State().Err }
	if d.o.Window > 0 {
		return d.pub.Window(ctx, d.o.Window, total, func() int { return int(d.crew.State().Completed) }, alive)
	}
	return d.pub.Open(ctx, load.Schedule{Start: d.start, Rate: d.o.Rate}, int(total.Seconds()*d.o.Rate), alive)
}

// read is what the meter reads.
func (d *delivery) read() (reading, error) {
	r, err := d.site.read()
	s := d.crew.State()
	r.delivered, r.connected = s.Delivered, s.Connected
	return r, err
}

// ahead is about how many deliveries an open loop comes to; 0 for a closed one, of which nobody knows.
func (d *delivery) ahead() int64 {
	members := 0
	for _, n := range d.sizes {
		members += n
	}
	return int64((d.o.Warmup + d.o.Duration).Seconds() * d.o.Rate * float64(members) / float64(len(d.sizes)))
}

// expected is how many deliveries come of what was sent.
func (d *delivery) expected() int64 { return deliveries(d.pub.Sent(), d.sizes) }

// deliveries are those of what was sent to groups of these sizes.
func deliveries(sent []uint32, sizes []int) (n int64) {
	for group, k := range sent {
		n += int64(k) * int64(sizes[group])
	}
	return n
}

// gather waits until all is delivered, or nothing comes for the patience while the receivers look.
func (d *delivery) gather(ctx context.Context) error {
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	from, expected, since := ledger.Now(), d.expected(), silence{before: d.crew.State().Quiet}
	for {
		s, now := d.crew.State(), ledger.Now()
		quiet := since.now(s.Quiet)
		switch {
		case s.Err != nil:
			return s.Err
		case d.complete == nil && s.Delivered >= expected, d.complete != nil && d.complete():
			return d.linger(ctx, tick)
		case quiet > d.o.Patience:
			return nil // the ledger will say what is missing
		case now-from > int64(gatherTime*(d.o.Warmup+d.o.Duration)+d.o.Patience) && now-s.Last < int64(d.o.Patience): // and it goes on
			d.cutOff = time.Duration(now - from)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// silence is what [crew.State] says of Quiet, from a moment on.
type silence struct{ before time.Duration }

// now takes what it says now.
func (s *silence) now(quiet time.Duration) time.Duration {
	if quiet < s.before { // something came since
		s.before = 0
	}
	return quiet - s.before
}

// until waits for a condition.
func until(ctx context.Context, reached func() bool) error {
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for !reached() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// linger waits a moment for what should not come: duplicates and strays after the last message.
func (d *delivery) linger(ctx context.Context, tick *time.Ticker) error {
	for range 10 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// faults names what is wrong with the counts, of the target and of the harness. What a target may have dropped because its receivers did
// not read is the harness's fault. What was still arriving when the run was cut off is late, and may not be lost: it is the harness's
// fault if most of it lies in the receivers' sockets.
func (d *delivery) faults(t crew.Tally) (target, harness []string) {
	c := t.Counts
	missing := c.Lost
	switch {
	case missing > 0 && d.overflow(t):
		c.Lost = 0
		return c.Faults(), []string{fmt.Sprintf("the receivers fell behind: they did not read for %v, and %d of %d messages never came",
			t.Away.Round(time.Millisecond), missing, c.Expected)}
	case d.cutOff == 0:
		return c.Faults(), nil
	}
	c.Lost = 0
	late := fmt.Sprintf("%d of %d messages %%s %v after the last was published; lower the load, or raise -patience", missing, c.Expected, d.cutOff.Round(time.Second))
	if t.Unread > missing*int64(d.o.Size)/2 {
		return c.Faults(), []string{"the receivers fell behind: " + fmt.Sprintf(late, "were not read")}
	}
	return append(c.Faults(), "overloaded: "+fmt.Sprintf(late, "had not arrived")), nil
}

// socketRoom is what a socket takes for a receiver that does not read, at least, before a target must keep or drop messages itself.
const socketRoom = 64 << 10

// overflow reports whether more came for a receiver than its socket takes while it did not look.
func (d *delivery) overflow(t crew.Tally) bool {
	unread := t.Away + time.Duration(d.pub.Lag().Max()) // what is published late comes together
	share := min(1, unread.Seconds()/(d.o.Warmup+d.o.Duration).Seconds())
	came := share * float64(t.Counts.Expected) / float64(d.o.Conns)
	if d.o.Window > 0 {
		came = min(came, float64(d.o.Window))
	}
	return came*float64(d.o.Size) > socketRoom
}

// result says what a run measured.
func (d *delivery) result(t crew.Tally, m metered) *result.Run {
	run := &result.Run{Ledger: &t.Counts}
	if d.closed {
		run.Harness = []string{fmt.Sprintf("the receivers fell behind: they did not read for %v, and the target closed a connection", t.Away.Round(time.Millisecond))}
		return run
	}
	run.P99 = time.Duration(t.Times.Response.ValueAtQuantile(99))
	run.Faults, run.Harness = d.faults(t)
	if last := d.crew.State().Last; last < d.pub.Last() { // the end reached nobody
		run.Faults = append(run.Faults, fmt.Sprintf("stalled: nothing arrived in the last %.1f s", time.Duration(ledger.Now()-last).Seconds()))
	}
	if silence := time.Duration(t.Silence); silence > stallNote {
		run.Notes = append(run.Notes, fmt.Sprintf("stalled: nothing arrived for %v although messages were due", silence.Round(time.Millisecond)))
	}
	switch {
	case m.elapsed == 0, m.deliveries == 0 && m.seconds[0].at-d.from > int64(d.o.Duration/2):
		run.Harness = append(run.Harness, "the harness did not come to read the costs before the run was over")
		return run
	case m.deliveries == 0:
		run.Faults = append(run.Faults, "nothing was delivered in the time measured")
		return run
	}
	d.judgeHarness(run, t, m)
	per := func(v time.Duration) float64 { return float64(v) / float64(m.deliveries) }
	run.Compare("server-ns/"+d.each, per(m.server.CPU))
	run.Add("server-user-ns/"+d.each, per(m.server.User))
	run.Add("server-system-ns/"+d.each, per(m.server.System))
	run.Add("harness-ns/"+d.each, per(m.harness.CPU))
	run.Compare(map[string]string{"delivery": "deliveries/s", "message": "messages/s"}[d.each], float64(m.deliveries)/m.elapsed.Seconds())
	run.Latency("response", t.Times.Response, true)
	run.Latency("service", t.Times.Service, false)
	if t.Times.First.TotalCount() > 0 {
		run.Latency("first", t.Times.First, false)
		run.Latency("median", t.Times.Median, false)
		run.Latency("last", t.Times.Last, true)
	}
	run.Add("switches/"+d.each, float64(m.server.Switches)/float64(m.deliveries))
	run.Add("rss-B", float64(m.now.RSS))
	run.Add("fds", float64(m.now.Files))
	d.seen.enter(run, d.looked, d.each, t.Counts.Delivered)
	run.Series = series(d.from, t.Seconds, m.seconds)
	return run
}

// judgeHarness says whether the harness kept up; what it says is no fault of the target.
func (d *delivery) judgeHarness(run *result.Run, t crew.Tally, m metered) {
	busy := m.busy
	if d.twice { // which of the two is at its limit, their sum does not say
		busy = max(d.spoke, m.busy-d.spoke)
	}
	if d.o.Window > 0 {
		if busy > maxBusy {
			run.Notes = append(run.Notes, fmt.Sprintf("the harness needed %.0f %% of a core: the rate may be its own limit", 100*busy))
		}
		judgeClocks(run, t)
		return
	}
	d.judgeLag(run, t)
	if busy > maxBusy {
		run.Harness = append(run.Harness, fmt.Sprintf("the harness needed %.0f %% of a core, so latencies are its own", 100*busy))
	}
	judgeClocks(run, t)
}

// judgeLag says whether the generator fell behind. Without a bound of the user's own it is the p95 that decides: a machine whose core
// is taken away for a moment makes one publication of a hundred late, and server and receivers with it; that is told, not judged.
func (d *delivery) judgeLag(run *result.Run, t crew.Tally) {
	lag, quantile := d.pub.Lag(), 95.0
	if d.o.MaxLag > 0 {
		quantile = 99
	}
	at := func(q float64) (is, allowed time.Duration) {
		return time.Duration(lag.ValueAtQuantile(q)).Round(time.Microsecond),
			load.AllowedLag(d.o.MaxLag, time.Duration(t.Times.Response.ValueAtQuantile(q))).Round(time.Microsecond)
	}
	if is, allowed := at(quantile); is > allowed {
		run.Harness = append(run.Harness, fmt.Sprintf("the generator fell behind: p%g of its lag is %v, allowed %v", quantile, is, allowed))
	} else if is, allowed := at(99); is > allowed {
		run.Notes = append(run.Notes, fmt.Sprintf("one publication of a hundred was %v late: the highest percentiles are partly the machine's", is))
	}
	run.Add("lag-p95-ns", float64(lag.ValueAtQuantile(95)))
	run.Add("lag-p99-ns", float64(lag.ValueAtQuantile(99)))
}

// maxDoubt is the share of the median latency by which clocks may be apart.
const maxDoubt = 0.1

// judgeClocks says how far latencies can be believed that were taken by two machines' clocks.
func judgeClocks(run *result.Run, t crew.Tally) {
	if t.Doubt == 0 {
		return
	}
	doubt, p50 := time.Duration(t.Doubt), time.Duration(t.Times.Response.ValueAtQuantile(50))
	run.Add("clock-doubt-ns", float64(doubt))
	run.Notes = append(run.Notes, fmt.Sprintf("receivers on other machines: their clocks are right within %v", doubt.Round(time.Microsecond)))
	if float64(doubt) > maxDoubt*float64(p50) {
		run.Harness = append(run.Harness, fmt.Sprintf("the clocks of other machines are right within %v only, which is more than a tenth of the median latency, %v", doubt.Round(time.Microsecond), p50.Round(time.Microsecond)))
	}
}

// series puts together what receivers and meter saw of each second.
func series(from int64, seconds []crew.Second, readings []reading) (out []result.Second) {
	for _, s := range seconds {
		out = append(out, result.Second{
			At: time.Duration(s.At - from).Seconds(), Delivered: s.Response.TotalCount(),
			P50: s.Response.ValueAtQuantile(50), P99: s.Response.ValueAtQuantile(99), Max: s.Response.Max(),
		})
	}
	for i, r := range readings[1:] {
		before := readings[i]
		k := int((before.at - from + int64(time.Second)/2) / int64(time.Second))
		for j := range out {
			if int(out[j].At+0.5) == k && out[j].RSS == 0 {
				out[j].CPU = float64(r.server.Since(before.server).CPU) / float64(r.at-before.at)
				out[j].RSS, out[j].Conns = r.server.RSS, r.connected
			}
		}
	}
	return out
}
