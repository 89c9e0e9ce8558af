package config

import (
	"slices"
	"strings"
	"testing"
)

func TestChecksAcrossSections(t *testing.T) {
	django := "session_key = \"" + key(1) + "\"\nhash_key = \"" + key(2) + "\"\ndatabase = \"sqlite:///srv/db\"\n"
	rule := "[[grants]]\nto = \"staff\"\nsql = \"SELECT a FROM t WHERE id = {id}\"\ndeny = [\"a\"]\n"
	tests := map[string]struct {
		text    string
		want    string // part of the error; "" = it works
		warning string // part of a warning
	}{
		"nothing configured":             {"", "nobody could log in", ""},
		"nothing but nobodies":           {"[authn]\nanonymous = true", "", "there are no [[grants]]"},
		"the default chain":              {works, "", ""},
		"unconfigured verifier":          {works + "[authn]\nchain = [\"jwt\", \"django\"]", `authn.chain: "django" is not configured`, ""},
		"tokens without sessions":        {"[authn]\nchain = [\"token\"]\n[authn.django]\ndatabase = \"sqlite:///srv/db\"\n[authn.token]\nkinds = [\"drf\"]", "", ""},
		"tokens without a database":      {"[authn]\nchain = [\"token\"]\n[authn.token]\nkinds = [\"drf\"]", "authn.django.database is missing", ""},
		"tokens of no kind":              {works + "[authn]\nchain = [\"jwt\", \"token\"]", "set authn.token.kinds", ""},
		"tokens of a site":               {"[authn]\nchain = [\"token:shop\"]\n[authn.django.sites.shop]\ndatabase = \"sqlite:///srv/db\"\n[authn.token.sites.shop]\nkinds = [\"knox\"]", "", ""},
		"tokens of no site":              {"[authn]\nchain = [\"token:shop\"]\n[authn.token.sites.shop]\nkinds = [\"knox\"]", "[authn.django.sites.shop], which is not there", ""},
		"a site's bad options":           {works + "[authn.token.sites.shop]\nkinds = [\"x\"]", `authn.token.sites.shop.kinds has "x"`, ""},
		"a site of a bad verifier":       {works + "[authn]\nchain = [\"tokn:shop\"]", `no verifier is called "tokn:shop"; did you mean "token"?`, ""},
		"tokens beside sessions":         {"[authn]\nchain = [\"django\", \"token\"]\n[authn.token]\nkinds = [\"drf\"]\n[authn.django]\n" + django, "", ""},
		"tickets with the key alone":     {"[authn]\nchain = [\"ticket\"]\n[authn.django]\nticket_key = \"" + key(3) + "\"", "", ""},
		"tickets without a key":          {works + "[authn]\nchain = [\"jwt\", \"ticket\"]", "set authn.ticket.key, or ticket_key of [authn.django]", ""},
		"tickets of a site":              {"[authn]\nchain = [\"ticket:shop\"]\n[authn.django.sites.shop]\nticket_key = \"" + key(3) + "\"\nsession_key = \"" + key(1) + "\"\nhash_key = \"" + key(2) + "\"\ndatabase = \"sqlite:///srv/db\"", "", ""},
		"webhook":                        {"[authn]\nchain = [\"webhook\"]\n[authn.webhook]\nurl = \"http://10.0.0.1/who\"\nsecret = \"0123456789abcdef\"", "", "in plain HTTP"},
		"webhook without a secret":       {"[authn]\nchain = [\"webhook\"]\n[authn.webhook]\nurl = \"http://127.0.0.1:8000/who\"", "", "authn.webhook.secret is empty"},
		"webhook's placeholder":          {"[authn]\nchain = [\"webhook\"]\n[authn.webhook]\nurl = \"https://a/who\"\nsecret = \"changeme-changeme\"", "authn.webhook.secret: this is a placeholder", ""},
		"header":                         {"[server]\ntrusted_proxies = [\"10.0.0.1\"]\n[authn]\nchain = [\"header\"]\ncarriers = [\"proxy\"]\n[authn.header]\nuser = \"X-User\"", "", ""},
		"header of anybody":              {"[authn]\nchain = [\"header\"]\ncarriers = [\"proxy\"]\n[authn.header]\nuser = \"X-User\"", "server.trusted_proxies is empty", ""},
		"header by no carrier":           {"[server]\ntrusted_proxies = [\"10.0.0.1\"]\n[authn]\nchain = [\"header\"]\n[authn.header]\nuser = \"X-User\"", `add "proxy"`, ""},
		"a carrier of no verifier":       {works + "[authn]\nchain = [\"jwt\"]\ncarriers = [\"header\", \"certificate\"]", `is read by the verifier "mtls" alone`, ""},
		"certificates of nobody":         {"[authn]\nchain = [\"mtls\"]\ncarriers = [\"certificate\"]\n[authn.mtls]\nuser = \"cn\"", "server.tls.client_ca is empty", ""},
		"unknown verifier":               {works + "[authn]\nchain = [\"jtw\"]", `no verifier is called "jtw"; did you mean "jwt"?`, ""},
		"unknown site":                   {works + "[authn]\nchain = [\"django:shop\"]", `"django:shop" needs the section [authn.django.sites.shop]`, ""},
		"dev without the flag":           {works + "[authn]\nchain = [\"dev\"]", `works with the flag -dev only`, ""},
		"configured but not asked":       {works + "[authn]\nchain = [\"django\"]\n[authn.django]\n" + django, "", `"jwt" is configured but not in the chain`},
		"ids that may meet":              {works + "[authn.django]\n" + django, "", "django and jwt give the same ids"},
		"ids apart":                      {works + "user_prefix = \"j:\"\n[authn.django]\n" + django, "", ""},
		"django without cookies":         {"[authn]\ncarriers = [\"header\"]\n[authn.django]\n" + django, `"django" reads a cookie`, ""},
		"jwt with cookies only":          {works + "[authn]\ncarriers = [\"cookie\"]", `"jwt" reads a token`, ""},
		"jwt in a cookie":                {works + "cookie_name = \"jwt\"\n[authn]\ncarriers = [\"cookie\"]", "", ""},
		"every origin with cookies":      {works + "[server]\norigins = [\"*\"]", "", "lets every web page use the cookies"},
		"origin that is none":            {works + "[server]\norigins = [\"https://a b\"]", "server.origins: ", ""},
		"open admin without keys":        {works + "[admin]\nlisten = \"0.0.0.0:8081\"", "there is no key", ""},
		"open admin with keys":           {works + "[admin]\nlisten = \"0.0.0.0:8081\"\n[[admin.keys]]\nkey = \"0123456789abcdef\"\nrole = \"read\"", "", "plain HTTP"},
		"open server without TLS":        {works + "[server]\nlisten = \":8080\"", "", "without TLS"},
		"open broker without TLS":        {works + "[broker]\nlisten = \"0.0.0.0:4222\"", "broker.listen", ""},
		"open cluster without TLS":       {works + "[broker.cluster]\nlisten = \"0.0.0.0:6222\"\ntoken = \"0123456789abcdef\"", "", "in plain text"},
		"two listeners, one port":        {works + "[admin]\nlisten = \"127.0.0.1:8080\"", "port 8080 is taken by server.listen", ""},
		"placeholder key":                {works + "[[admin.keys]]\nkey = \"changeme-changeme\"\nrole = \"read\"", "admin.keys[0].key: this is a placeholder", ""},
		"one letter again and again":     {works + "[[admin.keys]]\nkey = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\nrole = \"read\"", "admin.keys[0].key: this is a placeholder", ""},
		"a word with digits":             {works + "[[broker.services]]\nname = \"app\"\ntoken = \"password1234567890\"", "broker.services[0].token: this is a placeholder", ""},
		"token of a README":              {works + "[[broker.services]]\nname = \"django\"\ntoken = \"a long random text\"", "broker.services[0].token: this is a placeholder", ""},
		"key of the golden file":         {works + "[[admin.keys]]\nkey = \"from-openssl-rand-hex-32\"\nrole = \"read\"", "admin.keys[0].key: this is a placeholder", ""},
		"short key":                      {works + "[[admin.keys]]\nkey = \"hunter2\"\nrole = \"read\"", "", "easy to guess"},
		"messages beyond the broker's":   {works + "[server.limits]\nmessage_bytes = 4194304\npending_bytes = 0", "do not fit in broker.max_payload", ""},
		"messages beyond what may wait":  {works + "[server.limits]\npending_bytes = 1000", "one message would make its reader a slow conn", ""},
		"half messages without room":     {works + "[server.limits]\npartial_bytes = 100000", "may not hold even one message; use message_bytes + 65536 = 131072", ""},
		"a site with the first's cookie": {"[authn.django]\n" + django + "[authn.django.sites.a]\n" + django, "", `django and django:a read the same cookie "sessionid"`},
		"two sites, one cookie": {works + "[authn.django.sites.a]\n" + django + "[authn.django.sites.b]\n" + django, "",
			`django:a and django:b read the same cookie "sessionid"`},
		"two issuers":            {"[authn]\nchain = [\"jwt:a\", \"jwt:b\"]\n" + issuer("a", "https://a") + issuer("b", ""), "", "jwt:a and jwt:b give the same ids"},
		"an issuer and the rest": {works + "[authn]\nchain = [\"jwt:a\", \"jwt\"]\n" + issuer("a", "https://a"), "", ""},
		"the rest before an issuer": {works + "[authn]\nchain = [\"jwt\", \"jwt:a\"]\n" + issuer("a", "https://a"),
			`authn.jwt.issuer is empty, so "jwt" would take the tokens of "jwt:a" too`, ""},
		"two of one issuer": {"[authn]\nchain = [\"jwt:a\", \"jwt:b\"]\n" + issuer("a", "https://a") + issuer("b", "https://a"),
			`authn.jwt.issuers.b.issuer: "jwt:a" has the same one`, ""},
		"unknown issuer":              {works + "[authn]\nchain = [\"jwt:shop\"]", `"jwt:shop" needs the section [authn.jwt.issuers.shop]`, ""},
		"an issuer without keys":      {"[authn]\nchain = [\"jwt:a\"]\n[authn.jwt.issuers.a]\nissuer = \"https://a\"", "authn.jwt.issuers.a.secret is empty", ""},
		"an issuer's mistake":         {"[authn]\nchain = [\"jwt:a\"]\n" + issuer("a", "") + "leeway = \"2h\"", "config.toml:6: authn.jwt.issuers.a.leeway", ""},
		"an issuer nobody asks":       {works + issuer("a", "https://a"), "", `"jwt:a" is configured but not in the chain`},
		"an issuer with cookies only": {"[authn]\nchain = [\"jwt:a\"]\ncarriers = [\"cookie\"]\n" + issuer("a", ""), `"jwt:a" reads a token`, ""},
		"a public key that is none":   {"[authn.jwt]\npublic_key = \"nowhere.pem\"", "config.toml:2: authn.jwt.public_key: ", ""},
		"keys from an address":        {"[authn.jwt]\njwks = \"https://id.example.com/jwks.json\"", "", ""},
		"sql without a database":      {works + rule, "config.toml:5: grants[0].sql: set authn.django.database", ""},
		"sql of no site":              {works + rule + "site = \"shp\"\n[authn.django.sites.shop]\n" + django, `grants[0].site: there is no [authn.django.sites.shp]; did you mean "shop"?`, ""},
		"sql that is no SELECT":       {works + "[[grants]]\nto = \"staff\"\nsql = \"DELETE FROM t WHERE id = {id}\"\ndeny = [\"a\"]", "config.toml:5: grants[0].sql: want one SELECT", ""},
		"sql with users, no sessions": {"[authn]\nchain = [\"jwt\"]\n" + works + "[authn.django]\ndatabase = \"sqlite://db.sqlite3\"\n" + rule, "", ""},
		"users of tokens":             {"[authn]\nchain = [\"jwt\"]\n" + works + "users = \"django\"\n[authn.django]\ndatabase = \"sqlite://db.sqlite3\"", "", ""},
		"users without a database":    {"[authn]\nchain = [\"jwt\"]\n" + works + "users = \"django\"", "authn.django.database is missing", ""},
		"users of a site":             {"[authn]\nchain = [\"jwt:a\"]\n" + issuer("a", "") + "users = \"django:shop\"\n[authn.django.sites.shop]\ndatabase = \"sqlite://db.sqlite3\"", "", ""},
		"users of no site":            {"[authn]\nchain = [\"jwt:a\"]\n" + issuer("a", "") + "users = \"django:shp\"\n[authn.django.sites.shop]\ndatabase = \"sqlite://db.sqlite3\"", `config.toml:6: authn.jwt.issuers.a.users: there is no [authn.django.sites.shp]; did you mean "shop"?`, ""},
		"users of nothing known":      {"[authn]\nchain = [\"jwt\"]\n" + works + "users = \"shop\"", `authn.jwt.users = "shop" is no site; want "django"`, ""},
		"users beside sessions":       {works + "users = \"django\"\n[authn.django]\n" + django, "", ""},
		"users with another prefix":   {works + "users = \"django\"\nuser_prefix = \"j:\"\n[authn.django]\n" + django, "authn.jwt.user_prefix: with users it is that of the site", ""},
		"a password of nobody":        {works + "revoke_token_claim = \"hash_password\"", "authn.jwt.revoke_token_claim is compared with the password of a user", ""},
		"a site's mistake":            {works + "[authn.django.sites.a]\nengine = \"redis\"\n" + django, "authn.django.sites.a.engine", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := Load(Input{Path: write(t, tt.text)})
			switch {
			case tt.want == "" && err != nil:
				t.Fatalf("Load: %v, want it to work", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("Load: %v, want %q", err, tt.want)
			case tt.warning != "" && !slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, tt.warning) }):
				t.Errorf("warnings %q, want %q", s.Warnings, tt.warning)
			}
		})
	}
}

