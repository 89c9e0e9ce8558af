package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	callTimeout  = 10 * time.Second // one API call; a durable send may wait out a stream's election
	writeTimeout = callTimeout + 5*time.Second
)

// Deps is what the caller joins to the API. Node is required.
type Deps struct {
	Node    Node
	Metrics []Metric                        // the node's table; see [Metric]
	Reload  func(ctx context.Context) error // POST reload: its error says why nothing changed; nil = answered with unavailable
	Dev     bool                            // -dev: without keys the API is open to programs on this machine
	Log     *slog.Logger                    // nil = discard
}

// Server is the admin listener of one node. Its methods may be called concurrently.
type Server struct {
	// static
	deps    Deps
	log     *slog.Logger
	body    int64
	metrics http.Handler
	http    *http.Server

	keys atomic.Pointer[keyring]
}

// New checks the options and the metric table and returns a server that does not listen yet.
func New(o Options, d Deps) (*Server, error) {
	if d.Node == nil {
		return nil, errors.New("admin: Deps.Node is required")
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	reg, err := newRegistry(d.Metrics)
	if err != nil {
		return nil, fmt.Errorf("build metric table: %w", err)
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		deps:    d,
		log:     d.Log,
		body:    o.BodyBytes,
		metrics: promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(d.Log.Handler(), slog.LevelError)}),
	}
	s.keys.Store(newKeyring(o.Keys))
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30*time.Second + writeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(d.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// SetKeys replaces the keys, for a reload. Requests that passed already go on.
func (s *Server) SetKeys(keys []Key) error {
	if err := validateKeys(keys); err != nil {
		return err
	}
	s.keys.Store(newKeyring(keys))
	return nil
}

// Handler returns the whole admin listener as an http.Handler, for tests.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Serve answers requests on ln until Shutdown or Close; then it returns nil.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin listener: %w", err)
	}
	return nil
}

// Shutdown stops accepting, waits for running requests until ctx ends, then cuts what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("admin requests were still running: %w", err), s.http.Close())
	}
	return nil
}
