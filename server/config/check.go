package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/authn"
)

// check judges what no package sees alone: settings of one section against those of another.
func (s *Settings) check() {
	s.checkChain()
	s.checkIssuers()
	s.checkIDs()
	s.checkGrants()
	s.checkQueries()
	s.checkListeners()
	s.checkSecrets()
	s.checkCarriers()
	s.checkSizes()
}

// verifiers tells for every name the chain may have whether its section is filled in.
func (s *Settings) verifiers() map[string]bool {
	a := &s.Config.Authn
	known := map[string]bool{
		"jwt": a.HasJWT(), "django": a.HasDjango(), "token": a.HasToken(), "webhook": a.Webhook.URL != "", "header": a.Header.User != "", "mtls": a.MTLS.User != "",
		VerifierDev: s.Input.Dev,
	}
	for name, site := range a.Django.Sites {
		known["django:"+name] = isSite(&site)
	}
	for name, o := range a.Token.Sites {
		known["token:"+name] = len(o.Kinds) > 0
	}
	_, known["ticket"] = a.Tickets("")
	for name := range a.Django.Sites {
		_, known["ticket:"+name] = a.Tickets(name)
	}
	for name := range a.Ticket.Sites {
		_, known["ticket:"+name] = a.Tickets(name)
	}
	for name, issuer := range a.JWT.Issuers {
		known["jwt:"+name] = issuer.Configured()
	}
	return known
}