// Sessions and tokens of one site are the same people, so that their ids meet is no reason to warn.
func TestTheUsersOfTokensAreThoseOfTheirSite(t *testing.T) {
	s := load(t, works+"users = \"django\"\n[authn.django]\nsession_key = \""+key(1)+"\"\nhash_key = \""+key(2)+"\"\ndatabase = \"sqlite:///srv/db\"\nuser_prefix = \"shop-\"\n")
	if i := slices.IndexFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "the same ids") }); i >= 0 {
		t.Errorf("warning: %s", s.Warnings[i])
	}
	o, _ := s.Config.Authn.Issuer("jwt")
	if o.Site.Database != "sqlite:///srv/db" || o.Site.UserPrefix != "shop-" {
		t.Errorf("the site of the tokens is %q with prefix %q", o.Site.Database, o.Site.UserPrefix)
	}
}

// A site whose sessions nobody reads has a cookie name all the same, the default.
func TestASiteOfUsersAloneReadsNoCookie(t *testing.T) {
	django := "[authn.django]\nsession_key = \"" + key(1) + "\"\nhash_key = \"" + key(2) + "\"\ndatabase = \"sqlite:///srv/db\"\n"
	s := load(t, works+"users = \"django:shop\"\n[authn]\nchain = [\"django\", \"jwt\"]\n"+django+"[authn.django.sites.shop]\ndatabase = \"sqlite:///srv/shop\"\nuser_prefix = \"shop-\"\n")
	if i := slices.IndexFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "the same cookie") }); i >= 0 {
		t.Errorf("warning: %s", s.Warnings[i])
	}
}

