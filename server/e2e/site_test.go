package e2e

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// site is the Django project of django/, running on one release and one database.
type site struct {
	t      testing.TB
	opts   siteOptions
	python string
	env    []string
	addr   string
	log    *logs
	people *orders // the command that makes and changes users
}

type siteOptions struct {
	release    release
	postgres   *pgtest.Server    // nil = SQLite, or mariadb
	mariadb    *servertest.Maria // nil = SQLite, or postgres
	engine     string            // of sessions; "" = db
	serializer string            // the class of SESSION_SERIALIZER; "" = Django's own choice
	cache      string            // CACHES["default"] as JSON; "" = Django's own choice
	customUser bool
	atomic     bool // ATOMIC_REQUESTS
	secret     string
	fallbacks  string // comma-separated
	cookie     string // SESSION_COOKIE_NAME; "" = sessionid
	tokens     string // TOKEN_PREFIX of knox, "-" = none; "" = neither DRF nor knox
	nats       string // "nats://host:port" of the node whose ingress the views use
	database   string // as newDatabase gave it; "" = one of the site's own
	prefix     string // user_prefix of its users
	apps       string // third-party logins, comma-separated: allauth, otp, jwt
	jwt        string // more of SIMPLE_JWT, as JSON
	served     bool   // the command site takes the place of people: it serves the pages too, so serve is not to be called
}

const (
	siteSecret = "e2e-site-secret-key-0123456789-0123456789-0123456789"
	siteJWTKey = "e2e-site-jwt-key-0123456789-0123456789-0123456789" // SIGNING_KEY of SimpleJWT
)

// newSite migrates a fresh database and starts the people command; serve starts the web server.
func newSite(t testing.TB, o siteOptions) *site {
	t.Helper()
	s := plan(t, o)
	if o.database == "" {
		s.manage("migrate", "-v0")
	}
	if strings.Contains(o.cache, "DatabaseCache") {
		s.manage("createcachetable")
	}
	if o.served {
		s.people = startOrders(t, s.command("manage.py", "site", s.addr))
		s.log = s.people.log
		t.Cleanup(s.lastLines)
	} else {
		s.people = startOrders(t, s.command("manage.py", "people"))
	}
	return s
}

// newDatabase migrates a fresh database for several sites of the same release, users and apps.
func newDatabase(t testing.TB, o siteOptions) string {
	t.Helper()
	o.database = databaseOf(t, &o)
	plan(t, o).manage("migrate", "-v0")
	return o.database
}

// databaseOf makes an empty database and says where it is, in the site's own words.
func databaseOf(t testing.TB, o *siteOptions) string {
	t.Helper()
	if o.mariadb != nil {
		host, port, _ := net.SplitHostPort(o.mariadb.Addr)
		return "SITE_MARIADB=" + strings.Join([]string{host, port, o.mariadb.CreateDatabase(t), "root"}, ",")
	}
	if o.postgres != nil {
		return fmt.Sprintf("SITE_POSTGRES=127.0.0.1,%d,%s,postgres,none", o.postgres.Port, o.postgres.CreateDatabase(t))
	}
	return "SITE_SQLITE=" + filepath.Join(scratch(t), "site.sqlite3")
}

// plan is a site of which nothing runs yet.
func plan(t testing.TB, o siteOptions) *site {
	t.Helper()
	o.secret, o.engine = cmp.Or(o.secret, siteSecret), cmp.Or(o.engine, "db")
	s := &site{t: t, opts: o, python: venvPython(t, o.release), addr: freeAddr(t), log: newLogs()}
	s.env = []string{
		"SITE_SECRET_KEY=" + o.secret,
		"SITE_FALLBACKS=" + o.fallbacks,
		"SITE_ENGINE=" + o.engine,
		"SITE_SERIALIZER=" + o.serializer,
		"SITE_CACHE=" + o.cache,
		"SITE_SESSION_FILES=" + scratch(t),
		"SITE_NATS=" + o.nats,
		"SITE_NATS_TOKEN=" + serviceToken,
		"SITE_COOKIE=" + cmp.Or(o.cookie, "sessionid"),
		"SITE_PREFIX=" + o.prefix,
		"SITE_APPS=" + o.apps,
		"SITE_JWT_KEY=" + siteJWTKey,
		"SITE_JWT=" + o.jwt,
		"DJANGO_SETTINGS_MODULE=project.settings",
	}
	if o.customUser {
		s.env = append(s.env, "SITE_CUSTOM_USER=1")
	}
	if o.atomic {
		s.env = append(s.env, "SITE_ATOMIC=1")
	}
	if o.tokens != "" {
		s.env = append(s.env, "SITE_TOKENS="+o.tokens)
	}
	if o.database == "" {
		o.database = databaseOf(t, &o)
	}
	s.env = append(s.env, o.database)
	return s
}

// command is a Python program in the project's folder.
func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.python, args...)
	cmd.Dir = filepath.Join(repoRoot(), "server/e2e/django")
	cmd.Env = pythonEnv(s.env...)
	return cmd
}

// manage runs a management command to its end and returns what it printed.
func (s *site) manage(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	base := s.command(append([]string{"manage.py"}, args...)...)
	cmd := exec.CommandContext(ctx, base.Path, base.Args[1:]...)
	cmd.Dir, cmd.Env = base.Dir, base.Env
	var errOut logs
	errOut.grown = make(chan struct{})
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("manage.py %v: %v\n%s\n%s", args, err, out, errOut.String())
	}
	return string(out)
}

