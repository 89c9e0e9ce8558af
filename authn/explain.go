package authn

import (
	"context"
	"errors"
	"time"

	"github.com/gatecast/gatecast/authn/breaker"
)

// Step is one line of an explanation: what a verifier said to a carrier.
type Step struct {
	Carrier  Carrier
	Verifier string // "" where none was asked
	Outcome  Outcome
	Reason   string    // of a refusal; of OutcomeUnavailable "left_alone", or none
	Detail   string    // for people, without secrets
	Decides  bool      // this line is the answer
	Identity *Identity // of OutcomeAccepted
}

// Outcome is an answer in a word.
type Outcome string

// The outcomes.
const (
	OutcomeAccepted    Outcome = "accepted"
	OutcomeRefused     Outcome = "refused"
	OutcomeNoLogin     Outcome = "no_login"    // a session without a user
	OutcomeNotMine     Outcome = "not_mine"    // another kind of credential
	OutcomeAbsent      Outcome = "absent"      // nothing stands in this carrier
	OutcomeUnavailable Outcome = "unavailable" // the verifier cannot tell now
)

// Explain tells what each carrier and verifier says to r, asking them past the cache but not past tombstones,
// and using up no credential that is good for one login. The last
// step decides, as Authenticate would: if no verifier did, its Carrier and Verifier are empty.
func (c *Chain) Explain(ctx context.Context, r *Request) []Step { return c.explain(ctx, c.carriers, r) }

// ExplainToken is Explain for a token that came by a door without carriers, as for AuthenticateToken.
func (c *Chain) ExplainToken(ctx context.Context, token string) []Step {
	return c.explain(ctx, []Carrier{CarrierMessage}, &Request{Message: token})
}

func (c *Chain) explain(ctx context.Context, carriers []Carrier, r *Request) []Step {
	var steps []Step
	id, err := c.decide(carriers, r, func(l *link, cred Credential) (*Identity, error) {
		id, err := Await(ctx, func() (*Identity, error) { return l.inspect(ctx, c, cred) })
		if err == nil {
			id, err = complete(id, l, cred.Carrier)
		}
		if err == nil && c.hasTombstone(id) {
			return nil, errRevoked
		}
		if err == nil {
			id, err = c.withRows(ctx, id, true)
		}
		return id, err
	}, func(s Step) { steps = append(steps, s) })
	if n := len(steps); n > 0 && steps[n-1].Decides {
		return steps
	}
	last := stepOf("", "", id, err, false)
	last.Decides = true
	return append(steps, last)
}

func (c *Chain) hasTombstone(id *Identity) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.revoked(&watch{}, id, time.Now())
}

// stepOf makes a Step of a verifier's answer. A refusal that no verifier was asked for decides.
func stepOf(carrier Carrier, verifier string, id *Identity, err error, absent bool) Step {
	s := Step{Carrier: carrier, Verifier: verifier, Identity: id}
	s.Outcome, s.Reason = outcomeOf(err)
	switch {
	case err != nil:
		s.Identity = nil
		s.Detail = err.Error()
		s.Decides = verifier == ""
	case absent:
		s.Outcome = OutcomeAbsent
	}
	return s
}

// reasonLeftAlone tells logins that were sent away at once from those that waited in vain.
const reasonLeftAlone = "left_alone"

func outcomeOf(err error) (Outcome, string) {
	if err == nil {
		return OutcomeAccepted, ""
	}
	var refused *Refused
	switch {
	case errors.As(err, &refused):
		return OutcomeRefused, refused.Reason
	case errors.Is(err, ErrNotMine):
		return OutcomeNotMine, ""
	case errors.Is(err, ErrNoLogin), errors.Is(err, ErrLoginLater):
		return OutcomeNoLogin, ""
	case errors.Is(err, breaker.ErrOpen):
		return OutcomeUnavailable, reasonLeftAlone
	}
	return OutcomeUnavailable, ""
}
