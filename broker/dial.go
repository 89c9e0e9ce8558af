package broker

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nkeys"
)

const dialWithin = 3 * time.Second

// serverInfo is what we read of INFO.
type serverInfo struct {
	ServerID     string   `json:"server_id"`
	ServerName   string   `json:"server_name"`
	ClientID     uint64   `json:"client_id"`
	MaxPayload   int64    `json:"max_payload"`
	TLSRequired  bool     `json:"tls_required"`
	TLSAvailable bool     `json:"tls_available"`
	Headers      bool     `json:"headers"`
	Nonce        string   `json:"nonce"`
	ConnectURLs  []string `json:"connect_urls"`
}

func parseInfo(b []byte) (*serverInfo, error) {
	var i serverInfo
	if err := json.Unmarshal(b, &i); err != nil {
		return nil, fmt.Errorf("%w: INFO: %w", errProtocol, err)
	}
	return &i, nil
}

// connectLine is the body of CONNECT.
type connectLine struct {
	Verbose      bool   `json:"verbose"`
	Pedantic     bool   `json:"pedantic"`
	Protocol     int    `json:"protocol"`
	Lang         string `json:"lang"`
	Version      string `json:"version"`
	Name         string `json:"name"`
	Echo         bool   `json:"echo"`
	Headers      bool   `json:"headers"`
	NoResponders bool   `json:"no_responders"`
	TLSRequired  bool   `json:"tls_required"`
	Token        string `json:"auth_token,omitempty"`
	User         string `json:"user,omitempty"`
	Pass         string `json:"pass,omitempty"`
	JWT          string `json:"jwt,omitempty"`
	Sig          string `json:"sig,omitempty"`
}

// refusedError is a server's no, which waiting does not change.
type refusedError struct{ reason string }

func (e *refusedError) Error() string { return e.reason }

// handshake reads INFO, turns to TLS if asked, logs in, and returns when the server took the login.
func handshake(ctx context.Context, conn net.Conn, hello connectLine, tlsConfig *tls.Config, sign func(*connectLine, *serverInfo) error) (*reader, *serverInfo, error) {
	deadline, ok := ctx.Deadline()
	if !ok || time.Until(deadline) > 2*dialWithin {
		deadline = time.Now().Add(2 * dialWithin)
	}
	conn.SetDeadline(deadline)
	r := newReader(conn)
	var f frame
	if err := r.next(&f); err != nil {
		return nil, nil, fmt.Errorf("read INFO: %w", err)
	}
	if f.op == opErr {
		return nil, nil, fmt.Errorf("nats: %s", f.body)
	}
	if f.op != opInfo {
		return nil, nil, fmt.Errorf("%w: no INFO", errProtocol)
	}
	info, err := parseInfo(f.body)
	if err != nil {
		return nil, nil, err
	}
	if !info.Headers {
		return nil, nil, &refusedError{"that NATS server has headers switched off; Gatecast needs them"}
	}
	if tlsConfig != nil {
		t := tls.Client(conn, tlsConfig)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, nil, fmt.Errorf("TLS: %w", err)
		}
		hello.TLSRequired = true
		conn = t
		r = newReader(conn)
	} else if info.TLSRequired && conn.LocalAddr().Network() != "pipe" {
		return nil, nil, &refusedError{"that NATS server requires TLS; use tls:// in broker.url"}
	}
	if sign != nil {
		if err := sign(&hello, info); err != nil {
			return nil, nil, err
		}
	}
	line, err := json.Marshal(hello)
	if err != nil {
		return nil, nil, err
	}
	out := append(append([]byte("CONNECT "), line...), "\r\nPING\r\n"...)
	if _, err := conn.Write(out); err != nil {
		return nil, nil, fmt.Errorf("send CONNECT: %w", err)
	}
	for {
		if err := r.next(&f); err != nil {
			return nil, nil, fmt.Errorf("wait for the login: %w", err)
		}
		switch f.op {
		case opPong:
			conn.SetDeadline(time.Time{})
			return r, info, nil
		case opErr:
			return nil, nil, &refusedError{fmt.Sprintf("NATS refused the login: %s", f.body)}
		case opPing:
			if _, err := conn.Write([]byte("PONG\r\n")); err != nil {
				return nil, nil, err
			}
		}
	}
}

func (b *Broker) hello(name string) connectLine {
	return connectLine{
		Protocol: 1, Lang: "gatecast", Version: fmt.Sprint(ProtocolVersion), Name: "gatecast " + b.o.Name + " " + name,
		Echo:    name != "relay", // what the relay publishes this node has had already
		Headers: true, NoResponders: true,
	}
}