// serve starts the site's web server, Django's own, and waits until it answers.
func (s *site) serve() {
	s.t.Helper()
	cmd := s.command("manage.py", "runserver", "--noreload", s.addr)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		timer.Stop()
		s.lastLines()
	})
	eventually(s.t, time.Minute, func() string { return "the site does not answer:\n" + s.log.tail(40) }, func() bool {
		res, err := adminClient.Get("http://" + s.addr + "/")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func (s *site) lastLines() {
	if s.t.Failed() {
		s.t.Logf("the site's last lines:\n%s", s.log.tail(40))
	}
}

// derived is what the project hands to Gatecast instead of SECRET_KEY, by DESIGN's formulas.
func derived(secret string) map[string]string {
	key := func(salt string) string {
		sum := sha256.Sum256([]byte(salt + secret))
		return hex.EncodeToString(sum[:])
	}
	return map[string]string{
		"session_key": key("django.contrib.sessions.SessionStoresigner"),
		"cookie_key":  key("django.contrib.sessions.backends.signed_cookiessigner"),
		"hash_key":    key("django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"),
		"ticket_key":  key("gatecast.ticketsigner"),
	}
}

// gatecastConf is the config the site's own gatecast_keys command prints, as dotted keys.
func (s *site) gatecastConf() conf {
	s.t.Helper()
	flat := printedConf(s.t, s.manage("gatecast_keys", "--with-database-password"))
	for name, want := range derived(s.opts.secret) {
		if got := flat["authn.django."+name]; got != want {
			s.t.Errorf("gatecast_keys printed %s = %v, want %v", name, got, want)
		}
	}
	return flat
}

func printedConf(t testing.TB, printed string) conf {
	t.Helper()
	var tree map[string]any
	if err := toml.Unmarshal([]byte(printed), &tree); err != nil {
		t.Fatalf("gatecast_keys printed no TOML: %v\n%s", err, printed)
	}
	flat := conf{}
	flatten(flat, "", tree)
	return flat
}

func flatten(dst conf, prefix string, tree map[string]any) {
	for k, v := range tree {
		if sub, ok := v.(map[string]any); ok {
			flatten(dst, prefix+k+".", sub)
			continue
		}
		dst[prefix+k] = v
	}
}

// browser is somebody at the site: it keeps cookies as a browser does.
type browser struct {
	s      *site
	client *http.Client
}

func (s *site) browser() *browser {
	jar, _ := cookiejar.New(nil)
	return &browser{s: s, client: &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: adminClient.Transport}}
}

var csrfField = regexp.MustCompile(`name="csrfmiddlewaretoken" value="([^"]+)"`)

func (b *browser) get(path string) string {
	b.s.t.Helper()
	res, err := b.client.Get("http://" + b.s.addr + path)
	if err != nil {
		b.s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		b.s.t.Fatalf("GET %s: %d %v\n%s", path, res.StatusCode, err, body)
	}
	return string(body)
}

// post sends a form with the CSRF token of the cookie, following redirects.
func (b *browser) post(path string, form url.Values) string {
	b.s.t.Helper()
	if form.Get("csrfmiddlewaretoken") == "" {
		form.Set("csrfmiddlewaretoken", b.cookie("csrftoken"))
	}
	res, err := b.client.PostForm("http://"+b.s.addr+path, form)
	if err != nil {
		b.s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		b.s.t.Fatalf("POST %s: %d %v\n%s", path, res.StatusCode, err, body)
	}
	return string(body)
}

// fill fetches a page with a form and posts it, with the CSRF token of the page.
func (b *browser) fill(path string, form url.Values) string {
	b.s.t.Helper()
	m := csrfField.FindStringSubmatch(b.get(path))
	if m == nil {
		b.s.t.Fatalf("the page %s has no CSRF field", path)
	}
	form.Set("csrfmiddlewaretoken", m[1])
	return b.post(path, form)
}

// session is the session cookie's value.
func (b *browser) session() string { return b.cookie(cmp.Or(b.s.opts.cookie, "sessionid")) }

func (b *browser) cookie(name string) string {
	for _, c := range b.client.Jar.Cookies(&url.URL{Scheme: "http", Host: b.s.addr, Path: "/"}) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// login fills in the site's form and returns the session cookie's value.
func (b *browser) login(username, password string) string {
	b.s.t.Helper()
	b.fill("/login/", url.Values{"username": {username}, "password": {password}})
	session := b.session()
	if session == "" {
		b.s.t.Fatalf("login of %s set no session cookie", username)
	}
	return session
}

func (b *browser) logout() {
	b.s.t.Helper()
	b.get("/") // the CSRF token changed with the login
	b.post("/logout/", url.Values{})
}

// say posts to the view that calls group_send.
func (b *browser) say(group, text string) {
	b.s.t.Helper()
	b.get("/")
	b.post("/say/"+url.PathEscape(group)+"/", url.Values{"text": {text}})
}

// create makes a user and returns the primary key as text.
func (s *site) create(username, password string, fields map[string]any) string {
	s.t.Helper()
	order := map[string]any{"do": "create", "username": username, "password": password}
	for k, v := range fields {
		order[k] = v
	}
	id, _ := s.people.do(order)["id"].(string)
	if id == "" {
		s.t.Fatalf("user %s has no id", username)
	}
	return id
}

// cookieHeader is what a browser sends with its cookie and the page's origin.
func cookieHeader(n *node, value string) header {
	return header{"Cookie: theme=dark; sessionid=" + value, "Origin: http://" + n.addr}
}
