package jwt

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
)

// provider is an identity provider without a network.
type provider struct {
	mu      sync.Mutex // guards all below
	text    string
	err     error
	takes   time.Duration
	fetches int
}

func (p *provider) source() source {
	return source{where: "id.example.com/jwks", fetch: func(ctx context.Context) ([]byte, error) {
		p.mu.Lock()
		p.fetches++
		text, err, takes := p.text, p.err, p.takes
		p.mu.Unlock()
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return []byte(text), err
	}}
}

func (p *provider) serve(text string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text, p.err = text, err
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// withProvider is a Verifier whose keys come from p, and which waited for the first of them.
func withProvider(t *testing.T, p *provider) *Verifier {
	t.Helper()
	o := options()
	o.Secret, o.JWKS = "", "https://id.example.com/jwks"
	v := &Verifier{log: slog.New(slog.DiscardHandler), now: time.Now, grants: make(map[string]*grants)}
	r := &ring{opts: o, algorithms: []string{"RS256", "ES256", "EdDSA"}}
	v.replace(r, p.source())
	t.Cleanup(func() { v.Close() })
	r.remote.first(t.Context())
	if _, err := r.remote.current(); err != nil && p.err == nil {
		t.Fatal(err)
	}
	return v
}

func kid(name string) map[string]any { return map[string]any{"kid": name} }

// bubbled signs for an hour of the bubble's clock.
func bubbled(t *testing.T, alg string, private any, name string) string {
	return signAs(t, alg, private, kid(name), map[string]any{"exp": time.Now().Add(240 * time.Hour).Unix()})
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestAnUnknownKidIsLookedForOnce(t *testing.T) {
	first, both := jwks(t, jwkOf(t, p256(), kid("old"))), jwks(t, jwkOf(t, p256(), kid("old")), jwkOf(t, edKey(), kid("new")))
	synctest.Test(t, func(t *testing.T) {
		p := &provider{text: first, takes: 100 * time.Millisecond}
		v := withProvider(t, p)
		older, newer := bubbled(t, "ES256", p256(), "old"), bubbled(t, "EdDSA", edKey(), "new")
		if got := reasonOf(t, v, older); got != "" {
			t.Fatalf("the first key: %s", got)
		}
		// The set was fetched just now: made-up kids cost no fetch and no wait.
		began := time.Now()
		for range 100 {
			if got := reasonOf(t, v, newer); got != "unknown_key" {
				t.Fatalf("a kid that is nowhere: %q, want unknown_key", got)
			}
		}
		if n := p.count(); n != 1 || time.Since(began) != 0 {
			t.Errorf("%d fetches in %v, want 1 at once", n, time.Since(began))
		}
		pass(askInterval)
		p.serve(both, nil)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got := reasonOf(t, v, newer); got != "" {
					t.Errorf("a kid that is there now: %s", got)
				}
			})
		}
		wg.Wait()
		if n := p.count(); n != 2 {
			t.Errorf("%d fetches for 50 logins at once, want 2 in all", n)
		}
		if got := reasonOf(t, v, older); got != "" {
			t.Errorf("the first key after the fetch: %s", got)
		}
		pass(askInterval)
		if got := reasonOf(t, v, bubbled(t, "EdDSA", edKey(), "never")); got != "unknown_key" {
			t.Errorf("a made-up kid: %q", got)
		}
		if n := p.count(); n != 3 {
			t.Errorf("%d fetches, want 3", n)
		}
		// Another key's signature under a known kid is looked for nowhere else.
		pass(askInterval)
		if got := reasonOf(t, v, bubbled(t, "EdDSA", ed25519.NewKeyFromSeed(make([]byte, 32)), "new")); got != "bad_signature" || p.count() != 3 {
			t.Errorf("a forged signature: %q after %d fetches, want bad_signature after 3", got, p.count())
		}
	})
}