func TestTheDefaultChainLeavesOutWhatIsNotConfigured(t *testing.T) {
	s := load(t, works)
	if got := s.Config.Authn.Chain; !slices.Equal(got, []string{"jwt"}) {
		t.Errorf("chain = %v, want [jwt]", got)
	}
}

func TestDev(t *testing.T) {
	s, err := Load(Input{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Config.Authn.Chain; !slices.Equal(got, []string{"dev"}) {
		t.Errorf("chain = %v, want [dev]", got)
	}
	if len(s.Config.Grants) == 0 {
		t.Error("no grants for the demo")
	}
	if s, err = Load(Input{Path: write(t, works+"[[grants]]\nto = \"staff\"\n"), Dev: true}); err != nil {
		t.Fatal(err)
	}
	if got := s.Config.Authn.Chain; !slices.Equal(got, []string{"jwt", "dev"}) || len(s.Config.Grants) != 1 {
		t.Errorf("chain = %v with %d grants, want what is configured, then dev, and the grants of the file", got, len(s.Config.Grants))
	}
	for _, listen := range []string{"0.0.0.0:8080", ":8080", "192.168.1.2:8080", "[::]:8080", "example.com:8080"} {
		if _, err := Load(Input{Dev: true, Set: []string{"server.listen=" + listen}}); err == nil || !strings.Contains(err.Error(), "-dev lets anybody in") {
			t.Errorf("-dev on %s: %v, want a refusal", listen, err)
		}
	}
	if _, err := Load(Input{Dev: true, Set: []string{"admin.listen=0.0.0.0:1"}}); err == nil {
		t.Error("-dev with an open admin listener works, want a refusal")
	}
	for _, listen := range []string{"localhost:8080", "[::1]:8080", "127.0.0.2:0"} {
		if _, err := Load(Input{Dev: true, Set: []string{"server.listen=" + listen}}); err != nil {
			t.Errorf("-dev on %s: %v", listen, err)
		}
	}
}

// A key that holds a secret is hidden by config print, has a _file twin, and shows itself in no error.
func TestKeysThatSoundSecretAreSecret(t *testing.T) {
	harmless := map[string]bool{
		"server.tls.key": true, "broker.tls.key": true, // paths
		"authn.django.session_table": true, "authn.jwt.public_key": true, "authn.django.user_foreign_key": true,
	}
	for _, section := range Sections() {
		for _, k := range section.Keys {
			name := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
			sounds := name == "database" || slices.ContainsFunc([]string{"secret", "token", "password", "key"}, func(word string) bool { return name == word || strings.HasSuffix(name, "_"+word) })
			if sounds && !k.Secret && !harmless[plainSite(k.Path)] {
				t.Errorf("%s sounds like a secret and is shown; tag it secret, or name it here", k.Path)
			}
		}
	}
}

// plainSite is the path of a key without the site in it.
func plainSite(path string) string {
	return strings.NewReplacer(".sites.NAME", "", ".issuers.NAME", "").Replace(path)
}

// issuer is a section of a further issuer of tokens.
func issuer(name, iss string) string {
	return "[authn.jwt.issuers." + name + "]\nsecret = \"0123456789abcdef0123456789abcdef\"\nissuer = \"" + iss + "\"\n"
}
