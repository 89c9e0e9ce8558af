package server

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/gatecast/gatecast/broker/subject"
	"github.com/gatecast/gatecast/server/loop"
	"github.com/gatecast/gatecast/server/ws"
)

// Options is how sockets are accepted, kept and closed: config.toml's [server] section.
type Options struct {
	// Listen is the address of WebSocket connections (and of the demo page with -dev). Port 0 takes any free
	// port, which the log prints.
	Listen string `toml:"listen"`
	// Path is the path of the native protocol. Everything else on this listener is a [[routes]] entry or 404.
	Path string `toml:"path"`
	// Mode is how sockets are owned: "epoll" (Linux; the least memory and CPU), "portable" (any system, and
	// always under TLS), or "auto" (epoll where it can).
	Mode string `toml:"mode"`
	// Loops is the number of event loops. 0 means GOMAXPROCS, and that a loop takes 128 conns before the next gets any: a message to few
	// conns costs less if one loop has them all. A number spreads conns evenly: set it for few conns that say more than one core
	// carries. More loops than cores only cost.
	Loops int `toml:"loops"`
	// WriteBuffer is how many bytes not yet on the wire the kernel may hold for one conn (TCP_NOTSENT_LOWAT, Linux);
	// 0 leaves it to the system. What exceeds it waits here, as references to shared messages, where it is counted.
	WriteBuffer int `toml:"write_buffer"`
	// UserTimeout is how long sent bytes may stay unacknowledged before the peer is given up (TCP_USER_TIMEOUT,
	// Linux); 0 leaves it to the system, about 15 minutes. Raise it for mobile networks with long gaps.
	UserTimeout time.Duration `toml:"user_timeout"`
	// Ping is how often a conn is sent a ping; it must answer within 10 s. Shorter finds dead peers sooner and
	// costs one send a conn each time. Keep it below the idle timeout of proxies in front.
	Ping time.Duration `toml:"ping"`
	// Origins lists the web origins whose pages may connect with a login that browsers send by themselves
	// (cookies). Empty: only pages from the host that is connected to. Semantics of Channels'
	// AllowedHostsOriginValidator: "example.com", ".example.com", "https://example.com", "*".
	Origins []string `toml:"origins"`
	// TrustedProxies lists addresses and networks whose X-Forwarded-For and X-Forwarded-Host are believed.
	TrustedProxies []string `toml:"trusted_proxies"`
	// ProxyProtocol tells that the trusted proxies begin every connection with a PROXY header (HAProxy's protocol, version 1 or
	// 2; before the TLS handshake, if there is one), whose source is the client's address. A connection of a trusted proxy
	// without a good one is closed, one of anybody else with one is refused. The header must arrive within handshake_timeout.
	ProxyProtocol bool `toml:"proxy_protocol"`
	// AuthWorkers is how many logins are verified at once; the rest wait. 0 means 8 per core. More helps only
	// when the session database is slow, and each may hold one of its connections.
	AuthWorkers int `toml:"auth_workers"`

	// TLS serves wss:// without a proxy in front.
	TLS TLSOptions `toml:"tls"`
	// Compression is permessage-deflate (RFC 7692) with clients that offer it, which all browsers do.
	Compression CompressionOptions `toml:"compression"`
	// Limits bound what one conn, user, address or the node may use.
	Limits Limits `toml:"limits"`
}

// TLSOptions is config.toml's [server.tls] section: TLS 1.2 or later. Sockets under TLS are always in portable mode. A reload reads the
// files again, for later handshakes; conns stay, and files that do not fit together change nothing.
type TLSOptions struct {
	// Cert is the path of the certificate chain in PEM. Empty: no TLS.
	Cert string `toml:"cert"`
	// Key is the path of the certificate's private key in PEM.
	Key string `toml:"key"`
	// ClientCA is the path of the authorities in PEM whose certificates clients may show, for the verifier "mtls". A certificate that is shown must be from
	// one of them. Empty: clients are not asked for one.
	ClientCA string `toml:"client_ca"`
	// ClientRequired refuses clients without a certificate in the TLS handshake.
	ClientRequired bool `toml:"client_required"`
}

