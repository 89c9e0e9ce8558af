package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django"
	"github.com/gatecast/gatecast/server/config"
)

// rows are the databases that the SQL rules of [[grants]] are run in. It is an authn.RowSource.
type rows struct {
	mu    sync.RWMutex
	sites map[string]*django.Rows // by name; guarded by mu
}

// prepare opens the databases that rules ask and are not open, and has their queries tried. What cannot work is an error; then the rows that are there go on.
// They do so until use is called, when the rules are taken over.
func (r *rows) prepare(ctx context.Context, rules *authn.Rules, a *config.Authn, log *slog.Logger) (use func(), err error) {
	bySite := map[string][]*authn.Query{}
	for _, q := range rules.Queries() {
		bySite[q.Site()] = append(bySite[q.Site()], q)
	}
	for name, queries := range bySite {
		site, err := r.open(ctx, name, a, log)
		if err == nil {
			err = site.Try(ctx, queries...)
		}
		if err != nil {
			return nil, fmt.Errorf("an SQL rule of [[grants]]: %w", err)
		}
	}
	return func() {
		r.mu.RLock()
		defer r.mu.RUnlock()
		for name, site := range r.sites {
			site.Use(bySite[name]...)
		}
	}, nil
}

// open gives the database of a site. One that no rule uses in the end stays open, and is asked nothing.
func (r *rows) open(ctx context.Context, name string, a *config.Authn, log *slog.Logger) (*django.Rows, error) {
	r.mu.RLock()
	site := r.sites[name]
	r.mu.RUnlock()
	if site != nil {
		return site, nil
	}
	o, ok := a.Site(name)
	if !ok {
		return nil, fmt.Errorf("site %q has no section [authn.django.sites.%s]; a new one needs a restart", name, name)
	}
	site, err := django.OpenRows(ctx, o, log)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sites == nil {
		r.sites = map[string]*django.Rows{}
	}
	r.sites[name] = site
	return site, nil
}

// Rows implements authn.RowSource.
func (r *rows) Rows(ctx context.Context, q *authn.Query, user string) ([]string, error) {
	r.mu.RLock()
	site := r.sites[q.Site()]
	r.mu.RUnlock()
	if site == nil {
		return nil, fmt.Errorf("the database of site %q is not open", q.Site())
	}
	return site.Rows(ctx, q, user)
}

// Ping implements authn.Pinger.
func (r *rows) Ping(ctx context.Context) error {
	r.mu.RLock()
	sites := slices.Collect(maps.Values(r.sites))
	r.mu.RUnlock() // a database that hangs must not hold up a reload, and by it every login
	var errs []error
	for _, site := range sites {
		errs = append(errs, site.Ping(ctx))
	}
	return errors.Join(errs...)
}

// Close closes the databases.
func (r *rows) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, site := range r.sites {
		errs = append(errs, site.Close())
	}
	return errors.Join(errs...)
}
