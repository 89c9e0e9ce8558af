package authntest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker/subject"
)

// Harness is what [Run] needs to know about a verifier.
type Harness struct {
	Verifier authn.Verifier
	// Good are credentials that it accepts, with the id of the user. At least one.
	Good []Good
	// Bad are credentials of its own that it refuses, by name: tampered, expired, … At least one.
	Bad map[string]authn.Credential
	// NotMine are credentials of other kinds, beside those the suite knows.
	NotMine []authn.Credential
	// Secrets are texts that no error may hold: keys, passwords. The values of credentials need not be listed.
	Secrets []string
	// Blocks says that it does I/O: a cancelled ctx then ends Verify with an error that is no refusal.
	Blocks bool
	// Slow says that it takes milliseconds of CPU to answer: the suite then asks less often.
	Slow bool
	// Greedy says that any token may be its own: who can tell is asked.
	Greedy bool
	// Renew makes another credential of the same user, if one is good for one login only: a second use of one must be refused. nil = it may be used again.
	Renew func(good Good) authn.Credential
	// Takes tells credentials of the suite's hostile values that the verifier may rightly call its own and refuse. All others
	// must be not mine. nil = it may refuse any of them.
	Takes func(c authn.Credential) bool
}

// fresh is a credential that can be used now.
func (h Harness) fresh(good Good) authn.Credential {
	if h.Renew == nil {
		return good.Credential
	}
	return h.Renew(good)
}

// Good is a credential and whose it is.
type Good struct {
	Credential authn.Credential
	ID         string
}

// Run is the conformance suite. start makes a fresh verifier for each part, and cleans up by t.Cleanup.
func Run(t *testing.T, start func(t *testing.T) Harness) {
	t.Run("accepts what is good", func(t *testing.T) { testGood(t, start(t)) })
	t.Run("refuses what is its own and bad", func(t *testing.T) { testBad(t, start(t)) })
	t.Run("refuses what was tampered with", func(t *testing.T) { testTampered(t, start(t)) })
	t.Run("leaves to others what is not its own", func(t *testing.T) { testNotMine(t, start(t)) })
	t.Run("survives hostile values", func(t *testing.T) { testHostile(t, start(t)) })
	t.Run("gives up when it is told to", func(t *testing.T) { testCancelled(t, start(t)) })
	t.Run("may be used concurrently", func(t *testing.T) { testConcurrent(t, start(t)) })
	t.Run("tells one session hash for one session", func(t *testing.T) { testSessionHash(t, start(t)) })
	t.Run("takes a one-time credential once", func(t *testing.T) { testOnce(t, start(t)) })
	t.Run("finds good logins good in a sweep", func(t *testing.T) { testSweep(t, start(t)) })
}

// WithCookie makes a credential of the cookie carrier.
func WithCookie(name, value string) authn.Credential {
	return authn.Credential{Carrier: authn.CarrierCookie, Cookies: func(n string) (string, bool) {
		if n != name {
			return "", false
		}
		return value, true
	}}
}

// WithBearer makes a credential of the header carrier.
func WithBearer(token string) authn.Credential {
	return authn.Credential{Carrier: authn.CarrierHeader, Scheme: "bearer", Value: token}
}

func testGood(t *testing.T, h Harness) {
	if len(h.Good) == 0 {
		t.Fatal("the harness has no good credential")
	}
	for _, good := range h.Good {
		id, err := h.Verifier.Verify(t.Context(), h.fresh(good))
		if err != nil {
			t.Errorf("Verify of a good credential = %v", err)
			continue
		}
		if id.ID != good.ID {
			t.Errorf("Verify = user %q, want %q", id.ID, good.ID)
		}
		if err := subject.CheckUserID(id.ID); err != nil {
			t.Error(err)
		}
		switch id.Kind {
		case "", authn.KindUser, authn.KindStaff, authn.KindSuperuser:
		default:
			t.Errorf("Kind = %q", id.Kind)
		}
		if !id.Expires.IsZero() && time.Until(id.Expires) <= 0 {
			t.Errorf("Expires = %v, which is past", id.Expires)
		}
		if id.Claimed != nil {
			if _, err := (*authn.Rules)(nil).GrantsFor(id, "conn"); err != nil {
				t.Errorf("the claimed grants do not compile: %v", err)
			}
		}
		if text := fmt.Sprintf("%+v %#v", id, id); id.Ref != "" && strings.Contains(text, string(id.Ref)) {
			t.Error("the identity prints its Ref")
		}
	}
}

func testBad(t *testing.T, h Harness) {
	if len(h.Bad) == 0 {
		t.Fatal("the harness has no bad credential")
	}
	for name, c := range h.Bad {
		t.Run(name, func(t *testing.T) {
			id, err := h.Verifier.Verify(t.Context(), c)
			var refused *authn.Refused
			if !errors.As(err, &refused) {
				t.Fatalf("Verify = %v, %v, want a refusal", id, err)
			}
			checkAnswer(t, h, c, id, err)
		})
	}
}