// CompressionOptions is config.toml's [server.compression] section. Each message is compressed by itself (no context takeover), so a
// conn costs no memory for it, and once for all its receivers.
type CompressionOptions struct {
	// Enabled saves bandwidth and costs CPU: 10 to 20 ms for each megabyte of messages sent, however many receive it, and what it
	// saves depends on how alike the parts of one message are. Do not enable it where one message holds a secret beside text that
	// somebody else chose: its compressed length tells of both (BREACH).
	Enabled bool `toml:"enabled"`
	// MinBytes is the size from which a message is compressed. Small ones hardly shrink.
	MinBytes int `toml:"min_bytes"`
}

// Limits is config.toml's [server.limits] section. In every limit 0 means no limit.
type Limits struct {
	// HeaderBytes bounds the header block of a handshake. Django session cookies may pass 4 KB.
	HeaderBytes int `toml:"header_bytes"`
	// HandshakeTimeout is how long a new conn may take to send its whole header block.
	HandshakeTimeout time.Duration `toml:"handshake_timeout"`
	// Conns bounds the conns of this node. Refused with 503 and Retry-After.
	Conns int `toml:"conns"`
	// ConnsPerAddress bounds the conns of one remote address (behind a proxy: of one trusted X-Forwarded-For).
	// Refused with 429 and Retry-After.
	ConnsPerAddress int `toml:"conns_per_address"`
	// ConnsPerUser bounds the conns one user may have on this node. Above it, see ConnsPerUserPolicy.
	ConnsPerUser int `toml:"conns_per_user"`
	// ConnsPerUserPolicy is "refuse" (the new conn is closed with 4404) or "replace" (the oldest is closed with 4409).
	ConnsPerUserPolicy string `toml:"conns_per_user_policy"`
	// HandshakesPerSecond bounds the handshakes this node begins, with a burst of one second's worth.
	// Refused with 503 and Retry-After.
	HandshakesPerSecond int `toml:"handshakes_per_second"`
	// MessageBytes bounds one message from a client. Above it the conn is closed with 1009.
	MessageBytes int `toml:"message_bytes"`
	// PartialBytes bounds the memory of all messages on this node that have arrived in part, together. A conn whose message
	// does not fit any more is closed with 4100, to come back later; the others go on.
	PartialBytes int `toml:"partial_bytes"`
	// Fragments bounds the frames of one message. Above it the conn is closed with 1009.
	Fragments int `toml:"fragments"`
	// MessageTimeout is how long a message may stay incomplete. Above it the conn is closed with 1002.
	MessageTimeout time.Duration `toml:"message_timeout"`
	// MessagesPerSecond bounds the ops (raw routes: messages) of one conn, with a burst of one second's worth.
	// Above it ops are answered with rate_limited, and after 10 s of that the conn is closed with 4404.
	MessagesPerSecond int `toml:"messages_per_second"`
	// BytesPerSecond bounds the message bytes of one conn in the same way.
	BytesPerSecond int `toml:"bytes_per_second"`
	// GroupsPerConn bounds the groups of one conn. Above it group_add is answered with limit.
	GroupsPerConn int `toml:"groups_per_conn"`
	// PendingBytes bounds what may wait to be sent to one conn. Above it the conn is slow: see [[groups]] slow.
	PendingBytes int `toml:"pending_bytes"`
	// PendingAge bounds how long the oldest byte may wait to be sent to one conn.
	PendingAge time.Duration `toml:"pending_age"`
	// PingsPerSecond bounds the WebSocket pings and pongs of one conn; a flood is closed with 4404.
	PingsPerSecond int `toml:"pings_per_second"`
}

