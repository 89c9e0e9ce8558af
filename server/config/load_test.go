package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLaterSourcesWin(t *testing.T) {
	path := write(t, works+"[server]\nping = \"10s\"\nloops = 2\npath = \"/file\"\n")
	s, err := Load(Input{
		Path:    path,
		Environ: []string{"GATECAST_SERVER_LOOPS=3", "GATECAST_SERVER_PATH=/env", "HOME=/root"},
		Set:     []string{"server.path=/flag"},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := s.Config.Server
	if o.Ping != 10*time.Second || o.Loops != 3 || o.Path != "/flag" || o.Mode != "auto" {
		t.Errorf("ping %v, loops %d, path %q, mode %q; want 10s of the file, 3 of the environment, /flag of the flag, auto of the defaults", o.Ping, o.Loops, o.Path, o.Mode)
	}
	for key, want := range map[string]string{
		"server.ping":  path + ":4",
		"server.loops": "env GATECAST_SERVER_LOOPS",
		"server.path":  "-set server.path",
		"server.mode":  "default",
	} {
		if got := s.Origin(key).String(); got != want {
			t.Errorf("Origin(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestEnvironmentReachesEveryKindOfKey(t *testing.T) {
	s := load(t, works+`
[[admin.keys]]
key = "from-the-file-0123456789"
role = "read"
[authn.django.sites.my-shop]
session_key = "`+key(1)+`"
hash_key = "`+key(2)+`"
database = "sqlite://db.sqlite3"
`,
		"GATECAST_SERVER_ORIGINS=https://a.example, .b.example",
		"GATECAST_SERVER_LIMITS_CONNS_PER_USER=7",
		"GATECAST_AUTHN_ANONYMOUS=true",
		"GATECAST_ADMIN_KEYS_0_ROLE=admin",
		"GATECAST_ADMIN_KEYS_1_KEY=second-0123456789abcdef",
		"GATECAST_ADMIN_KEYS_1_ROLE=publish",
		"GATECAST_AUTHN_DJANGO_SITES_MY_SHOP_COOKIE_NAME=shopid",
		"GATECAST_AUTHN_DJANGO_SITES_OTHER_DATABASE=postgres://u:p@h/d",
		"GATECAST_AUTHN_DJANGO_SITES_OTHER_SESSION_KEY="+key(3),
		"GATECAST_AUTHN_DJANGO_SITES_OTHER_HASH_KEY="+key(4),
		"GATECAST_TEST_ANYTHING=1", "GATECAST_SERVICE_HOST=10.0.0.1", "GATECAST_PORT_8080_TCP=tcp://10.0.0.1:8080",
	)
	c := s.Config
	if !slices.Equal(c.Server.Origins, []string{"https://a.example", ".b.example"}) {
		t.Errorf("origins = %q", c.Server.Origins)
	}
	if c.Server.Limits.ConnsPerUser != 7 || !c.Authn.Anonymous {
		t.Errorf("conns_per_user = %d, anonymous = %v", c.Server.Limits.ConnsPerUser, c.Authn.Anonymous)
	}
	if k := c.Admin.Keys; len(k) != 2 || k[0].Role != "admin" || k[0].Key != "from-the-file-0123456789" || k[1].Role != "publish" {
		t.Errorf("admin.keys = %+v", k)
	}
	if site := c.Authn.Django.Sites["my-shop"]; site.CookieName != "shopid" || site.UserTable != "auth_user" {
		t.Errorf("my-shop: cookie_name = %q, user_table = %q", site.CookieName, site.UserTable)
	}
	if site := c.Authn.Django.Sites["other"]; site.Database != "postgres://u:p@h/d" || site.Engine != "db" {
		t.Errorf("other: engine = %q", site.Engine)
	}
}

// key is a well-formed derived key.
func key(n byte) string { return strings.Repeat(string('0'+n), 63) + "f" }

func TestMistakesNameTheirPlace(t *testing.T) {
	tests := map[string]struct {
		text string
		env  []string
		set  []string
		want []string
	}{
		"unknown section":            {text: "[brokr]\nlisten = \"x\"", want: []string{`config.toml:1: unknown key "brokr"; did you mean "broker"?`}},
		"unknown key":                {text: "[server]\n\nlissten = \"x\"", want: []string{`config.toml:3: unknown key "server.lissten"; did you mean "listen"?`}},
		"key of another section":     {text: "[server]\nuser_interest = \"exact\"", want: []string{`config.toml:2: unknown key "server.user_interest"; user_interest belongs to [broker]`}},
		"unknown key in a list":      {text: "[[grants]]\nto = \"staff\"\n[[grants]]\nto = \"staff\"\nsubscribes = []", want: []string{`config.toml:5: unknown key "grants[1].subscribes"; did you mean "subscribe"?`}},
		"unknown key in inline list": {text: "grants = [\n {to = \"staff\"},\n {two = \"staff\"}]", want: []string{`config.toml:3: unknown key "grants[1].two"`}},
		"string for integer":         {text: "[server]\nloops = \"2\"", want: []string{`config.toml:2: server.loops: want an integer, got the string "2"`}},
		"integer for duration":       {text: "[server]\nping = 25", want: []string{`config.toml:2: server.ping: want a duration like "25s", got the integer 25; write "25s" for seconds`}},
		"bad duration":               {text: "[server]\nping = \"soon\"", want: []string{`config.toml:2: server.ping: want a duration like "25s", got "soon"`}},
		"string for list":            {text: "[server]\norigins = \"a\"", want: []string{`config.toml:2: server.origins: want a list of strings, got the string "a"; write ["a"]`}},
		"number in list":             {text: "[server]\norigins = [\"a\", 1]", want: []string{`config.toml:2: server.origins: item 2: want a string, got the integer 1`}},
		"value for table":            {text: "server = 1", want: []string{`config.toml:1: server: want a table, got the integer 1`}},
		"table for list of tables":   {text: "[grants]\nto = \"staff\"", want: []string{`config.toml:1: grants: want an array of tables, got a table`}},
		"value for site":             {text: "[authn.django.sites]\nshop = 1", want: []string{`config.toml:2: authn.django.sites.shop: want a table [authn.django.sites.NAME], got the integer 1`}},
		"not TOML":                   {text: "[server]\nlisten = ", want: []string{`config.toml:2: not valid TOML`}},
		"key twice":                  {text: "[server]\nloops = 1\nloops = 2", want: []string{`config.toml:3: not valid TOML`}},
		"too large":                  {text: "[server]\nloops = 99999999999999999999", want: []string{`config.toml:2: not valid TOML`}},
		"several at once": {text: "[server]\nloops = -1\nmode = \"fast\"\n[log]\nlevel = \"loud\"", want: []string{
			"config.toml:2: server.loops: ", "config.toml:3: server.mode: ", `config.toml:5: log.level: "loud" is unknown`}},
		"impossible in a list":   {text: "[[admin.keys]]\nkey = \"0123456789abcdef\"\nrole = \"boss\"", want: []string{`config.toml:`, `boss`}},
		"impossible grant":       {text: "[[grants]]\nto = \"staff\"\n[[grants]]\nto = \"nobody\"", want: []string{`config.toml:`, `grants[1]`, `nobody`}},
		"impossible by variable": {env: []string{"GATECAST_SERVER_MODE=fast"}, want: []string{`GATECAST_SERVER_MODE: server.mode: "fast"`}},
		"a section twice":        {text: "[authn]\nanonymous = true\n[log]\n[authn]\nchain = []", want: []string{"config.toml:4: not valid TOML: ", "a section stands once: put all its keys below one heading"}},
		"a key twice":            {text: "[log]\nlevel = \"info\"\nlevel = \"warn\"", want: []string{"config.toml:3: not valid TOML: ", "keep one of them"}},
		"a table for a list":     {text: "[[grants]]\nto = \"staff\"\n[grants]\nto = \"staff\"", want: []string{"config.toml:3: not valid TOML: ", "[[…]]"}},
		"no quotes":              {text: "[log]\nlevel = warn", want: []string{"config.toml:2: not valid TOML: ", `a text needs quotes: "…"`}},
		"unknown variable":       {env: []string{"GATECAST_SERVER_LISTN=x"}, want: []string{`GATECAST_SERVER_LISTN: unknown setting; did you mean "GATECAST_SERVER_LISTEN"?`}},
		"variable of others":     {env: []string{"GATECAST_XYZZY=x"}, want: []string{"GATECAST_XYZZY: unknown setting; rename the variable if it is for another program"}},
		"bad variable":           {env: []string{"GATECAST_SERVER_LOOPS=two"}, want: []string{`GATECAST_SERVER_LOOPS: server.loops: want an integer, got "two"`}},
		"variable beyond a list": {env: []string{"GATECAST_ADMIN_KEYS_3_KEY=x"}, want: []string{`GATECAST_ADMIN_KEYS_3_KEY: admin.keys has 0 entries, so the next one is number 0`}},
		"unknown flag key":       {set: []string{"server.lissen=x"}, want: []string{`-set server.lissen: unknown setting; did you mean "server.listen"?`}},
		"flag without value":     {set: []string{"server.listen"}, want: []string{`write -set section.key=value`}},
		"secret and its file":    {text: "[broker.cluster]\ntoken = \"a\"\ntoken_file = \"config.toml\"", want: []string{`config.toml:3: broker.cluster.token_file: broker.cluster.token is set too`}},
		"file and its secret":    {text: "[broker.cluster]\ntoken_file = \"config.toml\"\ntoken = \"a\"", want: []string{`config.toml:3: broker.cluster.token: broker.cluster.token_file is set too`}},
		"no such secret file":    {text: "[broker.cluster]\ntoken_file = \"nowhere\"", want: []string{`config.toml:2: broker.cluster.token_file: open `, `nowhere: no such file`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Input{Path: write(t, tt.text), Environ: tt.env, Set: tt.set})
			if err == nil {
				t.Fatal("Load accepts it")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Load: %v\nwant %s", err, want)
				}
			}
		})
	}
	if _, err := Load(Input{Path: "/nowhere/config.toml"}); err == nil || !strings.Contains(err.Error(), "gatecast config init") {
		t.Errorf("Load of a missing file: %v, want how to write one", err)
	}
}

func TestSecretsMayStandInFiles(t *testing.T) {
	path := write(t, "[authn.jwt]\nsecret_file = \"jwt.key\"\nsecret = \"\"\n[[admin.keys]]\nkey_file = \"admin.key\"\nrole = \"admin\"\n")
	dir := filepath.Dir(path)
	for name, mode := range map[string]os.FileMode{"jwt.key": 0o600, "admin.key": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("0123456789abcdef-"+name+"\r\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Load(Input{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Config.Authn.JWT.Secret; got != "0123456789abcdef-jwt.key" {
		t.Errorf("authn.jwt.secret = %q", got)
	}
	if got := s.Config.Admin.Keys[0].Key; got != "0123456789abcdef-admin.key" {
		t.Errorf("admin.keys[0].key = %q", got)
	}
	if got := s.Origin("authn.jwt.secret").String(); !strings.HasSuffix(got, "config.toml:2 (from a file)") {
		t.Errorf("origin of the secret = %q", got)
	}
	readable := func(w string) bool { return strings.Contains(w, "admin.key; chmod 640 it") }
	if !slices.ContainsFunc(s.Warnings, readable) || slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "jwt.key") }) {
		t.Errorf("warnings = %q, want one about admin.key, which everyone can read", s.Warnings)
	}
	// A variable wins over the file's twin, and a twin in a variable over the file's secret.
	if s, err = Load(Input{Path: path, Environ: []string{"GATECAST_AUTHN_JWT_SECRET=of-the-environment-01234"}}); err != nil {
		t.Fatal(err)
	}
	if got := s.Config.Authn.JWT.Secret; got != "of-the-environment-01234" {
		t.Errorf("authn.jwt.secret = %q, want that of the environment", got)
	}
	if s, err = Load(Input{Path: write(t, works), Environ: []string{"GATECAST_AUTHN_JWT_SECRET_FILE=" + filepath.Join(dir, "jwt.key")}}); err != nil {
		t.Fatal(err)
	}
	if got := s.Config.Authn.JWT.Secret; got != "0123456789abcdef-jwt.key" {
		t.Errorf("authn.jwt.secret = %q, want that of the variable's file", got)
	}
}

// Commands that do not check the config, such as token check, read the files that it names where the node does.
func TestPathsAreRelativeToTheConfig(t *testing.T) {
	path := write(t, works+"users = \"django:shop\"\n[authn.django.sites.shop]\ndatabase = \"sqlite://db.sqlite3\"\n")
	s, err := Read(Input{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	o, _ := s.Config.Authn.Issuer("jwt")
	if want := filepath.Dir(path); o.BaseDir != want || o.Site.BaseDir != want || s.Config.Authn.Webhook.BaseDir != want {
		t.Errorf("files are looked for in %q, %q and %q, want %q", o.BaseDir, o.Site.BaseDir, s.Config.Authn.Webhook.BaseDir, want)
	}
}

func TestPrintHidesSecrets(t *testing.T) {
	s := load(t, works+"[[admin.keys]]\nkey = \"hush-hush-0123456789\"\nrole = \"read\"\n[authn.webhook]\nurl = \"https://app.example/who?key=query-secret&x=1\"\n",
		"GATECAST_BROKER_CLUSTER_TOKEN=also-secret-0123456789")
	var b strings.Builder
	if err := s.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hush-hush", "0123456789abcdef", "also-secret", "query-secret"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("Print shows %q", secret)
		}
	}
	for _, want := range []string{"admin.keys[0].key ", "(set, hidden)", `"https://app.example/who?(hidden)"`, "# env GATECAST_BROKER_CLUSTER_TOKEN", "# default"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("Print lacks %q:\n%s", want, b.String())
		}
	}
}

func TestVariablesAreUnique(t *testing.T) {
	seen := map[string]string{}
	for _, p := range keyPaths(reflect.TypeFor[Config](), "") {
		if other, ok := seen[EnvName(p)]; ok {
			t.Errorf("%s and %s have one variable %s", p, other, EnvName(p))
		}
		if isExempt(EnvName(p)) {
			t.Errorf("%s of %s is exempt and would be passed over", EnvName(p), p)
		}
		seen[EnvName(p)] = p
	}
}

func TestEverySettingHasAShape(t *testing.T) {
	for _, typ := range settingTypes() {
		for _, f := range fieldsOf(typ) {
			if shapeOf(f.typ) == unknown {
				t.Errorf("%s has type %v, which no TOML value fits", f.goName, f.typ)
			}
		}
	}
}

func TestEveryFieldOfOptionsIsASetting(t *testing.T) {
	for _, typ := range settingTypes() {
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() && !f.Anonymous && f.Tag.Get("toml") == "" {
				t.Errorf("%v.%s has no toml tag; give it a key, or \"-\" if it is no setting", typ, f.Name)
			}
		}
	}
}
