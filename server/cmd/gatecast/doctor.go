package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/server/config"
)

// probeTimeout bounds each look at something outside the process.
const probeTimeout = 3 * time.Second

// doctor checks the configuration against this machine: what is about to listen, what is about to be asked.
func doctor(c *call) error {
	c.flags.config()
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	x := &examination{call: c}
	s, err := config.Load(c.flags.input())
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			x.bad("config", "%s", line)
		}
		return x.verdict()
	}
	from := s.Input.Path
	if from == "" {
		from = "defaults and environment; there is no config.toml here"
	}
	x.good("config", "%s", from)
	for _, w := range s.Warnings {
		x.doubt("config", "%s", w)
	}
	x.ports(s)
	x.certificate("server.tls", s.Config.Server.TLS.Cert, s.Config.Server.TLS.Key)
	x.certificate("broker.tls", s.Config.Broker.TLS.Cert, s.Config.Broker.TLS.Key)
	x.broker(s)
	x.verifiers(s)
	x.browsers(s)
	x.descriptors(s)
	return x.verdict()
}

// examination collects and prints findings.
type examination struct {
	*call
	doubts, faults int
}

func (x *examination) good(part, format string, args ...any) {
	fmt.Fprintf(x.stdout, "ok    %-8s "+format+"\n", append([]any{part}, args...)...)
}

func (x *examination) doubt(part, format string, args ...any) {
	x.doubts++
	fmt.Fprintf(x.stdout, "look  %-8s "+format+"\n", append([]any{part}, args...)...)
}

func (x *examination) bad(part, format string, args ...any) {
	x.faults++
	fmt.Fprintf(x.stdout, "BAD   %-8s "+format+"\n", append([]any{part}, args...)...)
}

func (x *examination) verdict() error {
	fmt.Fprintf(x.stdout, "%d bad, %d to look at\n", x.faults, x.doubts)
	if x.faults > 0 {
		return errSaid
	}
	return nil
}

// ports tries to listen where the node would.
func (x *examination) ports(s *config.Settings) {
	if running(s.Config.Admin.Listen) {
		x.doubt("ports", "a node already runs on admin.listen = %q, so its ports are not tried", s.Config.Admin.Listen)
		return
	}
	for _, l := range s.Listeners() {
		if l.Address == "" {
			continue
		}
		ln, err := net.Listen("tcp", l.Address)
		if err != nil {
			x.bad("ports", "%s: %v; stop what listens there or choose another port", l.Key, err)
			continue
		}
		ln.Close()
		x.good("ports", "%s %s is free", l.Key, l.Address)
	}
}

// running reports whether a node answers on the admin address.
func running(admin string) bool {
	client := &http.Client{Timeout: probeTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + dialable(admin) + "/healthz")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// certificate reads a certificate and its key as the node would, and looks at its last day.
func (x *examination) certificate(section, cert, key string) {
	if cert == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		x.bad("tls", "%s: %v", section, err)
		return
	}
	switch left := time.Until(pair.Leaf.NotAfter).Round(time.Hour); {
	case left <= 0:
		x.bad("tls", "%s: %s expired on %s", section, cert, pair.Leaf.NotAfter.Format(time.DateOnly))
	case left < 14*24*time.Hour:
		x.doubt("tls", "%s: %s expires on %s", section, cert, pair.Leaf.NotAfter.Format(time.DateOnly))
	default:
		x.good("tls", "%s: %s is good until %s", section, cert, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
}

// broker looks whether the NATS servers that are named answer as such.
func (x *examination) broker(s *config.Settings) {
	b := &s.Config.Broker
	servers, key := b.Cluster.Routes, "broker.cluster.routes"
	if b.URL != "" {
		servers, key = strings.Split(b.URL, ","), "broker.url"
	}
	for _, server := range servers {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil {
			continue // Validate told
		}
		switch err := greets(u.Host); {
		case err == nil:
			x.good("broker", "%s: a NATS server answers at %s", key, u.Host)
		case b.URL == "": // the other nodes may start later
			x.doubt("broker", "%s: %s does not answer (%v); right if that node is not started yet", key, u.Host, err)
		default:
			x.bad("broker", "%s: %s does not answer: %v", key, u.Host, err)
		}
	}
	if b.URL == "" {
		x.good("broker", "embedded, %d service credentials", len(b.Services))
	}
}

// greets connects and waits for the INFO line that every NATS server sends first.
func greets(host string) error {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "4222")
	}
	conn, err := net.DialTimeout("tcp", host, probeTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(probeTimeout)); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "INFO ") {
		return errors.New("what listens there is no NATS server")
	}
	return nil
}