// DrainOptions is config.toml's [drain] section: how a node leaves on SIGTERM.
type DrainOptions struct {
	// Delay is how long the node says "not ready" before it stops accepting, so that load balancers notice.
	Delay time.Duration `toml:"delay"`
	// Window is the time over which conns are closed, evenly, so that their reconnects do not come at once.
	Window time.Duration `toml:"window"`
}

// GroupRule is one [[groups]] entry of config.toml. The first entry whose pattern fits a group holds for it.
type GroupRule struct {
	// Pattern says which groups the entry is for: a name, or with `*` for one token and `>` for the rest.
	Pattern string `toml:"pattern"`
	// Slow is what happens when a conn cannot keep up with these groups, that is, when pending_bytes or pending_age of
	// [server.limits] is passed: "close" ends the conn with 4210, so that it reconnects and reloads; "drop_oldest" drops the messages
	// that have waited longest; "drop_newest" drops the message at hand; "latest" lets only the last message of each group wait,
	// as soon as one has to: for groups in which a message replaces those before it. "" is "close".
	Slow string `toml:"slow"`
	// Echo delivers a message to its sender too, if it is a member. Default true; a send's own "echo" wins.
	Echo *bool `toml:"echo"`
}

// Route is one [[routes]] entry of config.toml: a path for browser code that speaks no protocol of ours.
type Route struct {
	// Path is the request path; {name} stands for one segment.
	Path string `toml:"path"`
	// Groups are joined at connect; {name} is the path's, {id}, {kind} and {conn} the identity's.
	Groups []string `toml:"groups"`
	// Publish is the group that messages from the client are sent to. Empty: they are refused.
	Publish string `toml:"publish"`
	// Deliver is what members are sent: "data" (the message alone) or "envelope" (the native message object).
	Deliver string `toml:"deliver"`
}

// DefaultOptions returns the defaults of [server].
func DefaultOptions() Options {
	return Options{
		Listen:      "127.0.0.1:8080",
		Path:        "/ws",
		Mode:        loop.ModeAuto,
		WriteBuffer: loop.DefaultOptions().WriteBuffer,
		UserTimeout: loop.DefaultOptions().UserTimeout,
		Ping:        25 * time.Second,
		Compression: CompressionOptions{MinBytes: 256},
		Limits: Limits{
			HeaderBytes:         16 << 10,
			HandshakeTimeout:    5 * time.Second,
			ConnsPerUserPolicy:  "refuse",
			HandshakesPerSecond: 0,
			MessageBytes:        64 << 10,
			PartialBytes:        64 << 20,
			Fragments:           1024,
			MessageTimeout:      30 * time.Second,
			MessagesPerSecond:   100,
			BytesPerSecond:      1 << 20,
			GroupsPerConn:       100,
			PendingBytes:        256 << 10,
			PendingAge:          10 * time.Second,
			PingsPerSecond:      10,
		},
	}
}

// DefaultDrainOptions returns the defaults of [drain].
func DefaultDrainOptions() DrainOptions {
	return DrainOptions{Delay: 0, Window: 10 * time.Second}
}

// maxLoops is how many loops whereabouts has bits for.
const maxLoops = 64

