package server

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatecast/gatecast/authn"
)

var bad = authn.Refuse("bad_signature", nil)

func TestAttemptsOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &attempts{perSecond: 5, began: time.Now()}
		addr, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		told := 0
		for i := range 5 {
			if a.over(addr) {
				t.Fatalf("over after %d failures, want 5", i)
			}
			if a.count(addr, bad) {
				told++
			}
		}
		if !a.over(addr) || a.over(other) {
			t.Errorf("over = %v, of another address %v; want true, false", a.over(addr), a.over(other))
		}
		if !a.over(netip.AddrFrom16(addr.As16())) {
			t.Error("the same address mapped into IPv6 is another")
		}
		if told != 1 {
			t.Errorf("the log was told %d times, want once", told)
		}
		<-time.After(200 * time.Millisecond)
		if a.over(addr) {
			t.Error("over when there is room for one more")
		}
		if a.count(addr, bad) || !a.over(addr) {
			t.Error("one more does not reach the limit, or the log is told again")
		}
		// What failed within the last second counts, also when the maps turn.
		<-time.After(850 * time.Millisecond)
		a.count(other, bad) // turns them
		<-time.After(950 * time.Millisecond)
		for range 5 {
			a.count(other, bad)
		}
		<-time.After(100 * time.Millisecond)
		a.count(addr, bad) // turns them again
		if _, left := a.old[netip.PrefixFrom(other, 32)]; !left || !a.over(other) {
			t.Error("failures are forgotten when the maps turn")
		}
		<-time.After(time.Second)
		a.count(other, bad)
		<-time.After(time.Second)
		a.count(other, bad)
		if len(a.recent)+len(a.old) != 2 { // one address in both
			t.Errorf("%d and %d addresses are remembered, want the one that failed last", len(a.recent), len(a.old))
		}
		<-time.After(950 * time.Millisecond)
		for range 5 {
			a.count(other, bad)
		}
		<-time.After(100 * time.Millisecond)
		if a.rest(); !a.over(other) {
			t.Error("rest forgets who failed a moment ago")
		}
		<-time.After(2 * time.Second)
		if a.rest(); len(a.recent)+len(a.old) != 0 {
			t.Error("a node at rest remembers addresses")
		}
	})
}

func TestWhatIsNoAttempt(t *testing.T) {
	a := &attempts{perSecond: 1, began: time.Now()}
	addr := netip.MustParseAddr("192.0.2.1")
	for _, err := range []error{nil, errBusy, errAttempts, authn.ErrLoginLater, authn.Refuse("no_credential", nil), authn.Refuse("no_login", nil)} {
		a.count(addr, err)
	}
	a.count(netip.MustParseAddr("127.0.0.1"), bad)
	a.count(netip.MustParseAddr("::1"), bad)
	a.count(netip.Addr{}, bad)
	if len(a.recent) != 0 {
		t.Errorf("%v was counted", a.recent)
	}
	a = &attempts{began: time.Now()}
	for range 100 {
		a.count(addr, bad)
	}
	if a.over(addr) {
		t.Error("0 is a limit")
	}
}

// A subscriber of IPv6 has a /64 to choose addresses from.
func TestAttemptsOfIPv6(t *testing.T) {
	a := &attempts{perSecond: 1, began: time.Now()}
	a.count(netip.MustParseAddr("2001:db8::1"), bad)
	if !a.over(netip.MustParseAddr("2001:db8::ffff:2")) || a.over(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Error("a /64 is not one address")
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	a := &attempts{perSecond: 1000, began: time.Now()}
	for i := range maxAttempts + 1000 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 0x0a000000+uint32(i))
		a.count(netip.AddrFrom4(b), bad)
	}
	if n := len(a.recent) + len(a.old); n > maxAttempts || n < maxAttempts/2 {
		t.Errorf("%d addresses are remembered, want %d at most, and the last half of them", n, maxAttempts)
	}
	if last := netip.AddrFrom4([4]byte{10, 1, 3, 231}); a.get(netip.PrefixFrom(last, 32)) == 0 {
		t.Error("the address that failed last is forgotten")
	}
}

func TestAttemptsAllocateNothing(t *testing.T) {
	a := &attempts{perSecond: 5, began: time.Now()}
	addr := netip.MustParseAddr("192.0.2.1")
	a.count(addr, bad)
	if n := testing.AllocsPerRun(100, func() { a.over(addr) }); n != 0 {
		t.Errorf("over allocates %v times", n)
	}
}

// staleVerifier knows no session any more.
type staleVerifier struct{ cookieVerifier }

func (staleVerifier) Verify(context.Context, authn.Credential) (*authn.Identity, error) {
	return nil, &authn.Refused{Reason: "unknown_session", Soft: true}
}

// Who comes with a made-up session is let in as nobody where that is allowed, and has cost the site's database a query all the same.
func TestASessionThatIsUnknownCountsAlsoOfTheAnonymous(t *testing.T) {
	c := testConfig(t, "auto")
	c.Authn.Anonymous, c.Authn.Carriers = true, []string{"cookie"}
	var err error
	if c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": staleVerifier{}}, nil, nil); err != nil {
		t.Fatal(err)
	}
	n, _ := startAlone(t, c)
	for cookie, want := range map[string]int{"": 0, "other=1": 0, "who=made-up": 1} {
		v := n.login(t.Context(), &loginJob{request: &authn.Request{Cookie: cookie, Remote: netip.MustParseAddr("192.0.2.1")}, queued: time.Now()})
		if v.err != nil || !v.id.Anonymous() {
			t.Errorf("cookie %q: %v, %v, want nobody", cookie, v.id, v.err)
		}
		n.attempts.mu.Lock()
		if got := len(n.attempts.recent) + len(n.attempts.old); got != want {
			t.Errorf("cookie %q: %d addresses are counted, want %d", cookie, got, want)
		}
		n.attempts.recent, n.attempts.old = nil, nil
		n.attempts.mu.Unlock()
	}
}
