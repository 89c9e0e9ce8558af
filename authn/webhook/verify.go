package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/breaker"
)

// maxAnswer bounds what an answer may hold.
const maxAnswer = 64 << 10

// Verifier asks one application. All methods may be called concurrently.
type Verifier struct {
	opts    Options
	client  *http.Client
	slots   chan struct{} // capacity concurrency; never closed
	breaker *breaker.Breaker
	log     *slog.Logger
	now     func() time.Time
}

// Open checks o and reads its authorities. It asks nothing yet. Close it.
func Open(o Options, log *slog.Logger) (*Verifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		path := o.CA
		if !filepath.IsAbs(path) && o.BaseDir != "" {
			path = filepath.Join(o.BaseDir, path)
		}
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("authn.webhook.ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authn.webhook.ca: %s holds no certificate in PEM", path)
		}
	}
	v := &Verifier{
		opts: o, log: log, now: time.Now,
		slots: make(chan struct{}, o.Concurrency),
		client: &http.Client{
			Transport: &http.Transport{
				TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: o.Concurrency, IdleConnTimeout: time.Minute,
				MaxResponseHeaderBytes: 16 << 10, DisableCompression: true, // so that a small answer cannot be a large one
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	v.breaker = &breaker.Breaker{
		Name: "the application behind authn.webhook.url", Limit: o.Failures, Pause: o.OpenFor, Log: log, Now: func() time.Time { return v.now() },
	}
	return v, nil
}

// Close closes idle connections. No other call may follow.
func (v *Verifier) Close() error {
	v.client.CloseIdleConnections()
	return nil
}

// Ping implements authn.Pinger: it tells whether the application was found to fail.
func (v *Verifier) Ping(context.Context) error { return v.breaker.Check() }

// CacheKey implements authn.CacheKeyer: the whole question.
func (v *Verifier) CacheKey(c authn.Credential) (string, bool) { return v.ask(c) }

// Verify implements authn.Verifier.
func (v *Verifier) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	body, mine := v.ask(c)
	if !mine {
		return nil, authn.ErrNotMine
	}
	return v.post(ctx, body, false)
}

// post asks when there is a slot for it, unless the application is being left alone.
func (v *Verifier) post(ctx context.Context, body string, again bool) (*authn.Identity, error) {
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to ask the application: %w", context.Cause(ctx))
	}
	pass, err := v.breaker.Enter()
	if err != nil {
		return nil, err
	}
	if v.opts.Timeout > 0 { // of the application: what went before was our own queue
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, v.opts.Timeout, errTimeout)
		defer cancel()
	}
	how := breaker.Failed
	defer func() { v.breaker.Leave(pass, how) }()
	id, err := v.exchange(ctx, body, again)
	var refused *authn.Refused
	var odd statusError
	switch {
	case err == nil, errors.As(err, &refused), errors.Is(err, authn.ErrNoLogin), errors.As(err, &odd) && odd <= http.StatusInternalServerError:
		how = breaker.Answered
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTimeout):
		how = breaker.Unknown
	}
	if how == breaker.Failed || odd != 0 {
		v.log.Warn("ask the application who somebody is", "err", err)
	}
	return id, err
}

var errTimeout = errors.New("no answer within authn.webhook.timeout")

// exchange is one POST and its answer.
func (v *Verifier) exchange(ctx context.Context, body string, again bool) (*authn.Identity, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, v.opts.URL, strings.NewReader(body))
	if err != nil {
		return nil, errors.New("authn.webhook.url cannot be asked")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "gatecast")
	if v.opts.Secret != "" {
		r.Header.Set("Authorization", "Bearer "+v.opts.Secret)
	}
	if again {
		r.Header.Set("Gatecast-Revalidate", "true")
	}
	res, err := v.client.Do(r)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, fmt.Errorf("ask the application: %w", cause)
		}
		var inner *url.Error // it repeats the address
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, fmt.Errorf("ask the application: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil && context.Cause(ctx) != nil:
		return nil, fmt.Errorf("read the application's answer: %w", context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("read the application's answer: %w", err)
	case len(data) > maxAnswer:
		return nil, fmt.Errorf("the application's answer has more than %d bytes", maxAnswer)
	}
	switch res.StatusCode {
	case http.StatusOK:
		id, err := decode(data, v.opts.UserPrefix, v.now())
		if id != nil {
			id.Ref = authn.Secret(body)
		}
		return id, err
	case http.StatusUnauthorized:
		return nil, &authn.Refused{Code: authn.CodeUnauthorized, Reason: reasonRefused, Err: said(data)}
	case http.StatusForbidden:
		return nil, &authn.Refused{Code: authn.CodeForbidden, Reason: reasonForbidden, Err: said(data)}
	}
	return nil, statusError(res.StatusCode)
}

// statusError is a status that says nothing about who somebody is. Up to 500 it does not say either that the application fails: what a client sent may
// have made it answer so (500: a NUL that its database does not take), and no client may open the breaker for all. Above, it is whoever stands before it that
// cannot reach it.
type statusError int

func (e statusError) Error() string {
	if e >= 300 && e < 400 {
		return fmt.Sprintf("the application answers %d: redirects are not followed, set authn.webhook.url to where it leads", int(e))
	}
	return fmt.Sprintf("the application answers %d; it should be 200, 401 or 403", int(e))
}

// said is the message of a refusal, for the log; nil if there is none.
func said(body []byte) error {
	var m struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(bytes.TrimSpace(body), &m) != nil || m.Message == "" {
		return nil
	}
	if len(m.Message) > 200 {
		m.Message = m.Message[:200]
	}
	return errors.New(strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return -1
		}
		return r
	}, m.Message), ""))
}

// Revalidate implements authn.Revalidator: it asks again about each login, as many at once as concurrency allows.
func (v *Verifier) Revalidate(ctx context.Context, ids []*authn.Identity) []authn.Recheck {
	answers := make([]authn.Recheck, len(ids))
	next := make(chan int) // closed below
	var wg sync.WaitGroup
	for range min(v.opts.Concurrency, len(ids)) {
		wg.Go(func() { // ends when next is closed
			for i := range next {
				answers[i] = v.recheck(ctx, ids[i])
			}
		})
	}
	for i := range ids {
		next <- i
	}
	close(next)
	wg.Wait()
	return answers
}

func (v *Verifier) recheck(ctx context.Context, old *authn.Identity) authn.Recheck {
	if err := ctx.Err(); err != nil {
		return authn.Recheck{Err: err}
	}
	id, err := v.post(ctx, string(old.Ref), true)
	switch {
	case errors.Is(err, authn.ErrNoLogin):
		return authn.Recheck{Err: authn.Refuse(reasonNoLogin, nil)}
	case err != nil:
		return authn.Recheck{Err: err}
	case id.ID != old.ID:
		return authn.Recheck{Err: authn.Refuse(reasonOther, nil)}
	case same(old, id):
		return authn.Recheck{}
	}
	replaced := *id
	replaced.Verifier, replaced.Carrier = old.Verifier, old.Carrier
	return authn.Recheck{Identity: &replaced}
}
