package ticket

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
	"github.com/gatecast/gatecast/authn/django"
)

const (
	secret    = "django-insecure-vectors-0123456789abcdefghijklmnopqrstuvwxyz"
	oldSecret = "old-secret-key-0000000000000000000000000000000000000000"
)

// sign is django.core.signing.dumps(…, salt="gatecast.ticket").
func sign(secret string, payload any, at time.Time) string {
	data, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	return signText(secret, base64.RawURLEncoding.EncodeToString(data), at)
}

func signText(secret, body string, at time.Time) string {
	key, _ := hex.DecodeString(django.DeriveKeys(secret).TicketKey)
	value := body + ":" + base62(at.Unix())
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(value))
	return value + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func base62(n int64) (s string) {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for ; n > 0; n /= 62 {
		s = string(digits[n%62]) + s
	}
	return s
}

type fields = map[string]any

// issue makes a ticket of now.
func issue(f fields) string {
	all := fields{"user": "42", "id": rand.Text()}
	for k, v := range f {
		all[k] = v
	}
	return sign(secret, all, time.Now())
}

func open(t testing.TB, change ...func(*Options)) *Verifier {
	t.Helper()
	site := django.DefaultOptions()
	site.TicketKey = django.DeriveKeys(secret).TicketKey
	site.Fallbacks = []django.Keys{django.DeriveKeys(oldSecret)}
	o := DefaultOptions()
	for _, c := range change {
		c(&o)
	}
	ledger := newCluster(2).ledgers[0]
	ledger.since = ledger.since.Add(-time.Hour)
	v, err := Open(t.Context(), o, site, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func byQuery(ticket string) authn.Credential {
	return authn.Credential{Carrier: authn.CarrierQuery, Value: ticket}
}

func TestConformance(t *testing.T) {
	authntest.Run(t, func(t *testing.T) authntest.Harness {
		v := open(t)
		good := authntest.Good{Credential: byQuery(issue(nil)), ID: "42"}
		return authntest.Harness{
			Verifier: v,
			Good:     []authntest.Good{good},
			Renew:    func(authntest.Good) authn.Credential { return byQuery(issue(nil)) },
			Bad: map[string]authn.Credential{
				"old":         byQuery(sign(secret, fields{"user": "42", "id": "x"}, time.Now().Add(-61*time.Second))),
				"other key":   byQuery(sign("another"+secret, fields{"user": "42", "id": "x"}, time.Now())),
				"user is int": byQuery(issue(fields{"user": 42})),
			},
			NotMine: []authn.Credential{
				authntest.WithCookie("ticket", issue(nil)),
				byQuery(sign(secret, fields{"_auth_user_id": "42"}, time.Now())), // a signed-cookie session
			},
			Secrets: []string{django.DeriveKeys(secret).TicketKey},
			Blocks:  true,
			Takes: func(c authn.Credential) bool {
				return c.Carrier != authn.CarrierCookie && django.LooksLikeTicket(c.Value)
			},
		}
	})
}

func verify(t *testing.T, v *Verifier, ticket string) (*authn.Identity, string) {
	t.Helper()
	id, err := v.Verify(t.Context(), byQuery(ticket))
	var refused *authn.Refused
	switch {
	case err == nil:
		return id, "accepted"
	case errors.As(err, &refused):
		return nil, refused.Reason
	case errors.Is(err, authn.ErrNotMine):
		return nil, "not mine"
	}
	t.Fatalf("Verify: %v", err)
	return nil, ""
}

func TestATicketSaysWhoAndWhat(t *testing.T) {
	v := open(t)
	ends := time.Now().Add(time.Hour).Unix()
	hash := strings.Repeat("ab", 32)
	id, how := verify(t, v, issue(fields{
		"user": "7", "kind": "staff", "groups": []string{"Editors", "Ünï"}, "perms": []string{"chat.moderate"}, "attrs": fields{"team": "red", "tags": []string{"a", "b"}},
		"session": hash, "expires": ends, "grants": fields{"join": []string{"room.7"}, "subscribe": []string{"news.>"}, "publish": []string{"chat.7"}, "deny": []string{"news.x"}}, "more": 1,
	}))
	if how != "accepted" {
		t.Fatal(how)
	}
	if id.ID != "7" || id.Kind != authn.KindStaff || !slices.Equal(id.Groups, []string{"Editors", "Ünï"}) || !slices.Equal(id.Perms, []string{"chat.moderate"}) ||
		!slices.Equal(id.Attrs["team"], []string{"red"}) || !slices.Equal(id.Attrs["tags"], []string{"a", "b"}) || id.SessionHash != hash || id.Expires.Unix() != ends {
		t.Errorf("identity = %+v", id)
	}
	if g := id.Claimed; g == nil || !slices.Equal(g.Join, []string{"room.7"}) || !slices.Equal(g.Subscribe, []string{"news.>"}) || !slices.Equal(g.Publish, []string{"chat.7"}) || !slices.Equal(g.Deny, []string{"news.x"}) {
		t.Errorf("grants = %+v", g)
	}
}

func TestRefusedTickets(t *testing.T) {
	v := open(t)
	now := time.Now()
	base := func(f fields) fields {
		f["id"] = rand.Text()
		if _, ok := f["user"]; !ok {
			f["user"] = "42"
		}
		return f
	}
	for name, tt := range map[string]struct{ ticket, want string }{
		"good":              {issue(nil), "accepted"},
		"of a fallback":     {sign(oldSecret, base(fields{}), now), "accepted"},
		"just in time":      {sign(secret, base(fields{}), now.Add(-58*time.Second)), "accepted"},
		"old":               {sign(secret, base(fields{}), now.Add(-62*time.Second)), "expired"},
		"own age":           {sign(secret, base(fields{"age": 5}), now.Add(-10*time.Second)), "expired"},
		"own age too long":  {sign(secret, base(fields{"age": 3600}), now.Add(-62*time.Second)), "expired"},
		"future":            {sign(secret, base(fields{}), now.Add(20*time.Second)), "from_the_future"},
		"login over":        {issue(fields{"expires": now.Unix() - 1}), "expired"},
		"kind":              {issue(fields{"kind": "root"}), "malformed"},
		"user empty":        {issue(fields{"user": ""}), "malformed"},
		"user control":      {issue(fields{"user": "a\nb"}), "malformed"},
		"user null":         {sign(secret, fields{"user": nil, "id": "x"}, now), "malformed"},
		"id empty":          {sign(secret, fields{"user": "42", "id": ""}, now), "malformed"},
		"no id":             {sign(secret, fields{"user": "42"}, now), "not mine"},
		"session":           {issue(fields{"session": "abc"}), "malformed"},
		"groups":            {issue(fields{"groups": "Editors"}), "malformed"},
		"misspelt deny":     {issue(fields{"grants": fields{"denied": []string{"a"}}}), "malformed"},
		"deny that is none": {issue(fields{"grants": fields{"deny": []string{"a*"}}}), "malformed"},
		"attrs":             {issue(fields{"attrs": fields{"a": 1}}), "malformed"},
		"age":               {issue(fields{"age": -1}), "malformed"},
		"other secret":      {sign("other", base(fields{}), now), "bad_signature"},
		"no timestamp":      {strings.Replace(issue(nil), ":", "::", 1), "not mine"},
		"compressed":        {"." + issue(nil), "not mine"},
		"timestamp":         {signText(secret, base64.RawURLEncoding.EncodeToString([]byte(`{"user":"1","id":"2"}`)), time.Unix(0, 0)), "not mine"},
	} {
		if id, how := verify(t, v, tt.ticket); how != tt.want {
			t.Errorf("%s: %s %v, want %s", name, how, id, tt.want)
		}
	}
}

// restarted is v on a node that has just begun, the only one there is.
func restarted(v *Verifier) *Verifier {
	again := *v
	again.ledger = newCluster(1).ledgers[0]
	return &again
}

// A clock that is ahead makes a login wait, for a ticket used before it was signed could be used again by a node that starts in between.
func TestAClockThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := open(t)
		for ahead := time.Second; ahead <= leeway; ahead += time.Second {
			<-time.After(400 * time.Millisecond)
			ticket := sign(secret, fields{"user": "42", "id": rand.Text()}, time.Now().Add(ahead).Add(500*time.Millisecond).Truncate(time.Second))
			began, asked := time.Now(), 0
			id, err := authn.Await(t.Context(), func() (*authn.Identity, error) {
				asked++
				return v.Verify(t.Context(), byQuery(ticket))
			})
			if err != nil || id.ID != "42" || asked != 2 {
				t.Fatalf("%v ahead: %v, %v, asked %d times", ahead, id, err, asked)
			}
			if took := time.Since(began); took > leeway {
				t.Errorf("%v ahead took %v", ahead, took)
			}
			if _, how := verify(t, restarted(v), ticket); how != "ticket_too_early" { // at the very moment of its use
				t.Errorf("%v ahead, after a restart: %s, want ticket_too_early", ahead, how)
			}
		}
		if _, how := verify(t, v, sign(secret, fields{"user": "42", "id": "x"}, time.Now().Add(leeway+2*time.Second))); how != "from_the_future" {
			t.Errorf("further ahead: %s", how)
		}
	})
}

