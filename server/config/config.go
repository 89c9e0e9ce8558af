package config

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django"
	"github.com/gatecast/gatecast/authn/header"
	"github.com/gatecast/gatecast/authn/jwt"
	"github.com/gatecast/gatecast/authn/mtls"
	"github.com/gatecast/gatecast/authn/ticket"
	"github.com/gatecast/gatecast/authn/token"
	"github.com/gatecast/gatecast/authn/webhook"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server"
	"github.com/gatecast/gatecast/server/admin"
)

// Config is config.toml: each package's Options under its section.
type Config struct {
	// Where browsers connect, and how their sockets are owned.
	Server server.Options `toml:"server"`
	// How this node leaves on SIGTERM: not ready, wait delay, then close its conns spread over window.
	Drain server.DrainOptions `toml:"drain"`
	// The NATS that carries messages between nodes and from services: embedded, or an existing cluster at url.
	Broker broker.Options `toml:"broker"`
	// Who may connect: which credentials are looked for, where, and who verifies them.
	Authn Authn `toml:"authn"`
	// What users may hear and say. Rules add up; without any, a user hears only the own group user.ID and anonymous users
	// nothing. Patterns may hold {id}, {kind}, {conn}, {groups} and {attr.NAME}. Taken over by a reload.
	Grants []authn.Rule `toml:"grants"`
	// How groups behave, by the first entry whose pattern fits.
	Groups []server.GroupRule `toml:"groups"`
	// Paths for browser code that exists and knows no protocol of ours: one WebSocket, one set of groups.
	Routes []server.Route `toml:"routes"`
	// The HTTP API, /healthz, /readyz, /metrics and the admin page, on a listener of their own.
	Admin admin.Options `toml:"admin"`
	// What is written to standard error. Taken over by a reload.
	Log Log `toml:"log"`
}

// Authn is the section [authn] with those of the verifiers.
type Authn struct {
	authn.Options
	// JSON Web Tokens, named "jwt" in authn.chain. Configured when it has a secret, public_key or jwks. Taken over by a reload.
	JWT JWT `toml:"jwt"`
	// The sessions of a Django site, named "django" in authn.chain. Configured when it has a key, a database or a cache.
	Django Django `toml:"django"`
	// Tokens of Django REST framework and django-rest-knox, named "token" in authn.chain. Configured when it has kinds; the database and the users
	// are those of [authn.django], which needs no keys for it.
	Token Token `toml:"token"`
	// One-time tickets that the application signs, named "ticket" in authn.chain. Configured when [authn.django] has a ticket_key, or it has a key.
	Ticket Ticket `toml:"ticket"`
	// An application that is asked who somebody is, named "webhook" in authn.chain, best as the last. Configured when it has a url.
	Webhook webhook.Options `toml:"webhook"`
	// What a proxy that logs users in says about them, named "header" in authn.chain, with the carrier "proxy". Configured when it has a user. Only peers in
	// server.trusted_proxies are believed.
	Header header.Options `toml:"header"`
	// TLS certificates of clients, named "mtls" in authn.chain, with the carrier "certificate". Configured when it has a user.
	MTLS mtls.Options `toml:"mtls"`
}

// JWT is the section [authn.jwt] with those of further issuers.
type JWT struct {
	jwt.Options
	// Further issuers, each named "jwt:NAME" in authn.chain; each but the last needs issuer. The keys of [authn.jwt], with the same defaults.
	Issuers map[string]jwt.Options `toml:"issuers"`
}

// Django is the section [authn.django] with those of further sites.
type Django struct {
	django.Options
	// Further Django sites, each named "django:NAME" in authn.chain. The keys of [authn.django], with the same defaults.
	Sites map[string]django.Options `toml:"sites"`
}

// Token is the section [authn.token] with those of further sites.
type Token struct {
	token.Options
	// The tokens of [authn.django.sites.NAME], each named "token:NAME" in authn.chain. The keys of [authn.token], with the same defaults.
	Sites map[string]token.Options `toml:"sites"`
}

// Ticket is the section [authn.ticket] with those of further sites.
type Ticket struct {
	ticket.Options
	// The tickets of [authn.django.sites.NAME], each named "ticket:NAME" in authn.chain. The keys of [authn.ticket], with the same defaults; a site whose
	// defaults are right needs no section.
	Sites map[string]ticket.Options `toml:"sites"`
}

// Tickets are the options for the tickets of a site, "" for [authn.ticket], and whether there is a key to verify them with.
func (a *Authn) Tickets(site string) (o ticket.Options, configured bool) {
	o = a.Ticket.Options
	if site != "" {
		var ok bool
		if o, ok = a.Ticket.Sites[site]; !ok {
			o = ticket.DefaultOptions()
		}
	}
	d, _ := a.Site(site)
	return o, o.Key != "" || d.TicketKey != ""
}

// Site is the Django site called name, "" for [authn.django] itself.
func (a *Authn) Site(name string) (site django.Options, ok bool) {
	if name == "" {
		return a.Django.Options, true
	}
	site, ok = a.Django.Sites[name]
	return site, ok
}

// HasToken reports whether [authn.token] is filled in.
func (a *Authn) HasToken() bool { return len(a.Token.Kinds) > 0 }

// HasJWT reports whether [authn.jwt] is filled in.
func (a *Authn) HasJWT() bool { return a.JWT.Configured() }

