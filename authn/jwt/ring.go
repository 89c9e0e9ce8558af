package jwt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django"
)

// Verifier answers for the tokens of one issuer. All methods may be called concurrently; without users none does I/O. A token whose key is not there is pending
// while jwks is fetched.
type Verifier struct {
	log  *slog.Logger
	now  func() time.Time
	ring atomic.Pointer[ring] // replaced by a reload

	mu     sync.Mutex
	grants map[string]*grants       // by the claim's text: most users of a site have the same; guarded by mu
	sites  map[string]*django.Users // by name, see [Verifier.site]; guarded by mu
}

// ring is the keys with the options they came with. It is not changed after it was made.
type ring struct {
	opts       Options
	algorithms []string      // that a token may have
	fixed      []key         // of secret and public_key
	remote     *remote       // nil without jwks
	users      *django.Users // nil: tokens say everything themselves
}

// Open makes a Verifier of o. With jwks it waits a moment for the first keys; without them, or with a database that does not answer yet, it starts all the same
// and says so. The caller must Close it.
func Open(ctx context.Context, o Options, log *slog.Logger) (*Verifier, error) {
	v := &Verifier{log: log, now: time.Now, grants: make(map[string]*grants), sites: make(map[string]*django.Users)}
	commit, err := v.Prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	commit()
	if remote := v.ring.Load().remote; remote != nil {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		remote.first(ctx) // the remote logs why it failed, Ping tells
	}
	return v, nil
}

// Prepare reads the keys of o and returns what puts them to use, which cannot fail and must not be called concurrently. Logins that are
// open stay, but for those by a key that is gone: the next sweep ends them.
func (v *Verifier) Prepare(ctx context.Context, o Options) (commit func(), err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &ring{opts: o}
	if o.Secret != "" {
		k, err := newKey("", "", []byte(o.Secret))
		if err != nil {
			return nil, fmt.Errorf("authn.jwt.secret: %w", err)
		}
		r.fixed = append(r.fixed, k)
	}
	public, err := o.publicKeys()
	if err != nil {
		return nil, fmt.Errorf("authn.jwt.public_key: %w", err)
	}
	r.fixed = append(r.fixed, public...)
	for _, alg := range algorithms {
		usable := o.JWKS != "" && !strings.HasPrefix(alg, "HS") || slices.ContainsFunc(r.fixed, func(k key) bool { return fits(alg, k.public) })
		if usable && (len(o.Algorithms) == 0 || slices.Contains(o.Algorithms, alg)) {
			r.algorithms = append(r.algorithms, alg)
		}
	}
	var from source
	if o.JWKS != "" {
		if from, err = o.source(); err != nil {
			return nil, fmt.Errorf("authn.jwt.%w", err)
		}
	}
	if r.users, err = v.site(ctx, &o); err != nil { // last: it stays open
		return nil, fmt.Errorf("authn.jwt.users: %w", err)
	}
	return func() { v.replace(r, from) }, nil
}

func (v *Verifier) replace(r *ring, from source) {
	if r.opts.JWKS != "" {
		var old *remote
		if before := v.ring.Load(); before != nil && before.opts.JWKS == r.opts.JWKS {
			old = before.remote
		}
		r.remote = startRemote(from, &r.opts, old, v.log)
	}
	old := v.ring.Swap(r)
	if old != nil && old.remote != nil {
		old.remote.close()
	}
}

// Close ends the fetching of keys and closes the connections to databases. No other call may follow.
func (v *Verifier) Close() error {
	if remote := v.ring.Load().remote; remote != nil {
		remote.close()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for _, users := range v.sites {
		errs = append(errs, users.Close())
	}
	return errors.Join(errs...)
}

// Ping implements authn.Pinger: without any key of jwks, or the users it is to look up, nobody can log in.
func (v *Verifier) Ping(ctx context.Context) error {
	r := v.ring.Load()
	if r.remote != nil {
		if _, err := r.remote.current(); err != nil {
			return err
		}
	}
	if r.users != nil {
		return r.users.Ping(ctx)
	}
	return nil
}

// wanted lists the algorithms for people.
func (r *ring) wanted() string {
	if len(r.algorithms) == 1 {
		return r.algorithms[0]
	}
	last := len(r.algorithms) - 1
	return strings.Join(r.algorithms[:last], ", ") + " or " + r.algorithms[last]
}

// find finds the key that signed a token, by verifies.
func (r *ring) find(alg, kid string, verifies func(*key) bool) (*key, error) {
	found, _ := candidates(r.fixed, alg, kid)
	if k := signer(found, verifies); k != nil {
		return k, nil
	}
	if r.remote == nil || strings.HasPrefix(alg, "HS") {
		return nil, badSignature
	}
	tried := len(found) > 0
	set, err := r.remote.current()
	if err == nil {
		found, named := candidates(set.keys, alg, kid)
		if k := signer(found, verifies); k != nil {
			return k, nil
		}
		if named {
			return nil, badSignature
		}
		tried = tried || len(found) > 0
	}
	if set, err = r.remote.newer(set); err != nil {
		return nil, err
	}
	if set != nil {
		found, _ := candidates(set.keys, alg, kid)
		if k := signer(found, verifies); k != nil {
			return k, nil
		}
		tried = tried || len(found) > 0
	}
	if tried {
		return nil, badSignature
	}
	if kid == "" {
		return nil, authn.Refuse(reasonUnknownKey, fmt.Errorf("no key of jwks is for %s", alg))
	}
	return nil, authn.Refuse(reasonUnknownKey, fmt.Errorf("no key of jwks is for %s and has the kid %.40q", alg, kid))
}

func signer(keys []*key, verifies func(*key) bool) *key {
	if i := slices.IndexFunc(keys, verifies); i >= 0 {
		return keys[i]
	}
	return nil
}

var badSignature = authn.Refuse(reasonBadSignature, errors.New("the token was signed with another key than those there are, or changed"))

// inUse tells whether the key with this mark is still there.
func (r *ring) inUse(mark authn.Secret) error {
	if hasMark(r.fixed, mark) {
		return nil
	}
	if r.remote != nil {
		if known, err := r.remote.knows(mark); known || err != nil {
			return err
		}
	}
	return authn.Refuse(reasonKeyGone, errors.New("the key that signed this token is no longer in use"))
}