func TestKeysAreRefreshedAndOldOnesServeMeanwhile(t *testing.T) {
	one, two := jwks(t, jwkOf(t, p256(), kid("1"))), jwks(t, jwkOf(t, edKey(), kid("2")))
	synctest.Test(t, func(t *testing.T) {
		p := &provider{text: one}
		v := withProvider(t, p)
		byOne, byTwo := bubbled(t, "ES256", p256(), "1"), bubbled(t, "EdDSA", edKey(), "2")
		id, err := v.Verify(t.Context(), authntest.WithBearer(byOne))
		if err != nil {
			t.Fatal(err)
		}
		gone := func() bool {
			var refused *authn.Refused
			return errors.As(v.Revalidate(t.Context(), []*authn.Identity{id})[0].Err, &refused)
		}
		// The provider is down for an hour: what is known goes on, at once, and fetches slow down.
		p.serve("", errors.New("down"))
		pass(time.Hour)
		synctest.Wait()
		began := time.Now()
		if got := reasonOf(t, v, byOne); got != "" || time.Since(began) != 0 {
			t.Errorf("while the provider is down: %q after %v", got, time.Since(began))
		}
		if n := p.count(); n < 55 || n > 80 {
			t.Errorf("%d fetches in an hour of failures, want about one a minute", n)
		}
		if err := v.Ping(t.Context()); err != nil || gone() {
			t.Errorf("Ping = %v, gone %v, want ready with the keys there are", err, gone())
		}
		// A key that is not there cannot be called unknown now.
		if got := reasonOf(t, v, byTwo); !strings.Contains(got, "down") {
			t.Errorf("an unknown kid while the provider is down: %q, want unavailable", got)
		}
		// It comes back with another key. A login by the first lives on until the second fetch without it.
		p.serve(two, nil)
		pass(longestPause)
		synctest.Wait()
		if gone() {
			t.Error("one fetch without a key ends its logins; another machine of the provider may still have it")
		}
		if a, b := reasonOf(t, v, byOne), reasonOf(t, v, byTwo); a != "unknown_key" || b != "" { // the first asks for a fetch, perhaps
			t.Errorf("after the rotation: %q and %q, want unknown_key and accepted", a, b)
		}
		pass(5 * time.Minute)
		synctest.Wait()
		if !gone() {
			t.Error("the login by a key that is gone lives on")
		}
		// Down for longer than jwks_keep.
		p.serve("", errors.New("down again"))
		pass(25 * time.Hour)
		synctest.Wait()
		if got := reasonOf(t, v, byTwo); !strings.Contains(got, "jwks_keep") || !strings.Contains(got, "down again") {
			t.Errorf("with keys that are too old: %q", got)
		}
		if err := v.Ping(t.Context()); err == nil {
			t.Error("Ping finds keys that are too old good")
		}
		if err := v.Revalidate(t.Context(), []*authn.Identity{id})[0].Err; err == nil || gone() {
			t.Errorf("a sweep without keys = %v, want that it cannot tell", err)
		}
		p.serve(two, nil)
		pass(longestPause)
		synctest.Wait()
		if got := reasonOf(t, v, byTwo); got != "" || v.Ping(t.Context()) != nil {
			t.Errorf("back again: %q, %v", got, v.Ping(t.Context()))
		}
	})
}

func TestBeforeTheFirstKeys(t *testing.T) {
	set := jwks(t, jwkOf(t, p256(), kid("1")))
	synctest.Test(t, func(t *testing.T) {
		p := &provider{err: errors.New("connection refused"), takes: time.Second}
		v := withProvider(t, p)
		token := bubbled(t, "ES256", p256(), "1")
		if got := reasonOf(t, v, token); !strings.Contains(got, "connection refused") {
			t.Errorf("Verify = %q, want unavailable", got)
		}
		if err := v.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "no keys from id.example.com/jwks yet: connection refused") {
			t.Errorf("Ping = %v", err)
		}
		p.serve("not JSON", nil)
		pass(4 * time.Second)
		synctest.Wait()
		if err := v.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "no JSON Web Key Set") {
			t.Errorf("Ping = %v", err)
		}
		p.serve(set, nil)
		pass(10 * time.Second)
		synctest.Wait()
		if err := v.Ping(t.Context()); err != nil || reasonOf(t, v, token) != "" {
			t.Errorf("Ping = %v, Verify = %q", err, reasonOf(t, v, token))
		}
		// Who waits for a fetch gives up with ctx, and when the keys are replaced.
		pass(askInterval)
		p.mu.Lock()
		p.takes = time.Minute
		p.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.await(ctx, bubbled(t, "ES256", p256(), "2")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Verify = %v, want that it gave up", err)
		}
		failed := make(chan error)
		go func() { // ends with the Close below
			_, err := v.await(t.Context(), bubbled(t, "ES256", p256(), "2"))
			failed <- err
		}()
		synctest.Wait()
		v.Close()
		if err := <-failed; !errors.Is(err, errClosed) {
			t.Errorf("Verify = %v, want %v", err, errClosed)
		}
	})
}