// checkChain asks that every verifier of the chain is configured. The default chain names all kinds there are, so
// from it (also written out, as in the golden file) those without a section are left out.
func (s *Settings) checkChain() {
	chain := s.Config.Authn.Chain
	known := s.verifiers()
	isDefault := slices.Equal(withoutDev(chain), authn.DefaultOptions().Chain)
	var kept []string
	for _, name := range chain {
		configured, exists := known[name]
		switch {
		case configured:
			kept = append(kept, name)
		case !exists && strings.HasPrefix(name, "jwt:"):
			s.failAt("authn.chain", fmt.Sprintf("authn.chain: %q needs the section [authn.jwt.issuers.%s]", name, strings.TrimPrefix(name, "jwt:")))
		case !exists && strings.Contains(name, ":"):
			kind, site, _ := strings.Cut(name, ":")
			if kind != "django" && kind != "token" && kind != "ticket" {
				s.failAt("authn.chain", fmt.Sprintf("authn.chain: no verifier is called %q%s", name, Suggest(kind, slices.Sorted(maps.Keys(known)))))
				continue
			}
			s.failAt("authn.chain", fmt.Sprintf("authn.chain: %q needs the section [authn.%s.sites.%s]", name, kind, site))
		case !exists:
			s.failAt("authn.chain", fmt.Sprintf("authn.chain: no verifier is called %q%s", name, Suggest(name, slices.Sorted(maps.Keys(known)))))
		case !isDefault && name != VerifierDev && !s.Input.Dev:
			s.failAt("authn.chain", fmt.Sprintf("authn.chain: %q is not configured; %s, or take it out of the chain", name, needs(name)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		kind, site, _ := strings.Cut(name, ":")
		tickets, _ := s.Config.Authn.Tickets(site)
		quiet := kind == "django" && s.usersOnly(site) || kind == "ticket" && tickets.Key == "" // gatecast_keys prints ticket_key for everybody
		if known[name] && !slices.Contains(chain, name) && !quiet {
			s.warnAt("authn.chain", "authn.chain: %q is configured but not in the chain, so nobody logs in with it", name)
		}
	}
	if len(kept) == 0 && !s.Config.Authn.Anonymous && s.err() == nil {
		s.failAt("authn.chain", "authn.chain: nobody could log in: "+needs("django")+"; or "+needs("jwt")+"; or set authn.anonymous = true; or try it out with: gatecast serve -dev")
	}
	s.Config.Authn.Chain = kept
}

func withoutDev(chain []string) []string {
	return slices.DeleteFunc(slices.Clone(chain), func(name string) bool { return name == VerifierDev })
}

func needs(verifier string) string {
	switch kind, _, _ := strings.Cut(verifier, ":"); kind {
	case "jwt":
		return "set secret, public_key or jwks of [authn." + strings.Replace(verifier, ":", ".issuers.", 1) + "]"
	case "webhook":
		return "set authn.webhook.url"
	case "header", "mtls":
		return "set authn." + kind + ".user"
	case "ticket":
		return "set " + strings.Replace("authn."+verifier, "authn.ticket:", "authn.ticket.sites.", 1) + ".key, or ticket_key of [" + strings.Replace("authn.django"+strings.TrimPrefix(verifier, "ticket"), ":", ".sites.", 1) + "]"
	case "token":
		return "set authn." + strings.Replace(verifier, ":", ".sites.", 1) + ".kinds"
	}
	return "fill [authn." + strings.Replace(verifier, ":", ".sites.", 1) + "] with what `manage.py gatecast_keys` prints"
}

// checkIssuers asks that every token is one issuer's: each verifier of tokens takes those with its issuer, the last takes what is left.
func (s *Settings) checkIssuers() {
	names := s.Config.Authn.Issuers()
	seen := map[string]string{}
	for i, name := range names {
		o, _ := s.Config.Authn.Issuer(name)
		at := "authn." + strings.Replace(name, ":", ".issuers.", 1) + ".issuer"
		if o.Issuer == "" && i < len(names)-1 {
			s.failAt(at, fmt.Sprintf("%s is empty, so %q would take the tokens of %q too; set it to the iss of its tokens, or put it last in authn.chain", at, name, names[i+1]))
		} else if other, again := seen[o.Issuer]; again && o.Issuer != "" {
			s.failAt(at, fmt.Sprintf("%s: %q has the same one and stands first in authn.chain, so %q would never be asked", at, other, name))
		}
		seen[o.Issuer] = name
		if site, ok := siteOf(o.Users); ok {
			s.checkUsers(strings.TrimSuffix(at, "issuer")+"users", site)
		}
	}
}

// checkUsers asks that the site is there in which the users of tokens are looked up. That it has a database is its own check.
func (s *Settings) checkUsers(at, site string) {
	if _, ok := s.Config.Authn.Site(site); !ok {
		s.failAt(at, fmt.Sprintf("%s: there is no [authn.django.sites.%s]%s", at, site, Suggest(site, slices.Sorted(maps.Keys(s.Config.Authn.Django.Sites)))))
	}
}

// checkIDs warns when two verifiers may give one id to two people. Those of one site know the same people.
func (s *Settings) checkIDs() {
	byPrefix := map[string][]string{}
	seen := map[string]bool{}
	for _, name := range s.Config.Authn.Chain {
		kind, site, _ := strings.Cut(name, ":")
		prefix, people := "", name
		switch kind {
		case "django", "token":
			o, _ := s.Config.Authn.Site(site)
			prefix, people = o.UserPrefix, "site "+site
		case "ticket":
			o, _ := s.Config.Authn.Site(site)
			prefix, people = o.UserPrefix, "site "+site
			if tickets, _ := s.Config.Authn.Tickets(site); tickets.Key != "" {
				prefix, people = tickets.UserPrefix, name
			}
		case "webhook":
			prefix = s.Config.Authn.Webhook.UserPrefix
		case "header":
			prefix = s.Config.Authn.Header.UserPrefix
		case "mtls":
			prefix = s.Config.Authn.MTLS.UserPrefix
		default:
			issuer, ok := s.Config.Authn.Issuer(name)
			if !ok {
				continue
			}
			prefix = issuer.UserPrefix
			if site, ok := siteOf(issuer.Users); ok {
				prefix, people = issuer.Site.UserPrefix, "site "+site
			}
		}
		if !seen[people] {
			byPrefix[prefix] = append(byPrefix[prefix], name)
		}
		seen[people] = true
	}
	for _, prefix := range slices.Sorted(maps.Keys(byPrefix)) {
		if names := byPrefix[prefix]; len(names) > 1 {
			s.warnAt("authn.chain", "authn.chain: %s give the same ids (user_prefix = %q): right if they know the same people; else give one a user_prefix of its own",
				strings.Join(names, " and "), prefix)
		}
	}
}

func (s *Settings) checkGrants() {
	for i := range s.Config.Grants {
		if _, err := authn.CompileRules(s.Config.Grants[i : i+1]); err != nil {
			s.judge(fmt.Sprintf("grants[%d]", i), err)
		}
	}
	if len(s.Config.Grants) == 0 {
		s.warn(fmt.Errorf("there are no [[grants]]: users hear only their own group user.ID and what backends add them to"))
	}
}

// checkQueries asks that there is a database for every rule with sql.
func (s *Settings) checkQueries() {
	for i, rule := range s.Config.Grants {
		at := fmt.Sprintf("grants[%d]", i)
		site, ok := s.Config.Authn.Site(rule.Site)
		switch {
		case rule.SQL == "":
		case !ok:
			s.failAt(at+".site", fmt.Sprintf("%s.site: there is no [authn.django.sites.%s]%s", at, rule.Site, Suggest(rule.Site, slices.Sorted(maps.Keys(s.Config.Authn.Django.Sites)))))
		case site.Database == "":
			s.failAt(at+".sql", at+".sql: set "+ofTable(rule.Site)+".database, which it is run in; the table and primary key of its users are user_table and user_id_column there")
		}
	}
}

// ofTable is the path of a site's section.
func ofTable(site string) string {
	if site == "" {
		return "authn.django"
	}
	return "authn.django.sites." + site
}

// Listener is an address the node would listen on, and the key it comes from.
type Listener struct{ Key, Address string }

// loopback reports whether only programs on this machine can connect.
func (l Listener) loopback() bool {
	host, _, err := net.SplitHostPort(l.Address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// Listeners lists where the node would listen; an empty address is off.
func (s *Settings) Listeners() []Listener {
	c := &s.Config
	all := []Listener{{"server.listen", c.Server.Listen}, {"admin.listen", c.Admin.Listen}}
	if c.Broker.URL == "" {
		all = append(all, Listener{"broker.listen", c.Broker.Listen}, Listener{"broker.cluster.listen", c.Broker.Cluster.Listen})
	}
	return all
}

// checkListeners asks that two listeners do not want one port, and warns of plain text beyond this machine. (The
// broker refuses that by itself.)
func (s *Settings) checkListeners() {
	c := &s.Config
	taken := map[string]string{}
	for _, l := range s.Listeners() {
		_, port, err := net.SplitHostPort(l.Address)
		if l.Address == "" || err != nil || port == "0" {
			continue
		}
		if other, ok := taken[port]; ok {
			s.failAt(l.Key, fmt.Sprintf("%s: port %s is taken by %s; give each its own", l.Key, port, other))
		}
		taken[port] = l.Key
	}
	if s.Input.Dev {
		return
	}
	if l := (Listener{"admin.listen", c.Admin.Listen}); l.Address != "" && !l.loopback() {
		if len(c.Admin.Keys) == 0 {
			s.failAt(l.Key, fmt.Sprintf("admin.listen: %q is reachable beyond this machine and there is no key; add [[admin.keys]], or listen on 127.0.0.1", l.Address))
		} else {
			s.warnAt(l.Key, "admin.listen: %q is reachable beyond this machine in plain HTTP: keys cross the network unencrypted; keep it in a private network", l.Address)
		}
	}
	if l := (Listener{"server.listen", c.Server.Listen}); !l.loopback() && c.Server.TLS.Cert == "" {
		s.warnAt(l.Key, "server.listen: %q is reachable beyond this machine without TLS: right only behind a proxy that has it", l.Address)
	}
	if l := (Listener{"broker.cluster.listen", c.Broker.Cluster.Listen}); c.Broker.URL == "" && l.Address != "" && !l.loopback() && c.Broker.TLS.Cert == "" {
		s.warnAt(l.Key, "broker.cluster.listen: %q carries all messages in plain text; set broker.tls.cert and key, or keep it in a private network", l.Address)
	}
}

// checkSecrets refuses secrets that stand in examples. (The verifiers know those of their own.)
func (s *Settings) checkSecrets() {
	if s.Input.Dev {
		return
	}
	c := &s.Config
	look := func(path, secret string) {
		if isPlaceholder(secret) {
			s.failAt(path, path+": this is a placeholder; make a secret with: openssl rand -hex 32")
		}
	}
	look("broker.token", c.Broker.Token)
	look("broker.password", c.Broker.Password)
	look("broker.cluster.token", c.Broker.Cluster.Token)
	look("authn.webhook.secret", c.Authn.Webhook.Secret)
	for i := range c.Broker.Services {
		look(fmt.Sprintf("broker.services[%d].token", i), c.Broker.Services[i].Token)
	}
	for i := range c.Admin.Keys {
		look(fmt.Sprintf("admin.keys[%d].key", i), c.Admin.Keys[i].Key)
		if k := c.Admin.Keys[i].Key; k != "" && len(k) < 16 {
			s.warnAt(fmt.Sprintf("admin.keys[%d].key", i), "admin.keys[%d].key: %d bytes are easy to guess; make one with: openssl rand -hex 32", i, len(k))
		}
	}
}

// isPlaceholder knows what people copy from documentation.
func isPlaceholder(secret string) bool {
	s := strings.ToLower(secret)
	for _, word := range []string{"changeme", "change-me", "change_me", "openssl rand", "openssl-rand", "your-secret", "your_secret", "replace-me", "replace_me", "placeholder", "long random text", "django-insecure", "xxxxxxxx"} {
		if strings.Contains(s, word) {
			return true
		}
	}
	switch strings.Trim(s, "0123456789") {
	case "secret", "password", "example", "test", "token", "admin", "gatecast":
		return true
	}
	return s != "" && strings.Count(s, s[:1]) == len(s)
}

// checkCarriers asks that what is verified can also arrive.
func (s *Settings) checkCarriers() {
	a := &s.Config.Authn
	has := func(carriers ...string) bool {
		return slices.ContainsFunc(carriers, func(c string) bool { return slices.Contains(a.Carriers, c) })
	}
	for _, name := range a.Chain {
		if (name == "django" || strings.HasPrefix(name, "django:")) && !has("cookie") {
			s.failAt("authn.carriers", fmt.Sprintf("authn.carriers: %q reads a cookie; add \"cookie\"", name))
		}
		if kind, site, _ := strings.Cut(name, ":"); kind == "token" || kind == "ticket" {
			if !has("header", "subprotocol", "query", "message") {
				s.failAt("authn.carriers", fmt.Sprintf(`authn.carriers: %q reads a token; add "header", "subprotocol", "message" or "query"`, name))
			}
			if _, ok := a.Site(site); !ok && kind == "token" {
				s.failAt("authn.chain", fmt.Sprintf("authn.chain: %q reads the database of [authn.django.sites.%s], which is not there", name, site))
			}
		}
		if issuer, ok := a.Issuer(name); ok && !has("header", "subprotocol", "query", "message") && !(issuer.CookieName != "" && has("cookie")) {
			s.failAt("authn.carriers", fmt.Sprintf("authn.carriers: %q reads a token; add \"header\", \"subprotocol\", \"message\" or \"query\"", name))
		}
	}
	s.checkAmbient(has)
	_, err := authn.NewOriginPolicy(s.Config.Server.Origins)
	s.judge("server", err)
	if slices.Contains(s.Config.Server.Origins, "*") && has("cookie") && !s.Input.Dev {
		s.warnAt("server.origins", `server.origins: "*" lets every web page use the cookies of its visitors; list the origins instead`)
	}
	readers := make(map[string][]string) // of each cookie
	if slices.Contains(a.Chain, "django") {
		readers[a.Django.CookieName] = []string{"django"}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Django.Sites)) {
		if !s.usersOnly(name) {
			cookie := a.Django.Sites[name].CookieName
			readers[cookie] = append(readers[cookie], "django:"+name)
		}
	}
	for _, cookie := range slices.Sorted(maps.Keys(readers)) {
		if names := readers[cookie]; len(names) > 1 {
			s.warnAt("authn.django.sites", "authn.django.sites: %s read the same cookie %q: on one host browsers send only one of them, and the first in authn.chain decides; give each site a SESSION_COOKIE_NAME", strings.Join(names, " and "), cookie)
		}
	}
}

// checkAmbient asks that what a proxy or a certificate says can arrive, and be believed.
func (s *Settings) checkAmbient(has func(...string) bool) {
	c := &s.Config
	for _, one := range []struct{ verifier, carrier, needs string }{
		{"header", "proxy", "server.trusted_proxies is empty, so no proxy is believed; list the addresses of yours"},
		{"mtls", "certificate", "server.tls.client_ca is empty, so no certificate of a client is looked at; set it to the authorities that sign yours"},
	} {
		inChain := slices.Contains(c.Authn.Chain, one.verifier)
		switch {
		case inChain && !has(one.carrier):
			s.failAt("authn.carriers", fmt.Sprintf("authn.carriers: %q reads what a %s says; add %q, before the others if it decides", one.verifier, one.carrier, one.carrier))
		case !inChain && has(one.carrier):
			s.failAt("authn.carriers", fmt.Sprintf("authn.carriers: %q is read by the verifier %q alone; add that to authn.chain, or take it out", one.carrier, one.verifier))
		case inChain && (one.verifier == "header" && len(c.Server.TrustedProxies) == 0 || one.verifier == "mtls" && c.Server.TLS.ClientCA == ""):
			s.failAt("authn.chain", fmt.Sprintf("authn.chain: %q: %s", one.verifier, one.needs))
		}
	}
	for _, text := range c.Server.TrustedProxies {
		if slices.Contains(c.Authn.Chain, "header") && strings.HasSuffix(text, "/0") {
			s.failAt("server.trusted_proxies", fmt.Sprintf("server.trusted_proxies: %q is everybody, and everybody could log in as anybody by authn.header; list the proxies alone", text))
		}
	}
	if u := c.Authn.Webhook.URL; strings.HasPrefix(strings.ToLower(u), "http://") && slices.Contains(c.Authn.Chain, "webhook") {
		host, _, _ := strings.Cut(u[len("http://"):], "/")
		if !(Listener{Address: withPort(host)}).loopback() {
			s.warnAt("authn.webhook.url", "authn.webhook.url: credentials of users are sent to another machine in plain HTTP; use https, or keep it in a private network")
		}
	}
	if c.Authn.Webhook.URL != "" && c.Authn.Webhook.Secret == "" {
		s.warnAt("authn.webhook", "authn.webhook.secret is empty: whoever reaches the address can ask who a cookie belongs to")
	}
}

// withPort completes the host of an address.
func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		return net.JoinHostPort(strings.Trim(host, "[]"), "80")
	}
	return host
}

// checkSizes asks that a message that is accepted can also be carried and queued.
func (s *Settings) checkSizes() {
	c := &s.Config
	if n, limit := c.Server.Limits.MessageBytes, c.Broker.MaxPayload; limit > 0 && n+1024 > limit {
		s.failAt("server.limits.message_bytes", fmt.Sprintf("server.limits.message_bytes: %d bytes and their headers do not fit in broker.max_payload = %d; raise that", n, limit))
	}
	if n, p := c.Server.Limits.MessageBytes, c.Server.Limits.PendingBytes; n > 0 && p > 0 && n > p {
		s.failAt("server.limits.pending_bytes", fmt.Sprintf("server.limits.pending_bytes: %d is less than server.limits.message_bytes = %d: one message would make its reader a slow conn", p, n))
	}
}

// locate makes paths that are relative to config.toml known to the verifiers that read them.
func (s *Settings) locate() {
	base := ""
	if s.Input.Path != "" {
		base = filepath.Dir(s.Input.Path)
	}
	s.Config.Authn.JWT.BaseDir = base
	for name, issuer := range s.Config.Authn.JWT.Issuers {
		issuer.BaseDir = base
		s.Config.Authn.JWT.Issuers[name] = issuer
	}
	s.Config.Authn.Django.BaseDir = base
	s.Config.Authn.Webhook.BaseDir = base
	for name, site := range s.Config.Authn.Django.Sites {
		site.BaseDir = base
		s.Config.Authn.Django.Sites[name] = site
	}
}