// dialPipe connects to the embedded server without a socket.
func (b *Broker) dialPipe(name string) func(context.Context) (*reader, *serverInfo, error) {
	return func(ctx context.Context) (*reader, *serverInfo, error) {
		conn, err := b.embedded.InProcessConn()
		if err != nil {
			return nil, nil, err
		}
		hello := b.hello(name)
		hello.Token = b.nodeToken
		r, info, err := handshake(ctx, conn, hello, nil, nil)
		if err != nil {
			conn.Close()
			return nil, nil, err
		}
		return r, info, nil
	}
}

// pool is the external cluster's servers: those of broker.url, and those they told of.
type pool struct {
	o      *Options
	secure bool
	tls    *tls.Config

	mu    sync.Mutex
	hosts []string
	told  map[string]bool // hosts that are not from broker.url
}

func newPool(o *Options) (*pool, error) {
	p := &pool{o: o, told: map[string]bool{}}
	for _, s := range strings.Split(o.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil {
			return nil, err
		}
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), "4222")
		}
		p.hosts = append(p.hosts, host)
		p.secure = p.secure || u.Scheme == "tls"
	}
	if p.secure || o.TLS.CA != "" || o.TLS.Cert != "" {
		c, err := o.TLS.client()
		if err != nil {
			return nil, err
		}
		p.tls, p.secure = c, true
	}
	return p, nil
}

func (p *pool) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	hosts := append([]string(nil), p.hosts...)
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	return hosts
}

func (p *pool) learn(urls []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.hosts[:0]
	for _, h := range p.hosts {
		if !p.told[h] {
			kept = append(kept, h)
		}
	}
	p.hosts = kept
	clear(p.told)
	for _, u := range urls {
		known := false
		for _, h := range p.hosts {
			known = known || h == u
		}
		if !known {
			p.hosts = append(p.hosts, u)
			p.told[u] = true
		}
	}
}

// dialPool tries every server once, in random order.
func (b *Broker) dialPool(name string, p *pool) func(context.Context) (*reader, *serverInfo, error) {
	return func(ctx context.Context) (*reader, *serverInfo, error) {
		var errs []error
		for _, host := range p.list() {
			r, info, err := p.dial(ctx, host, b.hello(name))
			if err == nil {
				p.learn(info.ConnectURLs)
				return r, info, nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", host, err))
			if ctx.Err() != nil {
				break
			}
		}
		return nil, nil, errors.Join(errs...)
	}
}

func (p *pool) dial(ctx context.Context, host string, hello connectLine) (*reader, *serverInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialWithin)
	defer cancel()
	d := net.Dialer{Timeout: dialWithin}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	hello.Token, hello.User, hello.Pass = p.o.Token, p.o.User, p.o.Password
	config := p.tls
	if config != nil {
		config = config.Clone()
		config.ServerName = p.serverName(host)
	}
	r, info, err := handshake(ctx, conn, hello, config, p.sign)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return r, info, nil
}

// serverName is whose certificate host must show. Servers tell of each other by address, which certificates seldom name: those are
// held to the first name in broker.url.
func (p *pool) serverName(host string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, _, _ := net.SplitHostPort(host)
	if !p.told[host] || net.ParseIP(name) == nil {
		return name
	}
	for _, h := range p.hosts {
		if configured, _, _ := net.SplitHostPort(h); !p.told[h] && net.ParseIP(configured) == nil {
			return configured
		}
	}
	return name
}

// sign answers the server's nonce with the key of broker.creds_file, read anew so that rotation needs no restart.
func (p *pool) sign(hello *connectLine, info *serverInfo) error {
	if p.o.CredsFile == "" {
		return nil
	}
	text, err := os.ReadFile(p.o.CredsFile)
	if err != nil {
		return &refusedError{"broker.creds_file: " + err.Error()}
	}
	defer clear(text)
	jwt, err := nkeys.ParseDecoratedJWT(text)
	if err != nil {
		return &refusedError{"broker.creds_file: " + err.Error()}
	}
	key, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return &refusedError{"broker.creds_file: " + err.Error()}
	}
	defer key.Wipe()
	sig, err := key.Sign([]byte(info.Nonce))
	if err != nil {
		return err
	}
	hello.JWT, hello.Sig = jwt, base64.RawURLEncoding.EncodeToString(sig)
	return nil
}
