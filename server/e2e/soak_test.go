package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soakVar is for how long TestSoak runs; make soak makes it half an hour.
const soakVar = "GATECAST_TEST_SOAK"

// What comes to a node under soak.
const (
	residents    = 6                      // conns that stay, and must miss nothing
	residentTalk = time.Second            // between two messages of a resident
	visitors     = 4                      // that come and go all the time, one conn after the other
	visitEvery   = 400 * time.Millisecond // at most, of each visitor
	slowEvery    = 3 * time.Second        // between two peers that do not read
)

// TestSoak: users come, join, send, stop reading, and are cut off in every way there is, for as long as GATECAST_TEST_SOAK says. Those who
// stay miss nothing; memory does not grow; when all are gone the node keeps nothing of them. Both modes at the same time, in one
// test, which mostly waits.
func TestSoak(t *testing.T) {
	heavy(t)
	t.Parallel()
	long := 2 * time.Minute
	if s := os.Getenv(soakVar); s != "" {
		var err error
		if long, err = time.ParseDuration(s); err != nil || long < 20*time.Second {
			t.Fatalf("%s=%s: it is a duration of 20s or more", soakVar, s)
		}
	}
	var env []string
	if raceEnabled {
		env = []string{"GOGC=20"} // the collector follows closely: see memory
	}
	var soaks []*soak
	for _, mode := range []string{"epoll", "portable"} {
		n := startNode(t, mode, conf{
			"server.mode": mode, "server.ping": "5s", "log.level": "warn", "authn.cache_ttl": "1s",
			"server.limits.pending_bytes": 64 << 10, "server.limits.messages_per_second": 0, "server.limits.bytes_per_second": 0,
			"server.limits.message_timeout": "2s", "server.limits.conns_per_address": 10000, "server.limits.conns_per_user": 100,
			"groups": []conf{{"pattern": "room.flood.drop", "slow": "drop_oldest"}},
			"routes": []conf{{"path": "/raw", "groups": []string{"room.raw"}, "publish": "room.raw"}},
		}, env...)
		soaks = append(soaks, &soak{t: t, n: n, ends: make([]atomic.Int64, len(partings))})
	}
	var all sync.WaitGroup
	for _, s := range soaks {
		all.Go(func() { s.run(long) })
	}
	all.Wait()
	for _, s := range soaks {
		if !t.Failed() {
			s.judge()
		}
	}
}

// soak is one node and what it goes through.
type soak struct {
	t *testing.T
	n *node

	before  usage
	idle    sample // what the node counted before anybody came
	samples []reading

	ends []atomic.Int64 // visits by how they ended, as in partings
	slow atomic.Int64   // peers that did not read
}

// reading is the node's memory at a moment.
type reading struct {
	at    time.Duration // since the begin
	bytes float64       // of memory
}

// memory is what is read: what the system says is resident. The race detector keeps some for every address and goroutine there ever was,
// so with it only Go's heap says something.
func memory(m sample) float64 {
	if raceEnabled {
		return m.sum("go_memstats_heap_alloc_bytes")
	}
	return m.sum("process_resident_memory_bytes")
}

