package django

import (
	"context"
	"log/slog"

	"github.com/gatecast/gatecast/authn"
)

// Verifier answers for the logins of one Django site. All methods may be called concurrently.
type Verifier struct{}

// Open checks o, connects to the site's database and finds out which of its tables there are.
func Open(ctx context.Context, o Options, log *slog.Logger) (*Verifier, error) { return nil, o.Validate() }

// Close closes the connections to the database.
func (v *Verifier) Close() error { return nil }

// Verify implements authn.Verifier.
func (v *Verifier) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	return nil, authn.ErrNotMine
}

// Revalidate implements authn.Revalidator.
func (v *Verifier) Revalidate(ctx context.Context, ids []*authn.Identity) []authn.Recheck { return nil }

// Ping implements authn.Pinger.
func (v *Verifier) Ping(ctx context.Context) error { return nil }