// testTampered changes good credentials byte by byte: none of the results may be accepted.
func testTampered(t *testing.T, h Harness) {
	for _, good := range h.Good {
		value, rebuild := taken(h, good.Credential)
		if value == "" {
			continue
		}
		step := max(1, len(value)/64)
		for i := 0; i < len(value); i += step {
			b := []byte(value)
			if b[i] == 'A' {
				b[i] = 'B'
			} else {
				b[i] = 'A'
			}
			c := rebuild(string(b))
			id, err := h.Verifier.Verify(t.Context(), c)
			if err == nil && lastBits(value, i) {
				continue // base64 has spare bits at its end
			}
			if err == nil {
				t.Errorf("byte %d of %d changed: accepted as user %q", i, len(value), id.ID)
			}
			checkAnswer(t, h, c, id, err)
		}
		for _, changed := range []string{value[:len(value)-1], value + "A", value[1:], value + value} {
			c := rebuild(changed)
			id, err := h.Verifier.Verify(t.Context(), c)
			if err == nil {
				t.Errorf("a credential of %d bytes made to be %d: accepted as user %q", len(value), len(changed), id.ID)
			}
			checkAnswer(t, h, c, id, err)
		}
	}
}

func lastBits(value string, i int) bool { return i == len(value)-1 }

// taken gives what a credential holds, and how to make one like it.
func taken(h Harness, c authn.Credential) (value string, rebuild func(string) authn.Credential) {
	if c.Carrier != authn.CarrierCookie {
		return c.Value, func(v string) authn.Credential {
			c := c
			c.Value = v
			return c
		}
	}
	namer, ok := h.Verifier.(authn.CookieNamer)
	if !ok {
		return "", nil
	}
	name := namer.CookieName()
	value, _ = c.Cookie(name)
	return value, func(v string) authn.Credential { return WithCookie(name, v) }
}

func testNotMine(t *testing.T, h Harness) {
	cases := append([]authn.Credential{WithCookie("no-such-cookie", "x")}, h.NotMine...)
	if !h.Greedy {
		cases = append(cases, WithBearer("not a token of anybody"), authn.Credential{Carrier: authn.CarrierQuery, Value: "?"})
	}
	for i, c := range cases {
		if id, err := h.Verifier.Verify(t.Context(), c); !errors.Is(err, authn.ErrNotMine) {
			t.Errorf("credential %d of another kind: Verify = %v, %v, want ErrNotMine", i, id, err)
		}
	}
}

// Hostile are values that parsers like to fall over.
func Hostile() []string {
	return []string{
		"", " ", ".", "..", "...", ":", "::", ":::", "=", "\x00", "\r\n", "\xff\xfe", "%00", "../../etc/passwd", "' OR 1=1 --", "*", ">", "null", "{}", "[]", "é", "🐉",
		"a.b.c", "e30.e30.e30", "e30..", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "eyJhbGciOiJIUzI1NiJ9.bnVsbA.AAAA",
		strings.Repeat("a", 100_000), strings.Repeat(".", 10_000), strings.Repeat(":", 10_000), strings.Repeat("{", 10_000), "." + strings.Repeat("A", 50_000) + ":1:" + strings.Repeat("A", 43),
		strings.Repeat("eyJ", 5_000) + "." + strings.Repeat("eyJ", 5_000) + ".AAAA", strings.Repeat("0", 40), strings.Repeat("a", 32), strings.Repeat("\n", 32),
	}
}

func testHostile(t *testing.T, h Harness) {
	for _, value := range Hostile() {
		for _, carrier := range []authn.Carrier{authn.CarrierHeader, authn.CarrierSubprotocol, authn.CarrierQuery, authn.CarrierMessage, authn.CarrierCookie, "unheard-of"} {
			c := authn.Credential{Carrier: carrier, Value: value}
			if carrier == authn.CarrierCookie {
				c = authn.Credential{Carrier: carrier, Cookies: func(string) (string, bool) { return value, true }}
			}
			id, err := h.Verifier.Verify(t.Context(), c)
			if err == nil {
				t.Errorf("%q by %s: accepted as user %q", brief(value), carrier, id.ID)
			}
			if h.Takes != nil && !h.Takes(c) && !errors.Is(err, authn.ErrNotMine) {
				t.Errorf("%q by %s: Verify = %v, want ErrNotMine", brief(value), carrier, err)
			}
			if len(value) < 8 {
				continue // too short to be looked for in a text
			}
			checkAnswer(t, h, c, id, err)
		}
		// A credential of no carrier, and of a cookie carrier without cookies.
		_, _ = h.Verifier.Verify(t.Context(), authn.Credential{})
		_, _ = h.Verifier.Verify(t.Context(), authn.Credential{Carrier: authn.CarrierCookie})
	}
}

func brief(s string) string { return s[:min(len(s), 40)] }