// A vector that Django 5.2 made: signing.dumps({"user": "42", "id": "n0"}, salt="gatecast.ticket") at 1700000000.
func TestTheSignatureIsDjangos(t *testing.T) {
	v := open(t)
	v.now = func() time.Time { return time.Unix(1700000030, 0) }
	v.ledger.since = time.Unix(1690000000, 0)
	const ticket = "eyJ1c2VyIjoiNDIiLCJpZCI6Im4wIn0:1r31eq:f8mYfonb9rD6MG6h8c08o6lroeDanMT68QCAMTfHxT4"
	if id, how := verify(t, v, ticket); how != "accepted" || id.ID != "42" {
		t.Errorf("%s %v", how, id)
	}
}

func TestInspectUsesNothingUp(t *testing.T) {
	v := open(t)
	ticket := issue(nil)
	for range 3 {
		if id, err := v.Inspect(t.Context(), byQuery(ticket)); err != nil || id.ID != "42" {
			t.Fatalf("Inspect = %v, %v", id, err)
		}
	}
	if _, how := verify(t, v, ticket); how != "accepted" {
		t.Errorf("after Inspect: %s", how)
	}
	if _, how := verify(t, v, ticket); how != "ticket_used" {
		t.Errorf("used twice: %s", how)
	}
}

