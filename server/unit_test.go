package server

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/loop"
)

func credential(value string) authn.Credential {
	return authn.Credential{Carrier: authn.CarrierHeader, Value: value}
}

func TestARateLetsABurstOfOneSecondThrough(t *testing.T) {
	var g gcra
	passed := 0
	for range 100 {
		if g.take(0, 1, 10) {
			passed++
		}
	}
	if passed < 10 || passed > 11 {
		t.Fatalf("%d of 100 passed at once, want a burst of 10", passed)
	}
	for i := range 50 { // then the sustained rate
		if !g.take(time.Second+time.Duration(i)*100*time.Millisecond, 1, 10) {
			t.Fatalf("refused at the sustained rate, step %d", i)
		}
	}
	if g = 0; !g.take(0, 5000, 1000) {
		t.Fatal("a single large message must pass when nothing else was spent")
	}
	if g.take(0, 1, 1000) {
		t.Fatal("a message passed behind one that took five seconds' worth")
	}
	if g = 0; !g.take(0, 1, 0) {
		t.Fatal("0 must mean no limit")
	}
}

func TestRoutesAreMatchedBySegment(t *testing.T) {
	r, err := compileRoute(Route{Path: "/ws/chat/{room}/", Groups: []string{"chat.{room}", "mine.{id}"}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/ws/chat/7/": "7", "/ws/chat/a%2Fb/": "a/b", "/ws/chat/7": "", "/ws/chat//": "", "/ws/chat/7/8/": "", "/ws/other/7/": "", "/ws/chat/%zz/": "",
	} {
		params, ok := r.match(path)
		if ok != (want != "") || ok && params[0] != want {
			t.Errorf("match(%q) = %v, %v, want %q", path, params, ok, want)
		}
	}
	groups, _, err := r.groupsFor([]string{"7"}, &authn.Identity{ID: "a.b"}, uuid.UUID{})
	if err != nil || !slices.Equal(groups, []string{"chat.7", "mine.a%2Eb"}) {
		t.Fatalf("groupsFor = %v, %v", groups, err)
	}
	if _, _, err := r.groupsFor([]string{"a b"}, &authn.Identity{ID: "x"}, uuid.UUID{}); err == nil {
		t.Fatal("a parameter made a group name with a space")
	}
	if _, _, err := r.groupsFor([]string{">"}, &authn.Identity{ID: "x"}, uuid.UUID{}); err == nil {
		t.Fatal("a parameter made a group name with a wildcard")
	}
	for _, bad := range []Route{
		{Path: "ws", Groups: []string{"a"}}, {Path: "/ws/{room", Groups: []string{"a"}}, {Path: "/{id}", Groups: []string{"a"}},
		{Path: "/x", Groups: []string{"a.{room}"}}, {Path: "/x", Groups: []string{"a.*"}}, {Path: "/x"}, {Path: "/x", Groups: []string{"a"}, Deliver: "nonsense"},
	} {
		if _, err := compileRoute(bad); err == nil {
			t.Errorf("compileRoute(%+v) = nil, want an error", bad)
		}
	}
}

func TestForwardedAddressesCountFromTrustedProxiesOnly(t *testing.T) {
	p, err := parseProxies([]string{"10.0.0.0/8", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	local, far := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("203.0.113.9")
	if !p.trust(local) || p.trust(far) {
		t.Fatal("trust is wrong")
	}
	for forwarded, want := range map[string]string{
		"203.0.113.9": "203.0.113.9", "6.6.6.6, 203.0.113.9, 10.1.1.1": "203.0.113.9", "nonsense": "127.0.0.1", "": "127.0.0.1", "6.6.6.6, ?": "127.0.0.1",
		"6.6.6.6, 203.0.113.9:4711, 10.1.1.1:80": "203.0.113.9", "[2001:db8::1]:4711": "2001:db8::1", "[2001:db8::1]": "2001:db8::1", "[::ffff:203.0.113.9]:1": "203.0.113.9",
		"203.0.113.9:": "127.0.0.1", "203.0.113.9:x": "127.0.0.1", "[203.0.113.9": "127.0.0.1", "[]": "127.0.0.1",
	} {
		if got := p.client(local, forwarded); got.String() != want {
			t.Errorf("client(%q) = %v, want %s", forwarded, got, want)
		}
	}
	if _, err := parseProxies([]string{"not an address"}); err == nil {
		t.Fatal("parseProxies took nonsense")
	}
}

func TestChannelsMessagesAreDeliveredAsTheirText(t *testing.T) {
	for data, want := range map[string]string{
		`{"type":"websocket.send","text":"hi"}`: "hi",
		`{"type":"chat.message","text":"hi"}`:   `{"type":"chat.message","text":"hi"}`,
		`"websocket.send"`:                      `"websocket.send"`,
		`{"type":"websocket.send"}`:             `{"type":"websocket.send"}`,
	} {
		if _, got := rawData(&broker.Message{Data: []byte(data)}); string(got) != want {
			t.Errorf("rawData(%s) = %s, want %s", data, got, want)
		}
	}
}

func TestUsersConnsAreCountedOldestFirst(t *testing.T) {
	var u userConns
	for id := loop.ID(1); id <= 2; id++ {
		if ok, _ := u.acquire("a", id, 2, false); !ok {
			t.Fatalf("conn %d was refused", id)
		}
	}
	if ok, _ := u.acquire("a", 3, 2, false); ok {
		t.Fatal("the third conn was let in")
	}
	if ok, oldest := u.acquire("a", 3, 2, true); !ok || oldest != 1 {
		t.Fatalf("acquire with replace = %v, %v, want the oldest, 1", ok, oldest)
	}
	u.release("a", 1) // the replaced one leaves later
	u.release("a", 2)
	u.release("a", 3)
	if len(u.conns) != 0 {
		t.Fatalf("left over: %v", u.conns)
	}
}

func TestWhereaboutsFollowTheLoops(t *testing.T) {
	w := newWhereabouts()
	g, other := []byte("g"), []byte("other")
	w.set(g, 0)
	w.set(other, 1)
	w.set(g, 5)
	if got := w.loops(g); got != 1|1<<5 {
		t.Fatalf("loops = %b", got)
	}
	w.clear(g, 0)
	w.clear(g, 5)
	if got := w.loops(g); got != 0 {
		t.Fatalf("loops = %b, want none", got)
	}
	if got := w.loops(other); got != 1<<1 {
		t.Fatalf("loops of another group = %b", got)
	}
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	o := DefaultOptions()
	if err := o.Validate(); err != nil {
		t.Fatalf("the defaults are wrong: %v", err)
	}
	o.Mode, o.Ping, o.Limits.ConnsPerUserPolicy, o.Limits.MessageBytes = "fast", time.Millisecond, "x", -1
	err := o.Validate()
	if err == nil {
		t.Fatal("Validate took nonsense")
	}
	for _, key := range []string{"server.mode", "server.ping", "server.limits.conns_per_user_policy", "server.limits.message_bytes"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}

func TestEveryCloseCodeIsInTheTableOnce(t *testing.T) {
	seen := map[int]bool{}
	for _, c := range CloseCodes {
		if seen[c.Code] || c.Meaning == "" || c.Name == "" {
			t.Errorf("close code %d is twice in the table or says nothing", c.Code)
		}
		seen[c.Code] = true
	}
}