func testCancelled(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, good := range h.Good {
		start := time.Now()
		id, err := h.Verifier.Verify(ctx, h.fresh(good))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Verify with a cancelled ctx took %v", took)
		}
		var refused *authn.Refused
		switch {
		case errors.As(err, &refused), errors.Is(err, authn.ErrNotMine), errors.Is(err, authn.ErrNoLogin):
			t.Errorf("Verify with a cancelled ctx = %v; that is an answer, and there is none", err)
		case h.Blocks && err == nil:
			t.Errorf("Verify with a cancelled ctx = user %q; it does I/O and should give up", id.ID)
		case !h.Blocks && err == nil && id.ID != good.ID:
			t.Errorf("Verify with a cancelled ctx = user %q, want %q", id.ID, good.ID)
		}
	}
}

func testConcurrent(t *testing.T, h Harness) {
	rounds := 20
	if h.Slow {
		rounds = 1
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range rounds {
				for _, good := range h.Good {
					if id, err := h.Verifier.Verify(t.Context(), h.fresh(good)); err != nil || id.ID != good.ID {
						t.Errorf("Verify = %v, %v, want user %q", id, err, good.ID)
						return
					}
				}
				for name, c := range h.Bad {
					if id, err := h.Verifier.Verify(t.Context(), c); err == nil {
						t.Errorf("Verify of %s = user %q", name, id.ID)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func testSessionHash(t *testing.T, h Harness) {
	hasher, ok := h.Verifier.(authn.SessionHasher)
	for _, good := range h.Good {
		id, err := h.Verifier.Verify(t.Context(), h.fresh(good))
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			continue
		}
		hash, ok := hasher.SessionHash(good.Credential)
		if ok && hash != id.SessionHash {
			t.Errorf("SessionHash = %q, the identity has %q", hash, id.SessionHash)
		}
		if ok && (len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "") {
			t.Errorf("SessionHash = %q is no lower-case hex SHA-256", hash)
		}
	}
}

func testOnce(t *testing.T, h Harness) {
	once, ok := h.Verifier.(authn.OneTimer)
	if ok != (h.Renew != nil) {
		t.Fatalf("the verifier is a OneTimer: %v; the harness renews: %v", ok, h.Renew != nil)
	}
	for _, good := range h.Good {
		if !ok {
			return
		}
		c := h.fresh(good)
		if !once.OneTime(c) {
			t.Error("OneTime of a good credential = false")
		}
		var accepted atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				id, err := h.Verifier.Verify(t.Context(), c)
				var refused *authn.Refused
				switch {
				case err == nil && id.ID == good.ID:
					accepted.Add(1)
				case !errors.As(err, &refused):
					t.Errorf("Verify of a used credential = %v, %v, want a refusal", id, err)
				}
			})
		}
		wg.Wait()
		if n := accepted.Load(); n != 1 {
			t.Errorf("a one-time credential was accepted %d times by 8 logins at once, want once", n)
		}
	}
}

func testSweep(t *testing.T, h Harness) {
	v, ok := h.Verifier.(authn.Revalidator)
	if !ok {
		return
	}
	var ids []*authn.Identity
	for _, good := range h.Good {
		id, err := h.Verifier.Verify(t.Context(), h.fresh(good))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id, id)
	}
	answers := v.Revalidate(t.Context(), ids)
	if len(answers) != len(ids) {
		t.Fatalf("Revalidate of %d = %d answers", len(ids), len(answers))
	}
	for i, a := range answers {
		if a.Err != nil || a.Identity != nil && a.Identity.ID != ids[i].ID {
			t.Errorf("Revalidate of a good login = %+v", a)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, a := range v.Revalidate(ctx, ids) {
		var refused *authn.Refused
		if errors.As(a.Err, &refused) {
			t.Errorf("Revalidate with a cancelled ctx = %v; nobody is thrown out because we cannot tell", a.Err)
		}
	}
	if answers := v.Revalidate(t.Context(), nil); len(answers) != 0 {
		t.Errorf("Revalidate of none = %v", answers)
	}
}

// checkAnswer checks that an answer is one thing and that its text holds no secret.
func checkAnswer(t *testing.T, h Harness, c authn.Credential, id *authn.Identity, err error) {
	t.Helper()
	if (id == nil) != (err != nil) {
		t.Errorf("Verify = %v, %v, want one of them", id, err)
	}
	if err == nil {
		return
	}
	var refused *authn.Refused
	if errors.As(err, &refused) {
		if refused.Reason == "" || strings.Trim(refused.Reason, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
			t.Errorf("Reason = %q is not in snake_case", refused.Reason)
		}
		switch refused.Code {
		case "", authn.CodeUnauthorized, authn.CodeForbidden:
		default:
			t.Errorf("Code = %q", refused.Code)
		}
	}
	value, _ := taken(h, c)
	secrets := h.Secrets
	if len(value) >= 8 {
		secrets = append([]string{value}, secrets...)
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a secret: %.100q", err.Error())
		}
	}
}