// The chain keeps no answer to a ticket, shares none, and refuses one of a session that was logged out.
func TestTicketsInAChain(t *testing.T) {
	v := open(t)
	o := authn.DefaultOptions()
	o.Chain, o.Carriers = []string{"ticket"}, []string{"query", "header"}
	chain, err := authn.NewChain(o, map[string]authn.Verifier{"ticket": v}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	login := func(ticket string) error {
		_, err := chain.Authenticate(t.Context(), &authn.Request{Token: ticket})
		return err
	}
	ticket := issue(nil)
	if _, err := chain.Cached(&authn.Request{Token: ticket}); !errors.Is(err, authn.ErrNotCached) {
		t.Errorf("Cached = %v, want ErrNotCached", err)
	}
	for _, step := range chain.Explain(t.Context(), &authn.Request{Token: ticket}) {
		if step.Verifier == "ticket" && step.Outcome != authn.OutcomeAccepted {
			t.Errorf("Explain = %+v", step)
		}
	}
	if err := login(ticket); err != nil {
		t.Fatal(err)
	}
	var refused *authn.Refused
	if err := login(ticket); !errors.As(err, &refused) || refused.Reason != reasonUsed {
		t.Errorf("a second login = %v, want %s", err, reasonUsed)
	}
	if _, err := chain.Cached(&authn.Request{Token: "a.b.c"}); errors.Is(err, authn.ErrNotCached) {
		t.Error("a token that is no ticket goes to a worker")
	}
	hash := strings.Repeat("ab", 32)
	chain.RevokeSession(hash, time.Minute)
	if err := login(issue(fields{"session": hash})); !errors.As(err, &refused) || refused.Reason != "revoked" {
		t.Errorf("a ticket of a session that was logged out = %v, want revoked", err)
	}
}

// A ticket that a clock ahead has signed is young for longer than a logout is usually remembered.
func TestALogoutIsRememberedForAsLongAsATicketMayCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := open(t, func(o *Options) { o.MaxAge = longestAge })
		o := authn.DefaultOptions()
		o.Chain, o.Carriers = []string{"ticket"}, []string{"query"}
		chain, err := authn.NewChain(o, map[string]authn.Verifier{"ticket": v}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		hash := strings.Repeat("ab", 32)
		ticket := sign(secret, fields{"user": "42", "id": rand.Text(), "session": hash}, time.Now().Add(leeway))
		chain.RevokeSession(hash, 0)
		<-time.After(longestAge + leeway - time.Second)
		var refused *authn.Refused
		if _, err := chain.Authenticate(t.Context(), &authn.Request{Token: ticket}); !errors.As(err, &refused) || refused.Reason != "revoked" {
			t.Errorf("the ticket = %v, want revoked", err)
		}
	})
}