// Validate tells all that is wrong with o, each with its key and what would be right.
func (o *Options) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("server."+key+": "+format, args...))
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		bad("listen", `%q is no address; write host:port, such as "127.0.0.1:8080"`, o.Listen)
	}
	if !strings.HasPrefix(o.Path, "/") {
		bad("path", `%q must begin with "/", such as "/ws"`, o.Path)
	}
	switch o.Mode {
	case "auto", "epoll", "portable":
	default:
		bad("mode", `%q is unknown; use "auto", "epoll" or "portable"`, o.Mode)
	}
	if o.Loops < 0 || o.Loops > maxLoops {
		bad("loops", "%d is out of range; use 0 (one a core) to %d", o.Loops, maxLoops)
	}
	if o.WriteBuffer < 0 || o.UserTimeout < 0 {
		bad("write_buffer", "it and user_timeout cannot be negative; 0 leaves them to the system")
	}
	if o.Ping != 0 && o.Ping < time.Second {
		bad("ping", `%v is too short; use "1s" or more, "25s" is usual, or "0s" for none`, o.Ping)
	}
	if o.AuthWorkers < 0 {
		bad("auth_workers", "%d is negative; use 0 for 8 per core", o.AuthWorkers)
	}
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		bad("tls", "cert and key go together; set both or none")
	}
	if o.TLS.ClientCA != "" && o.TLS.Cert == "" {
		bad("tls.client_ca", "without cert and key there is no TLS, in which clients could show a certificate")
	}
	if o.TLS.ClientRequired && o.TLS.ClientCA == "" {
		bad("tls.client_required", "client_ca says whose certificates are good; set it")
	}
	if o.Compression.MinBytes < 0 {
		bad("compression.min_bytes", "%d is negative; use 0 for every message", o.Compression.MinBytes)
	}
	if o.Mode == "epoll" && o.TLS.Cert != "" {
		bad("mode", `"epoll" cannot serve TLS; use "auto"`)
	}
	if _, err := parseProxies(o.TrustedProxies); err != nil {
		bad("trusted_proxies", "%w", err)
	}
	if o.ProxyProtocol && len(o.TrustedProxies) == 0 {
		bad("proxy_protocol", "it is believed from trusted_proxies only; list your proxies' addresses there")
	}
	l := &o.Limits
	for key, n := range map[string]int{
		"header_bytes": l.HeaderBytes, "conns": l.Conns, "conns_per_address": l.ConnsPerAddress, "conns_per_user": l.ConnsPerUser,
		"handshakes_per_second": l.HandshakesPerSecond, "message_bytes": l.MessageBytes, "partial_bytes": l.PartialBytes, "fragments": l.Fragments,
		"messages_per_second": l.MessagesPerSecond, "bytes_per_second": l.BytesPerSecond, "groups_per_conn": l.GroupsPerConn,
		"pending_bytes": l.PendingBytes, "pings_per_second": l.PingsPerSecond,
		"handshake_timeout": int(l.HandshakeTimeout), "message_timeout": int(l.MessageTimeout), "pending_age": int(l.PendingAge),
	} {
		if n < 0 {
			bad("limits."+key, "a limit cannot be negative; 0 means no limit")
		}
	}
	if l.HeaderBytes != 0 && l.HeaderBytes < 1024 {
		bad("limits.header_bytes", "%d is too little for a browser's handshake; use 1024 or more", l.HeaderBytes)
	}
	if least := l.MessageBytes + ws.LargestPooled; l.PartialBytes > 0 && l.PartialBytes < least {
		bad("limits.partial_bytes", "%d may not hold even one message; use message_bytes + %d = %d or more, or 0 for no limit", l.PartialBytes, ws.LargestPooled, least)
	}
	if l.ConnsPerUserPolicy != "refuse" && l.ConnsPerUserPolicy != "replace" {
		bad("limits.conns_per_user_policy", `%q is unknown; use "refuse" or "replace"`, l.ConnsPerUserPolicy)
	}
	return errors.Join(errs...)
}

// Validate tells what is wrong with o.
func (o *DrainOptions) Validate() error {
	if o.Delay < 0 || o.Window < 0 {
		return errors.New("drain: delay and window cannot be negative")
	}
	return nil
}

// Validate tells what is wrong with r.
func (r *GroupRule) Validate() error {
	if err := subject.CheckPattern(r.Pattern); err != nil {
		return fmt.Errorf("groups: pattern %q: %w", r.Pattern, err)
	}
	if _, ok := slowPolicies[r.Slow]; !ok {
		return fmt.Errorf(`groups: slow = %q is unknown; use "close", "drop_oldest", "drop_newest" or "latest"`, r.Slow)
	}
	return nil
}

// Validate tells what is wrong with r.
func (r *Route) Validate() error {
	if _, err := compileRoute(*r); err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	return nil
}