// verifiers opens the chain and asks whether what is behind it can be reached.
func (x *examination) verifiers(s *config.Settings) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	l, err := openLogin(ctx, s, slog.New(slog.DiscardHandler))
	if err != nil {
		x.bad("authn", "%v", err)
		return
	}
	defer l.Close()
	if err := l.chain.Ready(ctx); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") { // one for each verifier
			x.bad("authn", "%s", line)
		}
		return
	}
	if slices.Contains(s.Config.Authn.Chain, "webhook") && !x.answers("authn.webhook.url", s.Config.Authn.Webhook.URL) {
		return
	}
	x.good("authn", "%s can be asked", strings.Join(s.Config.Authn.Chain, ", "))
	for _, name := range s.Config.Authn.Issuers() {
		if o, _ := s.Config.Authn.Issuer(name); o.Secret != "" && len(o.Secret) < 32 {
			x.doubt("authn", "%s: its secret has %d bytes; 32 or more resist guessing", name, len(o.Secret))
		}
	}
}

// answers tells whether something listens at the address of a page. It is not asked anything: a question without a credential may count as an attack.
func (x *examination) answers(key, address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return true // Validate told
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(u.Hostname(), port), probeTimeout)
	if err != nil {
		x.bad("authn", "%s: nothing answers at %s: %v", key, u.Host, err)
		return false
	}
	conn.Close()
	return true
}

// browsers gives the advice that cookies and origins need most often.
func (x *examination) browsers(s *config.Settings) {
	c := &s.Config
	cookies := slices.Contains(c.Authn.Carriers, string(authn.CarrierCookie)) &&
		slices.ContainsFunc(c.Authn.Chain, func(name string) bool { return strings.HasPrefix(name, "django") })
	switch {
	case !cookies:
	case len(c.Server.Origins) == 0:
		x.good("browsers", "pages of the host that is connected to may use their cookie; for another host set server.origins, and SESSION_COOKIE_DOMAIN in Django so that the browser sends it")
	default:
		x.good("browsers", "pages of %s may use their cookie; browsers send it to this host only if SESSION_COOKIE_DOMAIN covers both", strings.Join(c.Server.Origins, ", "))
	}
	if slices.Contains(c.Authn.Carriers, string(authn.CarrierQuery)) {
		x.doubt("browsers", "authn.carriers has \"query\": tokens in addresses end up in the logs of proxies")
	}
}

// descriptors compares the limit of open files with the conns that are wanted: one each.
func (x *examination) descriptors(s *config.Settings) {
	limit, ok := openFiles()
	if !ok {
		return
	}
	const spare = 200 // listeners, the broker's, the database's
	switch conns := s.Config.Server.Limits.Conns; {
	case conns > 0 && uint64(conns)+spare > limit:
		x.bad("files", "this process may open %d files, server.limits.conns = %d needs %d; raise ulimit -n (systemd: LimitNOFILE)", limit, conns, conns+spare)
	case conns == 0 && limit < 65536:
		x.doubt("files", "this process may open %d files, one for each conn; raise ulimit -n (systemd: LimitNOFILE) for more", limit)
	default:
		x.good("files", "this process may open %d", limit)
	}
}