// A session of signed_cookies and a ticket have the same form. Each finds its verifier, whichever is asked first.
func TestTicketsBesideSignedCookies(t *testing.T) {
	sessions := signedCookies(t)
	for _, order := range [][]string{{"django", "ticket"}, {"ticket", "django"}} {
		o := authn.DefaultOptions()
		o.Chain, o.Carriers = order, []string{"cookie", "header", "message"}
		chain, err := authn.NewChain(o, map[string]authn.Verifier{"ticket": open(t), "django": sessions}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []authn.Request{{Authorization: "Bearer " + issue(nil)}, {Message: issue(nil)}} {
			if id, err := chain.Authenticate(t.Context(), &r); err != nil || id.Verifier != "ticket" {
				t.Errorf("%v: a ticket = %v, %v", order, id, err)
			}
		}
		for name, session := range map[string]fields{
			"usual":                      {"_auth_user_id": "42", "_auth_user_backend": "b", "_auth_user_hash": "h"},
			"with the words of a ticket": {"_auth_user_id": "42", "user": "ada", "id": "x"},
		} {
			for _, r := range []authn.Request{{Authorization: "Bearer " + sign("other", session, time.Now())}, {Cookie: "sessionid=" + sign("other", session, time.Now())}} {
				steps := chain.Explain(t.Context(), &r)
				if last := steps[len(steps)-1]; last.Verifier != "django" || last.Reason != "bad_signature" {
					t.Errorf("%v: a session %s = %+v, want that django refuses it", order, name, steps)
				}
			}
		}
	}
}

// signedCookies verifies the signed cookies of the same site, up to the database, which is not there.
func signedCookies(t testing.TB) *django.Verifier {
	t.Helper()
	site, keys := django.DefaultOptions(), django.DeriveKeys(secret)
	site.Engine, site.Database = django.EngineSignedCookies, "postgres://nobody@127.0.0.1:1/none"
	site.CookieKey, site.HashKey, site.TicketKey = keys.CookieKey, keys.HashKey, keys.TicketKey
	v, err := django.Open(t.Context(), site, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func TestWithoutANodeNothingIsUsed(t *testing.T) {
	site := django.DefaultOptions()
	site.TicketKey = django.DeriveKeys(secret).TicketKey
	for _, ledger := range []*Ledger{nil, NewLedger()} {
		v, err := Open(t.Context(), DefaultOptions(), site, ledger, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		var refused *authn.Refused
		if _, err := v.Verify(t.Context(), byQuery(issue(nil))); err == nil || errors.As(err, &refused) {
			t.Errorf("Verify = %v, want an error that is no answer", err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := DefaultOptions()
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Options){
		"key has 6 characters": func(o *Options) { o.Key = "secret" },
		"key has 64":           func(o *Options) { o.Key = strings.Repeat("ab", 32) },
		"lookup:":              func(o *Options) { o.Key, o.Lookup = django.DeriveKeys("x").TicketKey, true },
		"user_prefix belongs":  func(o *Options) { o.UserPrefix = "x-" },
		"user_prefix: want":    func(o *Options) { o.Key, o.UserPrefix = django.DeriveKeys("x").TicketKey, "\n" },
		"max_age is 0s":        func(o *Options) { o.MaxAge = 0 },
		"max_age is 11m0s":     func(o *Options) { o.MaxAge = 11 * time.Minute },
	} {
		o := DefaultOptions()
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "authn.ticket."+want) {
			t.Errorf("Validate = %v, want it to say %q", err, want)
		}
	}
	if _, err := Open(context.Background(), DefaultOptions(), django.DefaultOptions(), nil, nil); err == nil || !strings.Contains(err.Error(), "ticket_key is missing") {
		t.Errorf("Open without a key = %v", err)
	}
	o := DefaultOptions()
	o.Key, o.UserPrefix = django.DeriveKeys(secret).TicketKey, "php-"
	ledger := newCluster(1).ledgers[0]
	ledger.since = ledger.since.Add(-time.Hour)
	v, err := Open(context.Background(), o, django.DefaultOptions(), ledger, nil)
	if err != nil {
		t.Fatal(err)
	}
	if id, how := verify(t, v, issue(nil)); how != "accepted" || id.ID != "php-42" {
		t.Errorf("with a key of its own: %s %v", how, id)
	}
}

// FuzzRead gives a verifier what nobody signed, and what the key's owner signed without care. No token is a ticket and a signed cookie.
func FuzzRead(f *testing.F) {
	v, sessions := open(f), signedCookies(f)
	for _, s := range append(authntest.Hostile(), issue(nil), issue(fields{"groups": []string{"a"}})) {
		f.Add(s)
	}
	for _, s := range []string{`{"user":"1","id":"2"}`, `{"user":"1","id":"2","attrs":{"a":["b"]}}`, `{"user":"1","id":"2","age":1e300}`, `{"user":"1","id":"2","grants":{"join":["a"]}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, _, err := v.read(t.Context(), byQuery(s)); err == nil && !strings.Contains(s, ":") {
			t.Errorf("read(%q) = %+v", s, id)
		}
		signed := signText(secret, base64.RawURLEncoding.EncodeToString([]byte(s)), time.Now())
		for _, token := range []string{s, signed} {
			if _, session := sessions.SessionHash(byQuery(token)); session && v.OneTime(byQuery(token)) {
				t.Errorf("%q is a ticket and a session", token)
			}
		}
		if _, session := sessions.SessionHash(byQuery(signed)); s != "" && len(signed) <= 8192 && !session && !v.OneTime(byQuery(signed)) {
			t.Errorf("%q is neither a ticket nor a session", signed)
		}
		id, _, err := v.read(t.Context(), byQuery(signed))
		var refused *authn.Refused
		switch {
		case err == nil && (id.ID == "" || len(id.ID) > 128):
			t.Errorf("a ticket of %q is user %q", s, id.ID)
		case err != nil && !errors.As(err, &refused) && !errors.Is(err, authn.ErrNotMine):
			t.Errorf("a ticket of %q: %v", s, err)
		}
	})
}
