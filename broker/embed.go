package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	clusterName   = "gatecast"
	accountName   = "GATECAST"
	readyWithin   = 10 * time.Second
	lameDuckGrace = time.Second // for the end of Drain
	lameDuck      = 2 * time.Second
)

// accounts keeps $SYS out of everybody's reach; only config text can make accounts.
const accounts = `
accounts { ` + accountName + ` { %s }, SYS {} }
system_account: SYS
`

// serverOptions are the embedded server's.
func (b *Broker) serverOptions(seeds []string) (*server.Options, error) {
	o := &server.Options{}
	jetstream := ""
	if b.o.JetStream.Enabled {
		jetstream = "jetstream: enabled"
	}
	if err := o.ProcessConfigString(fmt.Sprintf(accounts, jetstream)); err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	host, port, err := net.SplitHostPort(b.o.Listen)
	if err != nil {
		return nil, err
	}
	o.ServerName = b.o.Name
	o.Host, o.Port = host, serverPort(port)
	o.NoSigs = true
	o.NoLog = true
	o.MaxPayload = int32(b.o.MaxPayload)
	o.MaxPending = 256 << 20
	o.MaxConn = 65536
	o.MaxClosedClients = 1000
	o.MaxTracedMsgLen = 1
	o.PingInterval = 20 * time.Second
	o.MaxPingsOut = 2
	o.AuthTimeout = 3 // a native user's check takes 1.5 s at most
	o.NoFastProducerStall = true
	o.NoSublistCache = true
	o.LameDuckGracePeriod = lameDuckGrace
	o.LameDuckDuration = lameDuck
	o.CustomClientAuthentication = (*door)(b)
	if o.TLSConfig, err = b.o.TLS.server(); err != nil {
		return nil, err
	}
	if o.TLSConfig != nil {
		o.TLS, o.TLSTimeout = true, 5
	}
	if b.o.JetStream.Enabled {
		o.JetStream = true
		o.StoreDir = b.o.JetStream.StoreDir
		o.JetStreamMaxMemory = b.o.JetStream.Memory
		o.JetStreamMaxStore = b.o.JetStream.Disk
	}
	if b.o.Cluster.Listen == "" {
		return o, nil
	}
	if host, port, err = net.SplitHostPort(b.o.Cluster.Listen); err != nil {
		return nil, err
	}
	c := &o.Cluster
	c.Name = clusterName
	c.Host, c.Port = host, serverPort(port)
	c.Username, c.Password = routeUser, b.o.Cluster.Token
	c.AuthTimeout = 3
	c.ConnectRetries = 30 // of peers heard of by gossip; those of broker.cluster.routes are dialled for ever
	// A PONG waits behind the data of a busy route, so this is patient: a peer that died closes its end, and one that hangs
	// is noticed by its missing heartbeats.
	c.PingInterval, c.MaxPingsOut = 3*time.Second, 3
	c.WriteDeadline = 5 * time.Second
	// a queue group over routes would scatter one publisher's messages over nodes
	own := []string{b.sub.ingress + ">", b.sub.userIn + ">"}
	c.Permissions = &server.RoutePermissions{
		Import: &server.SubjectPermission{Deny: own},
		Export: &server.SubjectPermission{Deny: own},
	}
	if c.TLSConfig, err = b.o.TLS.routes(); err != nil {
		return nil, err
	}
	if c.TLSConfig != nil {
		c.TLSTimeout = 5
	} else if !isLoopback(host) {
		b.log.Warn("cluster routes are not encrypted: set broker.tls unless that network is private", "listen", b.o.Cluster.Listen)
	}
	o.Routes = b.routes.urls(seeds)
	return o, nil
}

// serverPort is a port of our config as nats-server's, where 0 means the default port and -1 any.
func serverPort(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		n, _ = net.LookupPort("tcp", s)
	}
	if n == 0 {
		return server.RANDOM_PORT
	}
	return n
}

