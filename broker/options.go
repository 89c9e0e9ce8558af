package broker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// ProtocolVersion is what nodes of one cluster must share; it changes when subjects, headers or the ctl bodies do.
const ProtocolVersion = 1

// Options is section [broker] of config.toml.
type Options struct {
	// Namespace is the first token of every subject; nodes and clusters with different namespaces may share one NATS. 1 to 16 of [a-z0-9_-].
	Namespace string `toml:"namespace"`
	// Name is this node's name in its cluster: 1 to 64 of [A-Za-z0-9._-], unique. Empty makes one from the host's name and a random part; set it where JetStream is clustered.
	Name string `toml:"name"`
	// Listen is the NATS client address of the embedded server, for services and native users; port 0 takes any free port. Beyond loopback TLS is required.
	Listen string `toml:"listen"`
	// URL is an existing NATS cluster to use instead of the embedded server: one or more nats:// or tls:// addresses, separated by commas.
	URL string `toml:"url"`
	// Token logs this node in to URL.
	Token string `toml:"token" secret:"true"`
	// User logs this node in to URL, with Password.
	User string `toml:"user"`
	// Password goes with User.
	Password string `toml:"password" secret:"true"`
	// CredsFile is a NATS credentials file (JWT and seed) that logs this node in to URL.
	CredsFile string `toml:"creds_file"`
	// Shards is the number of lanes that groups are spread over; all nodes of a cluster have the same. Change it only while every node is stopped.
	Shards int `toml:"shards"`
	// UserInterest is how the groups of users ("user.…") are heard: "wildcard" holds one subscription for all of them, "exact" one each, for large clusters where hearing every user's messages costs more than the subscriptions.
	UserInterest string `toml:"user_interest"`
	// MaxPayload is the largest message in bytes, headers included; above server.limits.message_bytes. With URL that server's own limit counts if it is lower.
	MaxPayload int `toml:"max_payload"`
	// TLS is for the client address, for routes, and for URL.
	TLS TLSOptions `toml:"tls"`
	// Cluster joins embedded servers.
	Cluster ClusterOptions `toml:"cluster"`
	// JetStream keeps history; off by default.
	JetStream JetStreamOptions `toml:"jetstream"`
	// Services are the backends that may publish through the embedded server.
	Services []Service `toml:"services"`
}

// TLSOptions is section [broker.tls].
type TLSOptions struct {
	// Cert is the PEM file of the certificate chain shown to clients, to routes, and to URL.
	Cert string `toml:"cert"`
	// Key is the PEM file of Cert's private key.
	Key string `toml:"key"`
	// CA is a PEM file of the authorities that routes and URL are checked against; empty means the system's. Routes are then trusted by authority alone, whatever name their certificate carries.
	CA string `toml:"ca"`
}

// ClusterOptions is section [broker.cluster].
type ClusterOptions struct {
	// Listen is the address for routes from other nodes; empty means no cluster. Port 0 takes any free port.
	Listen string `toml:"listen"`
	// Routes are the other nodes' cluster addresses, nats://host:port. A host name with several addresses (a Kubernetes headless service) is one route to each, resolved again every few seconds. This node itself may be among them.
	Routes []string `toml:"routes"`
	// Token is the secret that all nodes of the cluster share, at least 16 bytes.
	Token string `toml:"token" secret:"true"`
}

// JetStreamOptions is section [broker.jetstream].
type JetStreamOptions struct {
	// Enabled starts JetStream in the embedded server.
	Enabled bool `toml:"enabled"`
	// StoreDir is the directory for streams, locked by this process.
	StoreDir string `toml:"store_dir"`
	// Memory is the most that memory streams may hold, in bytes.
	Memory int64 `toml:"memory"`
	// Disk is the most that file streams may hold, in bytes.
	Disk int64 `toml:"disk"`
	// Replicas is the number of copies of a stream; 0 means 1 alone and 3 in a cluster of at least 3 JetStream nodes.
	Replicas int `toml:"replicas"`
}

