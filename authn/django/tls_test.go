package django

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// tlsCase is an address of a server that is certified for localhost, by TLS; want is what an error says, "" for none.
type tlsCase struct {
	name, host, ca, want string
}

// tlsCases are those of a server with a certificate of ca; every kind of address says ca in its own way.
func tlsCases(t *testing.T, ca *servertest.CA) []tlsCase {
	return []tlsCase{
		{"the right CA", "localhost", ca.File, ""},
		{"another CA", "localhost", servertest.NewCA(t).File, "certificate signed by unknown authority"},
		{"the CAs of the system", "localhost", "", "certificate signed by unknown authority"},
		{"a host that the certificate does not name", "127.0.0.1", ca.File, "cannot validate certificate for 127.0.0.1"},
		{"no file of the CA", "localhost", "/nowhere/ca.pem", "/nowhere/ca.pem"},
	}
}

// check opens a verifier with o and looks a login up: it is accepted, or one of the two says what is wrong, and what to do.
func (c tlsCase) check(t *testing.T, o Options) {
	t.Helper()
	v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
	if err == nil {
		defer v.Close()
		_, err = v.Verify(t.Context(), cookie(aliceKey))
		if ping := v.Ping(t.Context()); (ping == nil) != (err == nil) {
			t.Errorf("%s: Ping = %v, Verify = %v", c.name, ping, err)
		}
	}
	switch {
	case c.want == "":
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	case err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2"):
		t.Errorf("%s: %v, want %q and no password", c.name, err, c.want)
	case strings.Contains(c.want, "certificate") && !strings.Contains(err.Error(), "; "):
		t.Errorf("%s: %v does not say what to do", c.name, err)
	}
}

func TestPostgresByTLS(t *testing.T) {
	ca := servertest.NewCA(t)
	cert, key := ca.Issue("localhost")
	server := pgtest.StartTLS(t, cert, key)
	s := newPostgresSite(t, server, plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	s.exec(`CREATE ROLE reader LOGIN SUPERUSER`) // only postgres may come without TLS
	address := strings.NewReplacer("postgres@", "reader:hunter2@", "sslmode=disable", "sslmode=verify-full").Replace(s.dsn)
	for _, c := range tlsCases(t, ca) {
		o := s.options()
		o.Database = strings.Replace(address, "127.0.0.1", c.host, 1)
		if c.ca != "" {
			o.Database += "&sslrootcert=" + c.ca
		}
		c.check(t, o)
	}
	o := s.options()
	o.Database = strings.Replace(address, "verify-full", "disable", 1)
	tlsCase{"without TLS", "", "", "no encryption"}.check(t, o)
}

func TestMariaDBByTLS(t *testing.T) {
	ca := servertest.NewCA(t)
	cert, key := ca.Issue("localhost")
	server := servertest.MariaDBTLS(t, cert, key)
	s := newMariaSite(t, server, plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	s.exec(`CREATE USER reader IDENTIFIED BY 'hunter2' REQUIRE SSL`)
	s.exec(`GRANT SELECT ON *.* TO reader`)
	address := strings.Replace(s.dsn, "root@", "reader:hunter2@", 1)
	for _, c := range tlsCases(t, ca) {
		o := s.options()
		o.Database = strings.Replace(address, "127.0.0.1", c.host, 1) + "?tls=true"
		if c.ca != "" {
			o.Database += "&ca=" + c.ca
		}
		c.check(t, o)
	}
	o := s.options()
	o.Database = address + "?tls=false"
	tlsCase{"without TLS", "", "", "check user and password"}.check(t, o)
	o.Database = address // "preferred": TLS without a look at the certificate, as libmysqlclient does
	tlsCase{"without an option", "", "", ""}.check(t, o)
}

func TestRedisByTLS(t *testing.T) {
	ca := servertest.NewCA(t)
	cert, key := ca.Issue("localhost")
	// The ACL of the documentation: a user that may read the sessions, and nobody else but who has the password.
	server := servertest.RedisTLS(t, cert, key, "--requirepass", "root-password", "--user", "gatecast", "on", ">hunter2", "~:1:django.contrib.sessions.cache*", "+get", "+pttl", "+select")
	s := newSQLiteSite(t, plainSite, "wal")
	s.addUser(account{id: "42"})
	put := s.options()
	put.Engine = EngineCache
	tellTLS(t, server.Addr, ca, redisOrder("AUTH", "root-password")+
		redisOrder("SET", strings.ReplaceAll(put.cacheKey(), sessionMark, aliceKey), s.payload("42"), "PX", "60000"), "+OK\r\n+OK")
	_, port, _ := strings.Cut(server.Addr, ":")
	for _, c := range tlsCases(t, ca) {
		o := s.options()
		o.Engine, o.CacheTimeout = EngineCache, 10*time.Second
		o.Cache = "rediss://gatecast:hunter2@" + c.host + ":" + port + "/0"
		if c.ca != "" {
			o.Cache += "?ssl_ca_certs=" + c.ca
		}
		c.check(t, o)
	}
	o := s.options()
	o.Engine, o.CacheTimeout = EngineCache, 10*time.Second
	o.Cache = "rediss://gatecast:hunter2@127.0.0.1:" + port + "/0?ssl_cert_reqs=none"
	tlsCase{"without a look at the certificate", "", "", ""}.check(t, o)
	o.Cache = "redis://gatecast:hunter2@127.0.0.1:" + port + "/0"
	tlsCase{"without TLS", "", "", "connection"}.check(t, o)
	o.Cache = "rediss://gatecast:hunter3@localhost:" + port + "/0?ssl_ca_certs=" + ca.File
	tlsCase{"a wrong password", "", "", "check user and password"}.check(t, o)
}

// tellTLS is tell by TLS.
func tellTLS(t *testing.T, addr string, ca *servertest.CA, order, want string) {
	t.Helper()
	text, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	c, err := tls.Dial("tcp", addr, &tls.Config{ServerName: "localhost", RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, order)
	answer := make([]byte, len(want))
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != want {
		t.Fatalf("%.60q: %q, %v, want %q", order, answer, err, want)
	}
}
