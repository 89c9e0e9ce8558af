package authn

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Chain decides which credential of a request counts and asks its verifier. All methods may be called concurrently.
type Chain struct{}

// NewChain makes the chain of o.Chain from verifiers by name. rules may be nil: own user group only.
func NewChain(o Options, verifiers map[string]Verifier, rules *Rules, log *slog.Logger) (*Chain, error) {
	return nil, errors.New("stub")
}

// Authenticate decides who r is. See DESIGN "Which credential decides".
//
//	(*Identity, nil)      accepted, or anonymous (ID "") if that is allowed
//	nil, ErrLoginLater    no credential and the message carrier is on: upgrade, then wait for the auth op
//	nil, *Refused         refused
//	nil, other error      a verifier is unavailable
func (c *Chain) Authenticate(ctx context.Context, r *Request) (*Identity, error) { return nil, nil }

// Grants compiles what id may hear and say on the conn.
func (c *Chain) Grants(id *Identity, conn string) (*Grants, error) { return nil, nil }

// SetRules replaces the rules for later logins.
func (c *Chain) SetRules(rules *Rules) {}

// RevokeSession ends a session by its hash.
func (c *Chain) RevokeSession(sessionHash string, ttl time.Duration) {}

// ForgetUser drops cached and in-flight results of the user.
func (c *Chain) ForgetUser(id string) {}

// Revalidate looks at many logins again.
func (c *Chain) Revalidate(ctx context.Context, ids []*Identity) []Recheck { return nil }

// Ready asks every verifier that is a Pinger.
func (c *Chain) Ready(ctx context.Context) error { return nil }

// Explain tells what each carrier and verifier says about r, past the cache.
func (c *Chain) Explain(ctx context.Context, r *Request) []Step { return nil }

// Step is one line of an explanation.
type Step struct {
	Carrier  Carrier
	Verifier string // "" where no verifier was asked
	Outcome  Outcome
	Reason   string // of a refusal
	Detail   string // for people, without secrets
	Decides  bool
	Identity *Identity // of OutcomeAccepted
}

// Outcome is a verifier's answer in a word.
type Outcome string

// The outcomes.
const (
	OutcomeAccepted    Outcome = "accepted"
	OutcomeRefused     Outcome = "refused"
	OutcomeNoLogin     Outcome = "no_login"
	OutcomeNotMine     Outcome = "not_mine"
	OutcomeAbsent      Outcome = "absent" // nothing stands in this carrier
	OutcomeUnavailable Outcome = "unavailable"
)

// Stats is a snapshot for metrics.
type Stats struct {
	CacheHits, CacheMisses, CacheShared uint64 // Shared: waited for another's lookup of the same credential
	CacheEntries, Tombstones            int
	Revoked                             uint64 // logins refused by a tombstone
	Answers                             []Answer
}

// Answer counts how often a verifier gave an answer, cached ones included.
type Answer struct {
	Verifier string
	Outcome  Outcome
	Reason   string // of refusals
	Count    uint64
}

// Stats counts since start.
func (c *Chain) Stats() Stats { return Stats{} }