// run does it all, for long, or until something goes wrong. It reports by t.Error, for it is not on the test's goroutine.
func (s *soak) run(long time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	report := func(who string, err error) {
		if err != nil {
			s.t.Errorf("%s: %s: %v", s.n.name, who, err)
			cancel()
		}
	}
	var err error
	if s.idle, err = s.n.tryMetrics(); err != nil {
		report("before", err)
		return
	}
	report("warm-up", s.visit(rand.New(rand.NewPCG(1, 1)), "warm", 0)) // lazily started goroutines exist from the first conn on
	if s.before, err = s.alone(); err != nil {
		report("before", err)
		return
	}

	stay := &household{s: s}
	if err := stay.moveIn(); err != nil {
		report("residents", err)
		return
	}
	end := time.AfterFunc(long, cancel)
	defer end.Stop()
	var work sync.WaitGroup
	work.Go(func() { report("resident", stay.live(ctx)) })
	for v := range visitors {
		work.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(v), uint64(time.Now().UnixNano())))
			s.every(ctx, visitEvery, func(i int) bool {
				err := s.visit(rnd, fmt.Sprintf("visitor%d.%d", v, i%50), rnd.IntN(len(partings)))
				report("visitor", err)
				return err == nil
			})
		})
	}
	work.Go(func() {
		s.every(ctx, slowEvery, func(i int) bool {
			err := s.sluggard([]string{"room.flood.close", "room.flood.drop"}[i%2])
			report("slow peer", err)
			return err == nil
		})
	})
	began := time.Now()
	s.every(ctx, max(time.Second, long/250), func(int) bool {
		m, err := s.n.tryMetrics()
		if err != nil {
			report("sample", err)
			return false
		}
		s.samples = append(s.samples, reading{time.Since(began), memory(m)})
		return true
	})
	work.Wait()
	report("residents alone", s.until(func(m sample) string {
		if m.conns() != residents || m.sum("gatecast_memberships") != 2*residents {
			return fmt.Sprintf("%d conns with %v memberships, want the %d residents in 2 groups each", m.conns(), m.sum("gatecast_memberships"), residents)
		}
		return ""
	}))
	report("residents", stay.moveOut())
}

// every calls f now and then until ctx ends or f returns false.
func (s *soak) every(ctx context.Context, interval time.Duration, f func(i int) bool) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := 0; f(i) && !s.t.Failed(); i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// until scrapes until wrong finds nothing wrong.
func (s *soak) until(wrong func(m sample) string) error {
	text := ""
	ok := s.n.until(20*time.Second, func() bool {
		m, err := s.n.tryMetrics()
		if err != nil {
			text = err.Error()
			return false
		}
		text = wrong(m)
		return text == ""
	})
	if !ok {
		return errors.New(text)
	}
	return nil
}

// alone waits until nobody is connected and returns the least the node was seen to hold.
func (s *soak) alone() (least usage, err error) {
	err = s.until(func(m sample) string {
		if m.conns() != 0 {
			return fmt.Sprintf("%d conns are left", m.conns())
		}
		return ""
	})
	for i := 0; i < 20 && err == nil; i++ {
		var m sample
		if m, err = s.n.tryMetrics(); err != nil {
			return least, err
		}
		u := m.usage()
		if i == 0 {
			least = u
		}
		least.goroutines, least.descriptors = min(least.goroutines, u.goroutines), min(least.descriptors, u.descriptors)
	}
	return least, err
}

