package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/dev"
	"github.com/gatecast/gatecast/authn/django"
	"github.com/gatecast/gatecast/authn/header"
	"github.com/gatecast/gatecast/authn/jwt"
	"github.com/gatecast/gatecast/authn/mtls"
	"github.com/gatecast/gatecast/authn/ticket"
	"github.com/gatecast/gatecast/authn/token"
	"github.com/gatecast/gatecast/authn/webhook"
	"github.com/gatecast/gatecast/server/config"
)

// login is the authn chain of a configuration, with what its verifiers hold open.
type login struct {
	chain *authn.Chain
	rules *authn.Rules
	rows  *rows                    // that SQL rules ask for
	jwt   map[string]*jwt.Verifier // by name in the chain
	dev   *dev.Verifier            // nil unless in the chain
	open  []io.Closer

	ledger *ticket.Ledger // of one-time tickets, also when the chain has none: the other nodes ask
}

// openLogin makes the verifiers that authn.chain names and joins them. The caller must Close it.
func openLogin(ctx context.Context, s *config.Settings, log *slog.Logger) (*login, error) {
	l := &login{rows: &rows{}, jwt: map[string]*jwt.Verifier{}, ledger: ticket.NewLedger()}
	l.open = append(l.open, l.rows)
	verifiers := map[string]authn.Verifier{}
	for _, name := range s.Config.Authn.Chain {
		v, err := l.openVerifier(ctx, s, name, log)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("authn.chain: %q: %w", name, err), l.Close())
		}
		verifiers[name] = v
	}
	var err error
	if l.rules, err = authn.CompileRules(s.Config.Grants); err != nil {
		return nil, errors.Join(fmt.Errorf("grants: %w", err), l.Close())
	}
	use, err := l.rows.prepare(ctx, l.rules, &s.Config.Authn, log)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	use()
	if l.chain, err = authn.NewChain(s.Config.Authn.Options, verifiers, l.rules, log); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.chain.AskRows(l.rows)
	return l, nil
}

func (l *login) openVerifier(ctx context.Context, s *config.Settings, name string, log *slog.Logger) (authn.Verifier, error) {
	a := &s.Config.Authn
	if o, ok := a.Issuer(name); ok {
		return l.openJWT(ctx, o, name, log)
	}
	kind, site, _ := strings.Cut(name, ":")
	switch kind { // the chain was checked
	case config.VerifierDev:
		l.dev = dev.New()
		return l.dev, nil
	case "token":
		return l.openToken(ctx, a, site, log)
	case "webhook":
		v, err := webhook.Open(a.Webhook, log)
		if err == nil {
			l.open = append(l.open, v)
		}
		return v, err
	case "header":
		return header.New(a.Header)
	case "mtls":
		return mtls.New(a.MTLS)
	case "ticket":
		return l.openTicket(ctx, a, site, log)
	default:
		o, _ := a.Site(site)
		return l.openDjango(ctx, o, log)
	}
}

func (l *login) openToken(ctx context.Context, a *config.Authn, site string, log *slog.Logger) (authn.Verifier, error) {
	o := a.Token.Options
	if site != "" {
		o = a.Token.Sites[site]
	}
	users, _ := a.Site(site)
	v, err := token.Open(ctx, o, users, log)
	if err != nil {
		return nil, err
	}
	l.open = append(l.open, v)
	return v, nil
}

func (l *login) openJWT(ctx context.Context, o jwt.Options, name string, log *slog.Logger) (authn.Verifier, error) {
	v, err := jwt.Open(ctx, o, log)
	if err != nil {
		return nil, err
	}
	l.jwt[name] = v
	l.open = append(l.open, v)
	return v, nil
}

func (l *login) openTicket(ctx context.Context, a *config.Authn, site string, log *slog.Logger) (authn.Verifier, error) {
	o, _ := a.Tickets(site)
	keys, _ := a.Site(site)
	v, err := ticket.Open(ctx, o, keys, l.ledger, log)
	if err != nil {
		return nil, err
	}
	l.open = append(l.open, v)
	return v, nil
}

// prepareKeys reads the keys of the token verifiers again and returns what puts them to use. The chain stays as it is.
func (l *login) prepareKeys(ctx context.Context, a *config.Authn) (commit func(), err error) {
	var commits []func()
	for _, name := range slices.Sorted(maps.Keys(l.jwt)) {
		o, ok := a.Issuer(name)
		if !ok { // its section is gone: a change of the chain, which waits for a restart
			continue
		}
		put, err := l.jwt[name].Prepare(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		commits = append(commits, put)
	}
	return func() {
		for _, put := range commits {
			put()
		}
	}, nil
}

func (l *login) openDjango(ctx context.Context, o django.Options, log *slog.Logger) (authn.Verifier, error) {
	v, err := django.Open(ctx, o, log)
	if err != nil {
		return nil, err
	}
	l.open = append(l.open, v)
	return v, nil
}

// Close closes what the verifiers hold open.
func (l *login) Close() error {
	var errs []error
	for _, c := range l.open {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