// Service is one [[broker.services]]: the credential of a backend.
type Service struct {
	// Name is the user name, and the service's name in logs.
	Name string `toml:"name"`
	// Token is its secret, at least 16 bytes: sent as token, or as password of user Name.
	Token string `toml:"token" secret:"true"`
	// Publish are the NATS subjects it may publish; empty means <namespace>.in.> and the four <namespace>.ctl requests.
	Publish []string `toml:"publish"`
	// Subscribe are the NATS subjects it may hear besides its inbox, for example gc.g.*.news.>.
	Subscribe []string `toml:"subscribe"`
}

// DefaultOptions returns an embedded, unclustered broker on the default port without services.
func DefaultOptions() Options {
	return Options{
		Namespace:    "gc",
		Listen:       "127.0.0.1:4222",
		Shards:       32,
		UserInterest: "wildcard",
		MaxPayload:   2 << 20,
		JetStream: JetStreamOptions{
			Memory: 256 << 20,
			Disk:   10 << 30,
		},
	}
}

var (
	namespaceForm = regexp.MustCompile(`^[a-z0-9_-]{1,16}$`)
	nameForm      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	serviceForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

const minToken = 16

// Validate reports everything that is wrong, each with its key and what would be right.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !namespaceForm.MatchString(o.Namespace) {
		bad(`broker.namespace %q: use 1 to 16 of a-z, 0-9, _ and -, for example "gc"`, o.Namespace)
	}
	if o.Name != "" && !nameForm.MatchString(o.Name) {
		bad(`broker.name %q: use 1 to 64 of A-Z, a-z, 0-9, ".", _ and -, beginning with a letter or digit`, o.Name)
	}
	if o.Shards < 1 || o.Shards > 1024 {
		bad("broker.shards = %d: use 1 to 1024, the same on every node (default 32)", o.Shards)
	}
	if o.UserInterest != "wildcard" && o.UserInterest != "exact" {
		bad(`broker.user_interest %q: use "wildcard" or "exact"`, o.UserInterest)
	}
	if o.MaxPayload < 4096 || o.MaxPayload > 64<<20 {
		bad("broker.max_payload = %d: use 4096 to 67108864 bytes (default 2097152)", o.MaxPayload)
	}
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		bad("broker.tls: cert and key go together; set both or neither")
	}
	if o.URL != "" {
		o.validateURL(bad)
	} else {
		o.validateEmbedded(bad)
	}
	return errors.Join(errs...)
}

func (o *Options) validateURL(bad func(string, ...any)) {
	for _, s := range strings.Split(o.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		switch {
		case err != nil || u.Host == "" || (u.Scheme != "nats" && u.Scheme != "tls"):
			bad(`broker.url %q: use nats://host:4222 or tls://host:4222, several separated by commas`, redact(s))
		case u.User != nil:
			bad("broker.url %q: leave the credentials out; use broker.token, broker.user and broker.password, or broker.creds_file", redact(s))
		}
	}
	ways := 0
	for _, set := range []bool{o.Token != "", o.User != "" || o.Password != "", o.CredsFile != ""} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		bad("broker.url: choose one of token, user with password, and creds_file")
	}
	if (o.User == "") != (o.Password == "") {
		bad("broker.user and broker.password go together; set both or neither")
	}
	if o.Cluster.Listen != "" || len(o.Cluster.Routes) > 0 {
		bad("broker.cluster: nothing is embedded when broker.url is set; remove broker.cluster.listen and routes, or broker.url")
	}
	if o.JetStream.Enabled {
		bad("broker.jetstream.enabled: nothing is embedded when broker.url is set; enable JetStream in that NATS cluster")
	}
	if len(o.Services) > 0 {
		bad("broker.services: with broker.url the services' credentials are that NATS cluster's own; remove [[broker.services]]")
	}
}