// TestAFetchThatHangsIsGivenUp: one fetch ends after fetchTimeout, whatever the provider does.
func TestAFetchThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{takes: time.Hour, err: errors.New("slow")}
		began := time.Now()
		v := withProvider(t, p)
		if took := time.Since(began); took != fetchTimeout {
			t.Errorf("the first fetch took %v, want %v", took, fetchTimeout)
		}
		if err := v.Ping(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ping = %v", err)
		}
	})
}

// TestNobodyWaitsForAFetchThatHangs: tokens with made-up kids get an answer at once whatever the provider does, and so does everybody else. The first
// logins after a rotation, however many, come through once the fetch is done.
func TestNobodyWaitsForAFetchThatHangs(t *testing.T) {
	old, rotated := jwks(t, jwkOf(t, p256(), kid("old"))), jwks(t, jwkOf(t, edKey(), kid("new")))
	synctest.Test(t, func(t *testing.T) {
		p := &provider{text: old}
		v := withProvider(t, p)
		pass(askInterval)
		p.mu.Lock()
		p.text, p.takes = rotated, 4*time.Second
		p.mu.Unlock()
		verify := func(token string) error {
			_, err := v.Verify(t.Context(), authntest.WithBearer(token))
			return err
		}
		var pending *authn.Pending
		began := time.Now()
		known, unknown := bubbled(t, "ES256", p256(), "old"), bubbled(t, "EdDSA", edKey(), "new")
		for range 1000 {
			if err := verify(unknown); !errors.As(err, &pending) {
				t.Fatalf("Verify = %v, want pending", err)
			}
			if err := verify(known); err != nil {
				t.Fatalf("a key that is there: %v", err)
			}
		}
		if took := time.Since(began); took != 0 || pending.Until.Err() != nil {
			t.Errorf("2,000 answers took %v, the fetch is over: %v", took, pending.Until.Err())
		}
		<-pending.Until.Done()
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("pending for %v, want until the fetch was done", took)
		}
		for range 1000 {
			if err := verify(unknown); err != nil {
				t.Fatalf("after the fetch: %v", err)
			}
		}
		// It hangs for good: pending ends all the same, and is not begun again at once.
		pass(askInterval)
		p.mu.Lock()
		p.takes = time.Hour
		p.mu.Unlock()
		never := bubbled(t, "EdDSA", edKey(), "never")
		if err := verify(never); !errors.As(err, &pending) {
			t.Fatalf("Verify = %v, want pending", err)
		}
		began = time.Now()
		<-pending.Until.Done()
		if took := time.Since(began); took != fetchTimeout {
			t.Errorf("pending for %v, want %v", took, fetchTimeout)
		}
		if err := verify(never); err == nil || errors.As(err, &pending) {
			t.Errorf("after a fetch that failed: %v, want that it cannot tell", err)
		}
	})
}

// TestAReloadKeepsKeysOfTheSameAddress: logins go on while the keys are fetched again.
func TestAReloadKeepsKeysOfTheSameAddress(t *testing.T) {
	set := jwks(t, jwkOf(t, p256(), kid("1")))
	synctest.Test(t, func(t *testing.T) {
		p := &provider{text: set}
		v := withProvider(t, p)
		token := bubbled(t, "ES256", p256(), "1")
		p.serve("", errors.New("down"))
		same := *v.ring.Load()
		v.replace(&same, p.source())
		if got := reasonOf(t, v, token); got != "" {
			t.Errorf("the same address: %s", got)
		}
		other := same
		other.opts.JWKS = "https://elsewhere.example.com/jwks"
		v.replace(&other, p.source())
		synctest.Wait()
		if got := reasonOf(t, v, token); !strings.Contains(got, "down") {
			t.Errorf("another address: %q, want that its keys cannot be had", got)
		}
	})
}