// partings are the ways a visit ends; each must be over when it returns.
var partings = [...]struct {
	name string
	part func(s *soak, v *socket, user string) error
}{
	{"close frame", func(_ *soak, v *socket, _ string) error {
		if err := v.frame(opClose, []byte{0x03, 0xe8}); err != nil {
			return err
		}
		return v.tryClosed(1000)
	}},
	{"end", func(_ *soak, v *socket, _ string) error { return v.conn.Close() }},
	{"reset", func(_ *soak, v *socket, _ string) error { return v.reset() }},
	{"half a frame", func(_ *soak, v *socket, _ string) error {
		return errors.Join(v.write(appendFrame(nil, 0x80|opText, []byte(`{"op":"ping","id":1}`))[:9]), v.reset())
	}},
	{"half a message", func(_ *soak, v *socket, _ string) error {
		if err := v.write(appendFrame(nil, opText, []byte(`{"op":"pi`))); err != nil {
			return err
		}
		return v.tryClosed(1002)
	}},
	{"bad frame", func(_ *soak, v *socket, _ string) error {
		if err := v.write([]byte{0x81, 0x01, 'x'}); err != nil {
			return err
		}
		return v.tryClosed(1002)
	}},
	{"disconnect", func(s *soak, v *socket, user string) error {
		status, raw, err := s.n.tryCall(adminKey, "POST", "/api/v1/disconnect", map[string]any{"user": user})
		if err != nil || status != 200 {
			return fmt.Errorf("disconnect: %d %s %v", status, raw, err)
		}
		return v.tryClosed(4410)
	}},
	{"half a handshake", func(s *soak, v *socket, _ string) error {
		c, err := net.DialTimeout("tcp", s.n.addr, patience)
		if err != nil {
			return err
		}
		_, err = c.Write(upgradeLines(nil)[:60])
		return errors.Join(err, c.Close(), v.conn.Close())
	}},
	{"refused login", func(s *soak, v *socket, _ string) error {
		other, err := tryDial(s.n.addr, "/ws", bearer("garbage"))
		if err != nil {
			return err
		}
		defer other.conn.Close()
		return errors.Join(other.tryClosed(4401), v.conn.Close())
	}},
	{"raw route", func(s *soak, v *socket, user string) error {
		tok, err := sign(user)
		if err != nil {
			return err
		}
		raw, err := tryDial(s.n.addr, "/raw", bearer(tok))
		if err != nil {
			return err
		}
		defer raw.conn.Close()
		if err := raw.frame(opText, []byte(`"hi"`)); err != nil {
			return err
		}
		_, _, err = raw.readMessage(time.Now().Add(patience))
		return errors.Join(err, v.conn.Close())
	}},
	{"cut off and back", func(s *soak, v *socket, user string) error {
		if err := v.reset(); err != nil {
			return err
		}
		again, err := s.come(user, []string{"room.churn.1", "room.once." + user})
		if err != nil {
			return err
		}
		defer again.conn.Close()
		return again.sayAndHear("room.once." + user)
	}},
}

// come connects a user and joins groups.
func (s *soak) come(user string, groups []string) (*socket, error) {
	tok, err := sign(user)
	if err != nil {
		return nil, err
	}
	v, err := tryDial(s.n.addr, "/ws", bearer(tok))
	if err != nil {
		return nil, err
	}
	v.user = user
	if _, err = v.tryFind(func(m msg) bool { return m.op() == "welcome" }); err == nil {
		err = v.tryOK(msg{"op": "group_add", "groups": groups})
	}
	if err != nil {
		v.conn.Close()
		return nil, err
	}
	return v, nil
}