func (o *Options) validateEmbedded(bad func(string, ...any)) {
	if o.Token != "" || o.User != "" || o.Password != "" || o.CredsFile != "" {
		bad("broker.token, user, password and creds_file are for broker.url; set broker.url or remove them")
	}
	host, err := checkListen(o.Listen)
	switch {
	case err != nil:
		bad(`broker.listen %q: %v; use an address like "127.0.0.1:4222"`, o.Listen, err)
	case !isLoopback(host) && o.TLS.Cert == "":
		bad("broker.listen %q is reachable beyond this machine and needs TLS: set broker.tls.cert and broker.tls.key, or listen on 127.0.0.1", o.Listen)
	}
	o.validateCluster(bad)
	if o.JetStream.Enabled {
		if o.JetStream.StoreDir == "" {
			bad(`broker.jetstream.store_dir is empty: set a directory that survives restarts, for example "/var/lib/gatecast"`)
		}
		if o.JetStream.Memory <= 0 || o.JetStream.Disk <= 0 {
			bad("broker.jetstream.memory and disk must be above 0 bytes: NATS would take most of the machine otherwise")
		}
		if o.Cluster.Listen != "" && o.Name == "" {
			bad(`broker.name is empty: clustered JetStream needs a name that stays the same over restarts, for example "n1"`)
		}
	}
	if o.JetStream.Replicas < 0 || o.JetStream.Replicas > 5 {
		bad("broker.jetstream.replicas = %d: use 0 (automatic) or 1 to 5", o.JetStream.Replicas)
	}
	seen := map[string]bool{}
	for i := range o.Services {
		o.Services[i].validate(o.Namespace, i, bad)
		if seen[o.Services[i].Name] {
			bad("broker.services[%d].name %q is used twice", i, o.Services[i].Name)
		}
		seen[o.Services[i].Name] = true
	}
}

func (o *Options) validateCluster(bad func(string, ...any)) {
	c := &o.Cluster
	if c.Listen == "" {
		if len(c.Routes) > 0 {
			bad(`broker.cluster.listen is empty but routes are set: set it, for example "10.0.0.1:6222"`)
		}
		return
	}
	if _, err := checkListen(c.Listen); err != nil {
		bad(`broker.cluster.listen %q: %v; use an address like "10.0.0.1:6222"`, c.Listen, err)
	}
	if len(c.Token) < minToken {
		bad("broker.cluster.token: set the same secret of at least %d bytes on every node", minToken)
	}
	for _, r := range c.Routes {
		if _, err := parseRoute(r); err != nil {
			bad("broker.cluster.routes %q: %v", redact(r), err)
		}
	}
}

func (s *Service) validate(ns string, i int, bad func(string, ...any)) {
	if !serviceForm.MatchString(s.Name) || s.Name == routeUser {
		bad("broker.services[%d].name %q: use 1 to 64 of A-Z, a-z, 0-9, \".\", _ and -, and not %q", i, s.Name, routeUser)
	}
	if len(s.Token) < minToken {
		bad("broker.services[%d].token of %q: use at least %d bytes, for example from `openssl rand -hex 32`", i, s.Name, minToken)
	}
	for _, p := range s.Publish {
		if err := checkServicePublish(ns, p); err != nil {
			bad("broker.services[%d].publish %q: %v", i, p, err)
		}
	}
	for _, p := range s.Subscribe {
		if err := checkServiceSubscribe(ns, p); err != nil {
			bad("broker.services[%d].subscribe %q: %v", i, p, err)
		}
	}
}

// checkListen splits host:port and refuses names, so that what is loopback is known without a resolver.
func checkListen(s string) (host string, err error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errors.New("not host:port")
	}
	if host != "" && host != "localhost" {
		if _, err := netip.ParseAddr(host); err != nil {
			return "", errors.New("the host must be an IP address or localhost")
		}
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n < 0 {
		return "", errors.New("the port must be a number from 0 to 65535")
	}
	return host, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// parseRoute accepts nats://host:port without credentials.
func parseRoute(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "nats" || u.Hostname() == "" || u.Port() == "":
		return nil, errors.New("use nats://host:port, the other node's broker.cluster.listen")
	case u.User != nil:
		return nil, errors.New("leave the credentials out; broker.cluster.token is sent")
	case u.Port() == "0":
		return nil, errors.New("port 0 names no node; give the port it listens on")
	case u.Path != "" || u.RawQuery != "":
		return nil, errors.New("nothing may follow the port")
	}
	return u, nil
}

// redact hides what stands before an @, for error texts.
func redact(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}
