package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/server"
	"github.com/gatecast/gatecast/server/admin"
	"github.com/gatecast/gatecast/server/config"
)

// gcPercent is how much garbage may lie beside what lives, instead of Go's 100, unless GOGC says otherwise. What lives has few pointers, so that
// collecting twice as often costs nothing that can be measured (ADR 0017); what a storm of handshakes leaves scattered is a third less.
const gcPercent = 50

// closeTimeout bounds what is left to do when the conns are gone.
const closeTimeout = 10 * time.Second

// serve runs a node until a signal or the API's drain ends it.
func serve(c *call) error {
	c.flags.config()
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	s, err := config.Load(c.flags.input())
	if err != nil {
		return err
	}
	log := newLogger(c.stderr, s.Config.Log)
	for _, w := range s.Warnings {
		log.Warn(w)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	d := &daemon{settings: s, log: log, hup: make(chan os.Signal, 1)}
	signal.Notify(d.hup, syscall.SIGHUP)
	defer signal.Stop(d.hup)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := d.open(ctx); err != nil {
		if ctx.Err() != nil {
			log.Info("told to stop before it was ready")
			err = nil
		}
		return errors.Join(err, d.close())
	}
	if d.login.dev != nil {
		d.greet(c.stdout)
	}
	return errors.Join(d.run(ctx, stop), d.close())
}

// daemon is a running node with its admin listener.
type daemon struct {
	log      *logger
	login    *login
	node     *server.Node
	admin    *admin.Server
	listener net.Listener   // the admin's; nil without one
	hup      chan os.Signal // SIGHUP; never closed

	mu       sync.Mutex       // one reload at a time
	settings *config.Settings // guarded by mu, once it runs
}

// open starts everything but accepts nothing yet. What it opened before an error is left to close.
func (d *daemon) open(ctx context.Context) (err error) {
	c := &d.settings.Config
	if c.Admin.Listen != "" {
		if d.listener, err = net.Listen("tcp", c.Admin.Listen); err != nil {
			return fmt.Errorf("admin.listen: %w; is another process on this port?", err)
		}
	}
	if d.login, err = openLogin(ctx, d.settings, d.log.Logger); err != nil {
		return err
	}
	d.node, err = server.Open(ctx, server.Config{
		Server: c.Server, Drain: c.Drain, Groups: c.Groups, Routes: c.Routes,
		Authn: c.Authn.Options, Broker: c.Broker, Chain: d.login.chain, Tickets: d.login.ledger,
		Static: d.login.pages(), Log: d.log.Logger, Version: versionText(),
	})
	if err != nil {
		return err
	}
	d.login.ledger.Join(d.node, d.login.chain.Revoked)
	d.admin, err = admin.New(c.Admin, admin.Deps{
		Node: d.node, Metrics: d.node.Metrics(), Log: d.log.Logger, Dev: d.settings.Input.Dev,
		Reload: func(context.Context) error { return d.reload() },
	})
	return err
}

// run serves until a signal, the API or an error ends it, then drains. stop gives signals back to the system: a second
// one ends the process.
func (d *daemon) run(ctx context.Context, stop context.CancelFunc) error {
	failed := make(chan error, 2) // never closed
	var tasks sync.WaitGroup
	defer tasks.Wait()
	if d.listener != nil {
		defer d.shutAdmin()
		tasks.Go(func() { failed <- d.admin.Serve(d.listener) }) // ends with shutAdmin
	}
	tasks.Go(func() { failed <- d.node.Run() }) // ends with the drain
	d.log.Info("serving", "listen", d.node.Addr().String(), "admin", d.adminAddr(), "version", versionText())

	for {
		select {
		case <-d.hup:
			if err := d.reload(); err != nil {
				d.log.Error("reload: nothing was changed", "err", err)
			}
		case err := <-failed:
			return d.leave(err)
		case <-ctx.Done():
			stop()
			return d.leave(nil)
		case <-d.node.Draining():
			return d.leave(nil)
		}
	}
}

// leave drains the node. cause is why, if not because it was asked to.
func (d *daemon) leave(cause error) error {
	d.mu.Lock()
	drain := d.settings.Config.Drain
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), drain.Delay+drain.Window+closeTimeout)
	defer cancel()
	if err := d.node.Leave(ctx); err != nil {
		d.log.Warn("drain was cut short", "err", err)
	}
	return cause
}

func (d *daemon) shutAdmin() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := d.admin.Shutdown(ctx); err != nil {
		d.log.Warn("close the admin listener", "err", err)
	}
}

// close releases what open took, in reverse.
func (d *daemon) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	if d.node != nil {
		errs = append(errs, d.node.Close(ctx))
	}
	if d.login != nil {
		errs = append(errs, d.login.Close())
	}
	if d.listener != nil {
		if err := d.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *daemon) adminAddr() string {
	if d.listener == nil {
		return ""
	}
	return d.listener.Addr().String()
}

// reload reads the configuration again and takes over what can change without closing a socket: all of it or nothing.
func (d *daemon) reload() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next, changes, err := d.settings.Reload()
	if err != nil {
		return err
	}
	c := &next.Config
	rules, err := authn.CompileRules(c.Grants)
	if err != nil {
		return fmt.Errorf("grants: %w", err)
	}
	useKeys, err := d.login.prepareKeys(context.Background(), &c.Authn)
	if err != nil {
		return err
	}
	useRows, err := d.login.rows.prepare(context.Background(), rules, &c.Authn, d.log.Logger)
	if err != nil {
		return err
	}
	if c.Server.TLS.Cert != "" {
		if err := d.node.SetCertificate(c.Server.TLS); err != nil {
			return err
		}
	}
	if err := d.node.SetOrigins(c.Server.Origins); err != nil {
		return err
	}
	if err := d.admin.SetKeys(c.Admin.Keys); err != nil {
		return err
	}
	useKeys()
	useRows()
	if !reflect.DeepEqual(c.Grants, d.settings.Config.Grants) { // it makes native users connect again
		d.node.SetRules(rules)
	}
	d.node.SetLimits(c.Server.Limits)
	d.log.apply(c.Log)
	d.settings = next
	for _, w := range next.Warnings {
		d.log.Warn(w)
	}
	level := slog.LevelInfo
	if len(changes.Restart) > 0 {
		level = slog.LevelWarn
	}
	d.log.Log(context.Background(), level, "reload: configuration read again", "applied", changes.Applied, "needs_restart", changes.Restart)
	return nil
}