// visit is one conn from its login to its end.
func (s *soak) visit(rnd *rand.Rand, user string, parting int) error {
	own := "room.once." + user
	v, err := s.come(user, []string{own, fmt.Sprintf("room.churn.%d", rnd.IntN(50)), fmt.Sprintf("room.churn.%d", 50+rnd.IntN(50))})
	if err != nil {
		return err
	}
	defer v.conn.Close()
	if err := v.sayAndHear(own); err != nil {
		return err
	}
	if rnd.IntN(2) == 0 {
		if err := v.tryOK(msg{"op": "group_discard", "group": own}); err != nil {
			return err
		}
	}
	p := partings[parting]
	s.ends[parting].Add(1)
	if err := p.part(s, v, user); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// sluggard joins a group, stops reading, and is sent more than may wait for it. It is closed, or loses messages, by the group's policy.
func (s *soak) sluggard(group string) error {
	slow, err := s.come("sluggard", []string{group})
	if err != nil {
		return err
	}
	defer slow.conn.Close()
	slow.conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	speaker, err := s.come("speaker", []string{"room.churn.1"})
	if err != nil {
		return err
	}
	defer speaker.conn.Close()
	before, err := s.n.tryMetrics()
	if err != nil {
		return err
	}
	body := strings.Repeat("x", 30<<10)
	for range 200 {
		for range 10 {
			if err := speaker.tryOK(msg{"op": "group_send", "group": group, "data": body}); err != nil {
				return err
			}
		}
		now, err := s.n.tryMetrics()
		if err != nil {
			return err
		}
		for _, m := range []string{"gatecast_slow_conns_total", "gatecast_slow_dropped_total"} {
			if now.sum(m) > before.sum(m) {
				s.slow.Add(1)
				return slow.reset()
			}
		}
	}
	return fmt.Errorf("%s: 60 MB are sent and nobody was found slow", group)
}

// judge looks at what the node is left with.
func (s *soak) judge() {
	t, name := s.t, s.n.name
	t.Helper()
	var visits []string
	for i := range s.ends {
		visits = append(visits, fmt.Sprintf("%d %s", s.ends[i].Load(), partings[i].name))
	}
	t.Logf("%s: %d slow peers, visits: %s", name, s.slow.Load(), strings.Join(visits, ", "))

	// What is kept for conns falls to nothing with them; the broker lets groups go after its linger.
	if err := s.until(func(m sample) string {
		for _, zero := range []string{
			"gatecast_conns", "gatecast_groups", "gatecast_memberships", "gatecast_partial_message_bytes", "gatecast_kept_entries",
			"gatecast_loop_conns", "gatecast_loop_queue", "gatecast_loop_pieces", "gatecast_broker_pending_joins",
		} {
			if left := m.sum(zero); left != 0 {
				return fmt.Sprintf("%s is %v without conns: %v", zero, left, m[zero])
			}
		}
		if got, want := m.sum("gatecast_broker_subscriptions"), s.idle.sum("gatecast_broker_subscriptions"); got != want {
			return fmt.Sprintf("the broker has %v subscriptions, %v before", got, want)
		}
		if panics := m.sum("gatecast_loop_panics_total"); panics != 0 {
			return fmt.Sprintf("%v panics", panics)
		}
		return ""
	}); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	for _, list := range []string{"connections", "groups"} {
		if status, raw, err := s.n.tryCall(adminKey, "GET", "/api/v1/"+list, nil); err != nil || status != 200 || !strings.Contains(string(raw), "[]") {
			t.Errorf("%s: %s are %d %s %v, want none", name, list, status, raw, err)
		}
	}
	after, err := s.alone()
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if after.goroutines > s.before.goroutines+8 || after.descriptors > s.before.descriptors+4 {
		t.Errorf("%s: after it %+v, before %+v", name, after, s.before)
	}

	warm := s.samples[len(s.samples)/4:] // tables, pools and caches have their size by then
	growth, typical := trend(warm)
	var quarters []string
	for i := range 4 {
		_, m := trend(s.samples[len(s.samples)*i/4 : len(s.samples)*(i+1)/4])
		quarters = append(quarters, fmt.Sprintf("%.1f", m/1e6))
	}
	t.Logf("%s: memory by quarters %s MB; over the last three it grew by %.1f MB", name, strings.Join(quarters, ", "), growth/1e6)
	if allowed := 3e6 + typical/10; growth > allowed {
		t.Errorf("%s: memory grew by %.1f MB, want at most %.1f: %v", name, growth/1e6, allowed/1e6, s.samples)
	}
}

// trend is how much memory grew over all readings, and its median. The slope is the median of those between any two readings (Theil and
// Sen), which a burst or a late collection does not move.
func trend(readings []reading) (growth, typical float64) {
	var slopes, values []float64
	for i, a := range readings {
		values = append(values, a.bytes)
		for _, b := range readings[i+1:] {
			slopes = append(slopes, (b.bytes-a.bytes)/(b.at-a.at).Seconds())
		}
	}
	median := func(v []float64) float64 {
		slices.Sort(v)
		return v[len(v)/2]
	}
	return median(slopes) * (readings[len(readings)-1].at - readings[0].at).Seconds(), median(values)
}

// household is the residents: each hears every message of all, in order.
type household struct {
	s     *soak
	socks []*socket
	said  [residents]atomic.Int64 // messages, by resident
}

const livingRoom = "room.living"

func (h *household) moveIn() error {
	for i := range residents {
		r, err := h.s.come(fmt.Sprintf("resident%d", i), []string{livingRoom})
		if err != nil {
			return err
		}
		h.socks = append(h.socks, r)
	}
	return nil
}

// live lets all talk and listen until ctx ends and all have heard all.
func (h *household) live(ctx context.Context) error {
	talked, heard := make([]error, residents), make([]error, residents)
	var all sync.WaitGroup
	for i, r := range h.socks {
		all.Go(func() { talked[i] = h.talk(ctx, i, r) })
		all.Go(func() { heard[i] = h.listen(r) })
	}
	all.Wait()
	return errors.Join(append(talked, heard...)...)
}

// talk says numbers, and at last that it was the last.
func (h *household) talk(ctx context.Context, i int, r *socket) error {
	say := func(data any) error { return r.trySend(msg{"op": "group_send", "group": livingRoom, "data": data}) }
	tick := time.NewTicker(residentTalk)
	defer tick.Stop()
	for n := 1; ; n++ {
		h.said[i].Store(int64(n))
		if err := say(n); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return say("bye")
		case <-tick.C:
		}
	}
}