// startServer starts the embedded server and returns when it accepts clients.
func (b *Broker) startServer() error {
	if b.o.JetStream.Enabled {
		lock, err := lockStore(b.o.JetStream.StoreDir)
		if err != nil {
			return err
		}
		b.storeLock = lock
	}
	limitMemory(b.log)
	var seeds []string
	if b.o.Cluster.Listen != "" {
		_, port, _ := net.SplitHostPort(b.o.Cluster.Listen)
		b.routes.port, _ = strconv.Atoi(port)
		seeds = b.routes.resolve(b.ctx)
		b.routes.last = seeds
	}
	o, err := b.serverOptions(seeds)
	if err != nil {
		return err
	}
	b.serverOpts = o.Clone() // nats-server changes the one it is given
	s, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	b.account, err = s.LookupAccount(accountName)
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	bridge := newServerLog(b.log.With("from", "nats"), b.o.Cluster.Token)
	s.SetLoggerV2(bridge, false, false, false)
	b.embedded = s
	s.Start()
	if !waitReady(s, bridge) {
		err := bridge.fatal()
		s.Shutdown()
		s.WaitForShutdown()
		b.embedded = nil
		if err == nil {
			err = fmt.Errorf("not ready within %s", readyWithin)
		}
		return explainStart(err, &b.o)
	}
	if a := s.ClusterAddr(); a != nil {
		b.routes.port = a.Port
	}
	return nil
}

// waitReady is ReadyForConnections that ends when the start has failed.
func waitReady(s *server.Server, bridge *serverLog) bool {
	for end := time.Now().Add(readyWithin); time.Now().Before(end); {
		if bridge.fatal() != nil {
			return false
		}
		if s.ReadyForConnections(50 * time.Millisecond) {
			return bridge.fatal() == nil
		}
	}
	return false
}

// explainStart says what to do about a start error.
func explainStart(err error, o *Options) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "address already in use"):
		key, addr := "broker.listen", o.Listen
		if o.Cluster.Listen != "" && strings.Contains(text, ":"+portOf(o.Cluster.Listen)) {
			key, addr = "broker.cluster.listen", o.Cluster.Listen
		}
		return fmt.Errorf("%s: %s is taken by another process: stop it, or choose another port (port 0 takes any free one): %w", key, addr, err)
	case strings.Contains(text, "cannot assign requested address"):
		return fmt.Errorf("broker.listen or broker.cluster.listen: not an address of this machine: %w", err)
	case strings.Contains(text, "permission denied"):
		return fmt.Errorf("broker.listen, broker.cluster.listen or broker.jetstream.store_dir: this user may not use it: %w", err)
	}
	return fmt.Errorf("embedded NATS: %w", err)
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// reloadRoutes gives the server new explicit routes. Nothing else changes; nats-server checks every client again, which door
// answers from memory.
func (b *Broker) reloadRoutes(addrs []string) error {
	o := b.serverOpts.Clone()
	o.Routes = b.routes.urls(addrs)
	b.reloading.Lock()
	defer b.reloading.Unlock()
	return b.embedded.ReloadOptions(o)
}

// lockStore takes the store directory for this process: nats-server lets two use one.
func lockStore(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("broker.jetstream.store_dir: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "gatecast.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("broker.jetstream.store_dir: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("broker.jetstream.store_dir: %s is in use by another process: stop it, or give this node a directory of its own", dir)
		}
		return nil, fmt.Errorf("broker.jetstream.store_dir: lock %s: %w", dir, err)
	}
	return f, nil
}

// serverLog hands nats-server's log to ours, without the cluster token, which it shows in routes' URLs. Its Fatalf must not exit:
// it is how every failed start is told.
type serverLog struct {
	log    *slog.Logger
	redact *strings.Replacer

	mu  sync.Mutex
	err error // the first Fatalf
}

func newServerLog(log *slog.Logger, secret string) *serverLog {
	var pairs []string
	if secret != "" {
		inURL := strings.TrimPrefix(url.UserPassword("", secret).String(), ":")
		for _, s := range []string{secret, inURL, url.QueryEscape(secret), url.PathEscape(secret)} {
			pairs = append(pairs, s, "[redacted]")
		}
	}
	return &serverLog{log: log, redact: strings.NewReplacer(pairs...)}
}

func (l *serverLog) text(format string, v []any) string {
	return l.redact.Replace(fmt.Sprintf(format, v...))
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text(format, v)
	if l.err == nil {
		l.err = errors.New(text)
	}
	l.log.Error(text)
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(l.text(format, v)) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Warn(l.text(format, v)) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Warn(l.text(format, v)) }
func (l *serverLog) Debugf(format string, v ...any)  { l.log.Debug(l.text(format, v)) }
func (l *serverLog) Tracef(format string, v ...any)  { l.log.Debug(l.text(format, v)) }