// Issuer gives the options of a verifier of authn.chain that reads JSON Web Tokens; ok is false for the others.
func (a *Authn) Issuer(verifier string) (o jwt.Options, ok bool) {
	name, further := strings.CutPrefix(verifier, "jwt:")
	if further {
		o, ok = a.JWT.Issuers[name]
	} else if verifier == "jwt" {
		o, ok = a.JWT.Options, a.HasJWT()
	}
	if site, ok := siteOf(o.Users); ok {
		o.Site, _ = a.Site(site)
	}
	issuers := a.Issuers()
	o.Shared = ok && slices.Contains(issuers, verifier) && verifier != issuers[len(issuers)-1]
	return o, ok
}

// siteOf is the name of the Django site that users of [authn.jwt] names; ok is false if it names none.
func siteOf(users string) (site string, ok bool) {
	kind, site, _ := strings.Cut(users, ":")
	return site, kind == "django"
}

// Issuers lists the verifiers of authn.chain that read JSON Web Tokens.
func (a *Authn) Issuers() []string {
	return slices.DeleteFunc(slices.Clone(a.Chain), func(name string) bool { return name != "jwt" && !strings.HasPrefix(name, "jwt:") })
}

// HasDjango reports whether [authn.django] is filled in.
func (a *Authn) HasDjango() bool { return isSite(&a.Django.Options) }

func isSite(o *django.Options) bool {
	return o.SessionKey != "" || o.CookieKey != "" || o.HashKey != "" || o.Database != "" || o.Cache != ""
}

// Log is the section [log].
type Log struct {
	// Level is the least that is written: "debug", "info", "warn" or "error".
	Level string `toml:"level"`
	// Format is "text" for people or "json" for log collectors.
	Format string `toml:"format"`
}

// Default returns what holds when nothing is set.
func Default() Config {
	return Config{
		Server: server.DefaultOptions(),
		Drain:  server.DefaultDrainOptions(),
		Broker: broker.DefaultOptions(),
		Authn: Authn{
			Options: authn.DefaultOptions(),
			JWT:     JWT{Options: jwt.DefaultOptions()},
			Django:  Django{Options: django.DefaultOptions()},
			Token:   Token{Options: token.DefaultOptions()},
			Ticket:  Ticket{Options: ticket.DefaultOptions()},
			Webhook: webhook.DefaultOptions(),
			Header:  header.DefaultOptions(),
		},
		Admin: admin.DefaultOptions(),
		Log:   Log{Level: "info", Format: "text"},
	}
}

// defaultOf is what a new entry of a list or map of tables starts from.
func defaultOf(t reflect.Type) reflect.Value {
	switch t {
	case reflect.TypeFor[django.Options]():
		return reflect.ValueOf(django.DefaultOptions())
	case reflect.TypeFor[token.Options]():
		return reflect.ValueOf(token.DefaultOptions())
	case reflect.TypeFor[ticket.Options]():
		return reflect.ValueOf(ticket.DefaultOptions())
	case reflect.TypeFor[jwt.Options]():
		return reflect.ValueOf(jwt.DefaultOptions())
	}
	return reflect.Zero(t)
}

// SlogLevel is Level for log/slog.
func (l *Log) SlogLevel() (slog.Level, error) {
	switch l.Level {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf(`log.level: %q is unknown; use "debug", "info", "warn" or "error"`, l.Level)
}

// Validate tells what is wrong with l.
func (l *Log) Validate() error {
	if _, err := l.SlogLevel(); err != nil {
		return err
	}
	if l.Format != "text" && l.Format != "json" {
		return fmt.Errorf(`log.format: %q is unknown; use "text" or "json"`, l.Format)
	}
	return nil
}

// examples are what the golden file shows for keys of [[lists]], whose defaults are empty.
var examples = map[string]string{
	"broker.services.name":      `"django"`,
	"broker.services.token":     `"at least 16 bytes, from openssl rand -hex 32"`,
	"broker.services.subscribe": `["gc.g.*.news.>"]`,

	"authn.jwt.issuers.NAME.jwks":        `"https://id.example.com/.well-known/jwks.json"`,
	"authn.jwt.issuers.NAME.audience":    `"gatecast"`,
	"authn.jwt.issuers.NAME.issuer":      `"https://id.example.com/"`,
	"authn.jwt.issuers.NAME.user_prefix": `"id-"`,

	"authn.django.sites.NAME.session_key": `""`,
	"authn.django.sites.NAME.hash_key":    `""`,
	"authn.django.sites.NAME.database":    `"postgres://gatecast:password@db.internal:5432/shop"`,
	"authn.django.sites.NAME.cookie_name": `"shop_sessionid"`,
	"authn.django.sites.NAME.user_prefix": `"shop-"`,

	"authn.token.sites.NAME.kinds":    `["drf"]`,
	"authn.ticket.sites.NAME.max_age": `"30s"`,

	"grants.to":        `"authenticated"`,
	"grants.join":      `["news.{kind}"]`,
	"grants.subscribe": `["chat.>", "team.{groups}.*"]`,
	"grants.publish":   `["chat.>"]`,
	"grants.deny":      `["chat.private.>"]`,

	"groups.pattern": `"chat.>"`,
	"groups.slow":    `"close"`,
	"groups.echo":    `true`,

	"routes.path":    `"/ws/chat/{room}/"`,
	"routes.groups":  `["chat.{room}"]`,
	"routes.publish": `"chat.{room}"`,
	"routes.deliver": `"data"`,

	"admin.keys.name": `"django"`,
	"admin.keys.key":  `"from-openssl-rand-hex-32"`,
	"admin.keys.role": `"publish"`,
}