// listen reads one resident's socket until all have said their last: the numbers show whether one was missed.
func (h *household) listen(r *socket) error {
	var heard [residents]int64
	for byes := 0; byes < residents; {
		m, err := r.tryNext(time.Now().Add(4 * patience))
		if err != nil {
			return fmt.Errorf("%s heard %v: %w", r.user, heard, err)
		}
		var from int
		if _, err := fmt.Sscanf(m.str("from"), "resident%d", &from); err != nil || m.op() != "message" || m.str("group") != livingRoom {
			return fmt.Errorf("%s got %v", r.user, m)
		}
		if m.str("data") == "bye" {
			if said := h.said[from].Load(); heard[from] != said {
				return fmt.Errorf("%s heard %d of %d messages of %s", r.user, heard[from], said, m.str("from"))
			}
			byes++
			continue
		}
		if heard[from]++; heard[from] != int64(m.num("data")) {
			return fmt.Errorf("%s got %v, want number %d", r.user, m, heard[from])
		}
	}
	return nil
}

func (h *household) moveOut() error {
	var errs []error
	for _, r := range h.socks {
		errs = append(errs, r.frame(opClose, []byte{0x03, 0xe8}), r.tryClosed(1000), r.conn.Close())
	}
	return errors.Join(errs...)
}

// tryOK asks and wants an ok, for all groups if it is about several.
func (s *socket) tryOK(m msg) error {
	r, err := s.tryAsk(m)
	if err != nil {
		return err
	}
	if r.op() != "ok" || strings.Contains(fmt.Sprint(r["groups"]), "error") {
		return fmt.Errorf("%v answered %v", m, r)
	}
	return nil
}

// sayAndHear sends to a group that the socket alone is in, and waits for the message.
func (s *socket) sayAndHear(group string) error {
	if err := s.tryOK(msg{"op": "group_send", "group": group, "data": "hi"}); err != nil {
		return err
	}
	_, err := s.tryFind(func(m msg) bool { return m.op() == "message" && m.str("group") == group })
	return err
}

// tryClosed reads until the socket is over.
func (s *socket) tryClosed(code int) error {
	for {
		_, err := s.tryNext(time.Now().Add(patience))
		var ce *closedError
		switch {
		case errors.As(err, &ce) && ce.Code == code:
			return nil
		case err != nil:
			return fmt.Errorf("want close %d: %w", code, err)
		}
	}
}

// reset closes the socket as a crash of its host does, without a word that waits to be read.
func (s *socket) reset() error {
	return errors.Join(s.conn.(*net.TCPConn).SetLinger(0), s.conn.Close())
}
