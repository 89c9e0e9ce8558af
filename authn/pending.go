package authn

import (
	"context"
	"errors"
)

// Pending is the answer of a Verifier that will know more soon, such as when the keys that it needs are being fetched: ask again when Until is over. Whoever
// asked can do something else meanwhile, so that a source that hangs holds up nobody but those who need it.
type Pending struct {
	// Until ends within seconds, whatever happens.
	Until context.Context
	// Err says for people what is waited for.
	Err error
}

func (p *Pending) Error() string { return p.Err.Error() }
func (p *Pending) Unwrap() error { return p.Err }

func isPending(err error) bool {
	var p *Pending
	return errors.As(err, &p)
}

// Await asks until the answer is not Pending any more, or ctx is done.
func Await(ctx context.Context, ask func() (*Identity, error)) (*Identity, error) {
	for {
		id, err := ask()
		var p *Pending
		if !errors.As(err, &p) {
			return id, err
		}
		select {
		case <-p.Until.Done():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
