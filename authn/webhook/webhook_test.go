package webhook

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
	"github.com/gatecast/gatecast/authn/breaker"
)

const hookSecret = "0123456789abcdef-of-the-hook"

// app is an application that knows a token and a session.
type app struct {
	*httptest.Server
	asked atomic.Int32
	mu    sync.Mutex
	last  question
	head  http.Header
	reply func(w http.ResponseWriter, q *question) // nil = it knows ada
}

const adaToken, adaSession = "opaque-token-of-ada", "session-of-ada-0123456789"

func newApp(t testing.TB) *app {
	t.Helper()
	a := &app{}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *app) serve(w http.ResponseWriter, r *http.Request) {
	a.asked.Add(1)
	var q question
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Method != http.MethodPost {
		http.Error(w, "bad question", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	a.last, a.head = q, r.Header
	reply := a.reply
	a.mu.Unlock()
	switch {
	case reply != nil:
		reply(w, &q)
	case q.Token == adaToken || q.Cookies["sessionid"] == adaSession:
		fmt.Fprint(w, `{"user":"ada","groups":["Editors"],"more":1}`)
	default:
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"message":"I do not know this one"}`)
	}
}

func (a *app) answer(status int, body string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reply = func(w http.ResponseWriter, _ *question) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func (a *app) open(t testing.TB, change ...func(*Options)) *Verifier {
	t.Helper()
	o := DefaultOptions()
	o.URL, o.Secret, o.Timeout = a.URL, hookSecret, 5*time.Second
	for _, c := range change {
		c(&o)
	}
	v, err := Open(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func TestConformance(t *testing.T) {
	authntest.Run(t, func(t *testing.T) authntest.Harness {
		a := newApp(t)
		return authntest.Harness{
			Verifier: a.open(t),
			Good:     []authntest.Good{{Credential: authntest.WithBearer(adaToken), ID: "ada"}, {Credential: authntest.WithCookie("sessionid", adaSession), ID: "ada"}},
			Bad:      map[string]authn.Credential{"unknown": authntest.WithBearer("unknown-token"), "unknown session": authntest.WithCookie("sessionid", "unknown")},
			Secrets:  []string{hookSecret},
			Blocks:   true,
			Greedy:   true,
		}
	})
}

// TestQuestion: the application is told what it needs, and nothing that is not on a list.
func TestQuestion(t *testing.T) {
	a := newApp(t)
	v := a.open(t, func(o *Options) {
		o.Cookies, o.Headers = []string{"sessionid", "tenant"}, []string{"X-Tenant", "X-Absent"}
	})
	o := authn.DefaultOptions()
	o.Chain, o.Carriers, o.TokenHeaders = []string{"webhook"}, []string{"cookie", "header", "message"}, []string{"X-Session-Token"}
	chain, err := authn.NewChain(o, map[string]authn.Verifier{"webhook": v}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	headers := http.Header{"X-Tenant": {"a", "b"}, "X-Private": {"hidden"}}
	r := &authn.Request{
		Cookie: "sessionid=" + adaSession + "; analytics=1; tenant=\"a\\054b\"", Path: "/ws/chat/7/", Host: "example.com", Origin: "https://example.com", HasOrigin: true,
		Remote: netip.MustParseAddr("192.0.2.7"), Headers: headers,
	}
	if id, err := chain.Authenticate(t.Context(), r); err != nil || id.ID != "ada" || !id.Ambient() {
		t.Fatalf("Authenticate = %+v, %v", id, err)
	}
	want := question{Carrier: "cookie", Cookies: map[string]string{"sessionid": adaSession, "tenant": "a,b"}, Headers: map[string]string{"X-Tenant": "a, b"},
		Path: "/ws/chat/7/", Host: "example.com", Origin: "https://example.com", Remote: "192.0.2.7"}
	if got, wanted := fmt.Sprint(a.last), fmt.Sprint(want); got != wanted {
		t.Errorf("the application was asked %s, want %s", got, wanted)
	}
	if got := a.head.Get("Authorization"); got != "Bearer "+hookSecret {
		t.Errorf("Authorization = %q", got)
	}
	asked := a.asked.Load()
	other := *r
	other.Cookie = strings.Replace(r.Cookie, "analytics=1", "analytics=2", 1)
	if _, err := chain.Authenticate(t.Context(), &other); err != nil || a.asked.Load() != asked {
		t.Errorf("a cookie that is not sent asks again: %v", err)
	}
	other.Path = "/ws/chat/8/"
	if _, err := chain.Authenticate(t.Context(), &other); err != nil || a.asked.Load() != asked+1 {
		t.Errorf("another path does not ask again: %v", err)
	}
	byHeader := &authn.Request{Headers: http.Header{"X-Session-Token": {adaToken}}}
	if id, err := chain.Authenticate(t.Context(), byHeader); err != nil || id.Ambient() || a.last.Token != adaToken || a.last.Carrier != "header" {
		t.Errorf("by token_headers: %+v, %v, asked %+v", id, err, a.last)
	}
	// Cookies of nobody's are no credential, and nobody is asked.
	asked = a.asked.Load()
	var refused *authn.Refused
	if _, err := chain.Authenticate(t.Context(), &authn.Request{Cookie: "analytics=1"}); !errors.Is(err, authn.ErrLoginLater) || a.asked.Load() != asked {
		t.Errorf("without a cookie of the list: %v", err)
	}
	if _, err := chain.AuthenticateToken(t.Context(), "nobody's"); !errors.As(err, &refused) || refused.Reason != reasonRefused || !strings.Contains(err.Error(), "I do not know this one") {
		t.Errorf("AuthenticateToken = %v, want %s with the application's message", err, reasonRefused)
	}
}

func TestAnswers(t *testing.T) {
	a := newApp(t)
	v := a.open(t, func(o *Options) { o.Failures, o.UserPrefix = 0, "x-" })
	ask := func() (*authn.Identity, string) {
		id, err := v.Verify(t.Context(), authntest.WithBearer(adaToken))
		var refused *authn.Refused
		switch {
		case err == nil:
			return id, "accepted"
		case errors.As(err, &refused):
			return nil, refused.Code + " " + refused.Reason
		case errors.Is(err, authn.ErrNoLogin):
			return nil, "no login"
		}
		return nil, "unavailable"
	}
	later := time.Now().Add(time.Hour).Unix()
	hash := strings.Repeat("ab", 32)
	a.answer(200, fmt.Sprintf(`{"user":42,"kind":"staff","groups":["a"],"perms":["p.q"],"attrs":{"one":"1","two":["1","2"]},"session":%q,"expires":%d,"grants":{"subscribe":["a.>"]}}`, hash, later))
	id, how := ask()
	if how != "accepted" || id.ID != "x-42" || id.Kind != authn.KindStaff || id.SessionHash != hash || id.Expires.Unix() != later || !slices.Equal(id.Perms, []string{"p.q"}) ||
		!slices.Equal(id.Attrs["one"], []string{"1"}) || !slices.Equal(id.Attrs["two"], []string{"1", "2"}) || id.Claimed == nil || !slices.Equal(id.Claimed.Subscribe, []string{"a.>"}) {
		t.Errorf("%s %+v", how, id)
	}
	for body, want := range map[string]string{
		`{"user":null}`: "no login", `{}`: "no login", `{"user":""}`: "no login", `{"user":"a","expires":1}`: "unauthorized expired",
		``: "unavailable", `[]`: "unavailable", `{"user":1.5}`: "unavailable", `{"user":["a"]}`: "unavailable", `{"user":"a","kind":"root"}`: "unavailable",
		`{"user":"a\n"}`: "unavailable", `{"user":"a","session":"x"}`: "unavailable", `{"user":"a","expires":-1}`: "unavailable", `{"user":"a","groups":"b"}`: "unavailable",
		`{"user":"` + strings.Repeat("a", 200) + `"}`: "unavailable", `{"user":"a","x":"` + strings.Repeat("a", maxAnswer) + `"}`: "unavailable", `<html>`: "unavailable",
		`{"user":"a","grants":{"denied":["x"]}}`: "unavailable", `{"user":"a","grants":{"deny":["x*"]}}`: "unavailable", `{"user":"a","grants":["x"]}`: "unavailable",
	} {
		a.answer(200, body)
		if id, how := ask(); how != want {
			t.Errorf("200 %.60s: %s %v, want %s", body, how, id, want)
		}
	}
	for status, want := range map[int]string{401: "unauthorized webhook_refused", 403: "forbidden forbidden", 204: "unavailable", 302: "unavailable", 307: "unavailable", 404: "unavailable", 429: "unavailable", 500: "unavailable", 503: "unavailable"} {
		a.answer(status, `{"user":"ada"}`)
		if id, how := ask(); how != want {
			t.Errorf("%d: %s %v, want %s", status, how, id, want)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := newApp(t)
	a := newApp(t)
	a.reply = func(w http.ResponseWriter, _ *question) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	_, err := a.open(t).Verify(t.Context(), authntest.WithBearer(adaToken))
	if err == nil || !strings.Contains(err.Error(), "redirects are not followed") || elsewhere.asked.Load() != 0 {
		t.Errorf("Verify = %v, and the other was asked %d times", err, elsewhere.asked.Load())
	}
}

func TestTimeoutAndGivingUp(t *testing.T) {
	a := newApp(t)
	hang := make(chan struct{})
	a.reply = func(http.ResponseWriter, *question) { <-hang }
	defer close(hang)
	v := a.open(t, func(o *Options) { o.Timeout, o.Failures = 50*time.Millisecond, 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(ctx, authntest.WithBearer(adaToken)); !errors.Is(err, context.Canceled) || v.Ping(t.Context()) != nil {
		t.Errorf("a caller who gives up = %v, and that is no failure of the application: %v", err, v.Ping(t.Context()))
	}
	if _, err := v.Verify(t.Context(), authntest.WithBearer(adaToken)); !errors.Is(err, errTimeout) || strings.Contains(err.Error(), a.URL) {
		t.Errorf("Verify = %v, want errTimeout without the address", err)
	}
	if v.Ping(t.Context()) == nil {
		t.Error("Ping after the failure = nil")
	}
}

func TestTheBreaker(t *testing.T) {
	a := newApp(t)
	v := a.open(t, func(o *Options) { o.Failures, o.OpenFor = 3, time.Minute })
	now := time.Now()
	v.now = func() time.Time { return now }
	ask := func() error {
		_, err := v.Verify(t.Context(), authntest.WithBearer(adaToken))
		return err
	}
	a.answer(503, "")
	for range 2 {
		ask()
	}
	a.answer(401, "") // a refusal is an answer
	ask()
	a.answer(503, "")
	for i := range 3 {
		if err := ask(); err == nil || errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("question %d = %v", i, err)
		}
	}
	asked := a.asked.Load()
	if err := ask(); !errors.Is(err, breaker.ErrOpen) || a.asked.Load() != asked {
		t.Errorf("behind an open breaker = %v, asked %d times", err, a.asked.Load()-asked)
	}
	if v.Ping(t.Context()) == nil {
		t.Error("ready behind an open breaker")
	}
	now = now.Add(time.Minute)
	if err := v.Ping(t.Context()); err != nil { // else nobody would come to probe
		t.Errorf("after the pause: %v", err)
	}
	if err := ask(); err == nil || errors.Is(err, breaker.ErrOpen) || a.asked.Load() != asked+1 {
		t.Errorf("the probe = %v, asked %d times, want once", err, a.asked.Load()-asked)
	}
	if err := ask(); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("behind a probe that failed = %v", err)
	}
	now = now.Add(time.Minute)
	a.mu.Lock()
	a.reply = nil
	a.mu.Unlock()
	for range 2 {
		if err := ask(); err != nil {
			t.Errorf("when it answers again = %v", err)
		}
	}
	if err := v.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// What a client sends may make an application answer anything; only one that fails is left alone.
func TestNoClientOpensTheBreaker(t *testing.T) {
	a := newApp(t)
	v := a.open(t, func(o *Options) { o.Failures, o.OpenFor = 2, time.Minute })
	for _, status := range []int{400, 404, 413, 422, 302, 500, 500, 500} {
		a.answer(status, "")
		if _, err := v.Verify(t.Context(), authntest.WithBearer(adaToken)); err == nil || errors.Is(err, breaker.ErrOpen) {
			t.Errorf("after %d: %v, want an error that names the status", status, err)
		}
	}
	if err := v.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	a := newApp(t)
	var now, most atomic.Int32
	a.reply = func(w http.ResponseWriter, _ *question) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		defer now.Add(-1)
		fmt.Fprint(w, `{"user":"ada"}`)
	}
	v := a.open(t, func(o *Options) { o.Concurrency = 3 })
	var ids []*authn.Identity
	for i := range 60 {
		ids = append(ids, &authn.Identity{ID: "ada", Kind: authn.KindUser, Ref: authn.Secret(fmt.Sprintf(`{"token":"%d"}`, i))})
	}
	for _, r := range v.Revalidate(t.Context(), ids) {
		if r.Err != nil || r.Identity != nil {
			t.Errorf("%+v, want nothing changed", r)
		}
	}
	if most.Load() > 3 {
		t.Errorf("%d questions at once, want 3 at most", most.Load())
	}
}

func TestASweepAsksAgain(t *testing.T) {
	a := newApp(t)
	v := a.open(t)
	id, err := v.Verify(t.Context(), authntest.WithBearer(adaToken))
	if err != nil {
		t.Fatal(err)
	}
	id.Verifier, id.Carrier = "webhook", authn.CarrierHeader // as the chain does
	for _, tt := range []struct {
		status     int
		body, want string
	}{
		{200, `{"user":"ada","groups":["Editors"]}`, "same"},
		{200, `{"user":"ada","groups":["Staff"]}`, "changed"},
		{200, `{"user":"ada","groups":["Editors"],"grants":{"deny":["x"]}}`, "changed"},
		{200, `{"user":"eve"}`, reasonOther}, {200, `{}`, reasonNoLogin}, {401, ``, reasonRefused}, {500, ``, "unsure"},
	} {
		a.answer(tt.status, tt.body)
		r := v.Revalidate(t.Context(), []*authn.Identity{id})[0]
		var refused *authn.Refused
		got := "same"
		switch {
		case errors.As(r.Err, &refused):
			got = refused.Reason
		case r.Err != nil:
			got = "unsure"
		case r.Identity != nil:
			got = "changed"
			if r.Identity.Verifier != "webhook" || r.Identity.Ref != id.Ref || r.Identity.Carrier != id.Carrier {
				t.Errorf("%s loses what the chain put in: %+v", tt.body, r.Identity)
			}
		}
		if got != tt.want {
			t.Errorf("%d %s: %s, want %s", tt.status, tt.body, got, tt.want)
		}
	}
	if a.head.Get("Gatecast-Revalidate") != "true" || a.last.Token != adaToken {
		t.Errorf("asked again with %+v", a.last)
	}
}

func TestTLS(t *testing.T) {
	a := &app{}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.Config.ErrorLog = nil
	a.StartTLS()
	t.Cleanup(a.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.open(t, func(o *Options) { o.CA, o.BaseDir = "ca.pem", filepath.Dir(ca) }).Verify(t.Context(), authntest.WithBearer(adaToken)); err != nil {
		t.Errorf("with its authority: %v", err)
	}
	if _, err := a.open(t).Verify(t.Context(), authntest.WithBearer(adaToken)); err == nil {
		t.Error("a certificate of nobody's is believed")
	}
	for _, path := range []string{"/no/such/file", os.Args[0]} {
		o := DefaultOptions()
		o.URL, o.CA = a.URL, path
		if _, err := Open(o, nil); err == nil || !strings.Contains(err.Error(), "authn.webhook.ca") {
			t.Errorf("Open with ca = %s: %v", path, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := DefaultOptions()
	good.URL = "https://example.com/gatecast"
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Options){
		"url is no address":         func(o *Options) { o.URL = "example.com" },
		"url holds a user":          func(o *Options) { o.URL = "https://u:p@example.com" },
		"url has a part behind #":   func(o *Options) { o.URL = "https://example.com/#a" },
		"secret has 7 bytes":        func(o *Options) { o.Secret = "hunter2" },
		"secret has a space":        func(o *Options) { o.Secret = "a secret with spaces in it" },
		`cookies has "a=b"`:         func(o *Options) { o.Cookies = []string{"a=b"} },
		`headers has "a b"`:         func(o *Options) { o.Headers = []string{"a b"} },
		`headers has "cookie"`:      func(o *Options) { o.Headers = []string{"cookie"} },
		"timeout is negative":       func(o *Options) { o.Timeout = -1 },
		"concurrency is 0":          func(o *Options) { o.Concurrency = 0 },
		"failures is negative":      func(o *Options) { o.Failures = -1 },
		"open_for is 0s":            func(o *Options) { o.OpenFor = 0 },
		"user_prefix: want at most": func(o *Options) { o.UserPrefix = strings.Repeat("a", 65) },
	} {
		o := good
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "authn.webhook."+want) {
			t.Errorf("Validate = %v, want it to say %q", err, want)
		}
		if err := o.Validate(); err != nil && (strings.Contains(err.Error(), "u:p") || o.Secret != "" && strings.Contains(err.Error(), o.Secret)) {
			t.Errorf("Validate shows a secret: %v", err)
		}
	}
}

// What the application answers is foreign too.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"user":"a"}`, `{"user":1}`, `{"user":null}`, `{"user":"a","attrs":{"b":["c"]},"expires":1e10,"grants":{"join":["x"]}}`, `{"user":"a","grants":{"deny":["*","a.>"],"publish":[]}}`, `[]`, ``, `{"user":1e400}`} {
		f.Add([]byte(s))
	}
	now := time.Unix(1700000000, 0)
	f.Fuzz(func(t *testing.T, body []byte) {
		id, err := decode(body, "", now)
		if (id == nil) != (err != nil) {
			t.Fatalf("decode(%q) = %v, %v", body, id, err)
		}
		if err == nil && (id.ID == "" || len(id.ID) > 128 || !id.Expires.IsZero() && !id.Expires.After(now) || !same(id, id)) {
			t.Fatalf("decode(%q) = %+v", body, id)
		}
		_ = said(body)
	})
}