// TestFetching speaks HTTP: what a provider may answer, and what is never asked.
func TestFetching(t *testing.T) {
	set := jwks(t, jwkOf(t, rsaKey(), kid("1")))
	var elsewhere atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		fmt.Fprint(w, jwks(t, jwkOf(t, edKey(), kid("evil"))))
	}))
	defer evil.Close()
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			fmt.Fprint(w, set)
		case "/redirect":
			http.Redirect(w, r, evil.URL, http.StatusFound)
		case "/long":
			fmt.Fprint(w, set+strings.Repeat(" ", maxDocument))
		case "/headers":
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
			fmt.Fprint(w, set)
		case "/html":
			fmt.Fprint(w, "<html>")
		default:
			http.Error(w, "no", http.StatusForbidden)
		}
	}))
	defer idp.Close()
	for path, want := range map[string]string{
		"/good": "", "/redirect": "redirect (302), which is not followed", "/long": "longer than 262144 bytes",
		"/headers": "header", "/html": "no JSON Web Key Set", "/secret?token=hush": "status 403",
	} {
		o := options()
		o.Secret, o.JWKS = "", idp.URL+path
		err := verifier(t, o).Ping(t.Context())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Ping = %v, want %q", path, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("the error shows the query: %v", err)
		}
	}
	// A token that names where its key is: nobody goes there.
	o := options()
	o.Secret, o.JWKS = "", idp.URL+"/good"
	v := verifier(t, o)
	own := jwkOf(t, edKey(), kid("evil"))
	for name, header := range map[string]map[string]any{
		"jku": {"kid": "evil", "jku": evil.URL}, "x5u": {"kid": "evil", "x5u": evil.URL}, "jwk": {"kid": "evil", "jwk": own}, "x5c": {"kid": "evil", "x5c": []string{strings.TrimSpace(certificate(t, edKey()))}},
		"kid as an address": {"kid": evil.URL}, "kid as a path": {"kid": "../../dev/null"},
	} {
		if got := reasonOf(t, v, signAs(t, "EdDSA", edKey(), header, nil)); got != "unknown_key" {
			t.Errorf("%s: %q, want unknown_key", name, got)
		}
	}
	if got := reasonOf(t, v, signAs(t, "RS256", rsaKey(), map[string]any{"kid": "1", "jku": evil.URL}, nil)); got != "" {
		t.Errorf("a good token with jku: %s; its own key is in the set", got)
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests to where tokens and redirects point", n)
	}
	gone := options()
	gone.Secret, gone.JWKS = "", "http://127.0.0.1:1/jwks?token=hush"
	if err := verifier(t, gone).Ping(t.Context()); err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "127.0.0.1:1/jwks") {
		t.Errorf("Ping of nobody = %v", err)
	}
}

// TestFetchingByTLS: a certificate of the system's authorities or of jwks_ca, and no other.
func TestFetchingByTLS(t *testing.T) {
	idp := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, jwks(t, jwkOf(t, rsaKey(), nil)))
	}))
	idp.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	idp.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	idp.StartTLS()
	defer idp.Close()
	o := options()
	o.Secret, o.JWKS = "", idp.URL
	if err := verifier(t, o).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Ping of an unknown authority = %v", err)
	}
	o.JWKSCA = writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: idp.Certificate().Raw})))
	if err := verifier(t, o).Ping(t.Context()); err != nil {
		t.Errorf("Ping with jwks_ca = %v", err)
	}
}

// TestTokensWithoutKid are tried with every key that fits, and a rotation behind them is found too.
func TestTokensWithoutKid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{text: jwks(t, jwkOf(t, p256(), kid("1")), jwkOf(t, rsaKey(), kid("2")))}
		v := withProvider(t, p)
		claims := map[string]any{"exp": time.Now().Add(time.Hour).Unix()}
		if got := reasonOf(t, v, signAs(t, "RS256", rsaKey(), nil, claims)); got != "" {
			t.Errorf("without kid: %s", got)
		}
		next := signAs(t, "RS256", otherRSA(), nil, claims)
		if got := reasonOf(t, v, next); got != "bad_signature" {
			t.Errorf("by another key: %q", got)
		}
		p.serve(jwks(t, jwkOf(t, otherRSA(), kid("3"))), nil)
		pass(askInterval)
		if got := reasonOf(t, v, next); got != "" {
			t.Errorf("after the rotation: %s", got)
		}
	})
}
