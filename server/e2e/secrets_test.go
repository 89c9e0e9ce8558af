package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// secretKey makes 64 hex characters that stand nowhere else.
func secretKey(i int) string {
	return fmt.Sprintf("5ec7e7%02x", i) + strings.Repeat("0f1e2d3c4b5a6978", 4)[:56]
}

// sayings are what a node and the commands say, by where.
type sayings map[string]string

func (s sayings) note(where, text string) { s[where] += text + "\n" }

// wantNone tells where a secret is shown.
func (s sayings) wantNone(t *testing.T, secrets []string) {
	t.Helper()
	for where, text := range s {
		for _, secret := range secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s shows %q: …%s…", where, secret, text[max(0, i-200):min(len(text), i+80)])
			}
		}
	}
}

// TestSecretsAreShownNowhere runs a node that knows a secret of every kind and whose database, cache and application are down, shows it credentials by every carrier
// and door, good, bad and broken ones, has it read wrong configs, and makes it crash at last. Nothing that it says, or that the commands say of its config, holds one.
func TestSecretsAreShownNowhere(t *testing.T) {
	t.Parallel()
	c := conf{
		"authn.chain": []string{"django", "ticket", "jwt", "webhook"}, "authn.carriers": []string{"cookie", "header", "subprotocol", "query", "message"}, "authn.failed_per_second": 0, "authn.timeout": "1s",
		"authn.django.engine": "cached_db", "authn.django.database": "postgres://gatecast:database-5ecret@127.0.0.1:1/site", "authn.django.cache": "redis://:cache-5ecret@127.0.0.1:1/0",
		"authn.django.session_key": secretKey(1), "authn.django.cookie_key": secretKey(2), "authn.django.hash_key": secretKey(3), "authn.django.ticket_key": secretKey(4),
		"authn.django.fallbacks": []conf{{"session_key": secretKey(5), "hash_key": secretKey(6), "cookie_key": secretKey(7), "ticket_key": secretKey(8)}},
		"authn.ticket.key":       secretKey(9), "authn.webhook.url": "http://127.0.0.1:1/who?key=query-5ecret", "authn.webhook.secret": "webhook-5ecret-0123456789",
	}.over(clusterConf([]string{"nats://" + freeAddr(t)}, 0))
	good := token(t, "kim")
	const (
		session   = "5ecretsessionkey0123456789abcdef"
		opaque    = "opaque-5ecret-token-0123456789"
		signature = "5ecretsignature8mYfonb9rD6MG6h8c08o6lroeDan"
		ticket    = "eyJ1c2VyIjoiNDIiLCJpZCI6Im4wIn0:1r31eq:" + signature
	)
	secrets := []string{
		"database-5ecret", "cache-5ecret", "webhook-5ecret", "query-5ecret", "typed-5ecret", jwtSecret, serviceToken, spyToken, adminKey, readKey, publishKey, clusterToken,
		session, opaque, signature, good[strings.LastIndex(good, ".")+1:],
	}
	for i := range 9 {
		secrets = append(secrets, secretKey(i+1))
	}
	said := sayings{}
	n := launchNode(t, "a", c)
	n.logs.waitLine(t, 0, `"serving"`)

	type try struct {
		path string
		head header
	}
	var tries []try
	for _, path := range []string{"/ws?token=" + opaque, "/ws?token=" + ticket, "/nowhere?token=" + opaque, "/ws?token=%zz" + opaque} {
		tries = append(tries, try{path, nil}, try{path, bearer(good)})
	}
	for _, h := range []header{
		{"Cookie: sessionid=" + session}, {"Cookie: sessionid=" + session + "; other=typed-5ecret"}, {"Origin: https://evil.example", "Cookie: sessionid=" + session},
		bearer(good), bearer(good + "x"), bearer(opaque), bearer(ticket), bearer(session), {"Authorization: Basic typed-5ecret"}, {"Authorization: Bearer typed-5ecret\x01"},
		{"Sec-WebSocket-Protocol: gatecast.v1, bearer." + good + "x"}, {"Sec-WebSocket-Protocol: bearer." + opaque}, {"Sec-WebSocket-Protocol: gatecast.v1, bearer64.typed-5ecret!"},
	} {
		tries = append(tries, try{"/ws", h})
	}
	for _, try := range tries {
		s, err := tryDial(n.addr, try.path, try.head)
		if err != nil {
			said.note("an HTTP answer", err.Error())
			continue
		}
		s.t = t
		s.talk(said, "a frame", "welcome")
	}
	for _, op := range []string{`{"op":"auth","id":9,"token":"` + opaque + `"}`, `{"op":"auth","id":9,"token":"` + opaque, `{"op":"typed-5ecret","id":9}`, `{"op":"auth","id":9,"token":["typed-5ecret"]}`} {
		for _, h := range []header{nil, bearer(good)} {
			s := dialRaw(t, n, "/ws", h)
			s.frame(1, []byte(op))
			s.talk(said, "an answer to a bad op", "error")
		}
	}
	for _, raw := range []string{"GET /ws?token=" + opaque + " HTTP/1.1\r\nbroken typed-5ecret\r\n\r\n", "GET /ws?token=" + opaque + " HTTP/9\r\n\r\n", "typed-5ecret\r\n\r\n"} {
		conn, err := net.DialTimeout("tcp", n.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, raw)
		answer, _ := io.ReadAll(conn)
		said.note("an answer to bad HTTP", string(answer))
		conn.Close()
	}
	for _, o := range []nats.Option{nats.Token("typed-5ecret-0123456789"), nats.Token(good + "x"), nats.UserInfo("app", "typed-5ecret-0123456789"), nats.UserInfo("gatecast", clusterToken)} {
		nc, err := nats.Connect("nats://"+n.nats, o, nats.NoReconnect(), nats.Timeout(patience))
		if err == nil {
			nc.Close()
			t.Error("a bad login by NATS is accepted")
			continue
		}
		said.note("an answer by NATS", err.Error())
	}
	for _, key := range []string{adminKey, "typed-5ecret"} {
		for _, path := range []string{"/api/v1/connections", "/api/v1/info", "/api/v1/nodes", "/metrics", "/", "/readyz", "/healthz"} {
			_, body, err := n.tryCall(key, "GET", path, nil)
			if err != nil {
				t.Fatal(err)
			}
			said.note(path, string(body))
		}
	}
	if text := said["/readyz"]; !strings.Contains(text, "django") {
		t.Errorf("/readyz says %q, want that the database is down", text)
	}

	toml := filepath.Join(n.dir, "config.toml")
	commands := func(what string, all ...[]string) {
		for _, args := range all {
			_, out := cli(t, n.dir, append(args, "-config", toml)...)
			said.note(strings.Join(args[:min(2, len(args))], " ")+what, out)
		}
	}
	commands("", []string{"config", "print"}, []string{"config", "check"}, []string{"doctor"}, []string{"session", "check", session}, []string{"session", "check", "-token", opaque},
		[]string{"session", "check", "-token", ticket}, []string{"token", "check", good}, []string{"token", "check", good + "x"})

	// What is wrong with a secret is told without it.
	for key, value := range map[string]string{
		"authn.django.session_key": "typed-5ecret", "authn.jwt.secret": "5ecret!", "authn.ticket.key": "typed-5ecret", "authn.django.cache": "redis://:typed-5ecret@h/x",
		"broker.cluster.token": "5ecret!", "authn.django.database": "postgres://u:typed-5ecret@[::1/n", "authn.webhook.secret": "5ecret!", "authn.webhook.url": "http://u:typed-5ecret@h",
	} {
		line, right := n.logs.len(), n.conf[key]
		n.reload(conf{key: value})
		said.note("a reload with a wrong "+key, n.logs.waitLine(t, line, "reload"))
		commands(" with a wrong "+key, []string{"config", "check"})
		n.conf[key] = right
	}
	if err := os.WriteFile(toml, []byte("[authn.jwt]\nsecret = \"typed-5ecret\nx = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	commands(" with broken TOML", []string{"config", "check"})

	n.mu.Lock()
	n.killed = true
	n.mu.Unlock()
	n.signal(syscall.SIGQUIT)
	<-n.done
	log := n.logs.String()
	said.note("the log", log)
	if !strings.Contains(log, "goroutine ") {
		t.Error("there is no crash dump")
	}
	for _, what := range []string{"authn webhook", "native user refused", "bad_signature", "origin_other_host"} {
		if !strings.Contains(log, what) {
			t.Errorf("the log says nothing of %s: this test does not show what it should", what)
		}
	}
	said.wantNone(t, append(secrets, "5ecret!"))
}

// talk notes what the node says up to a frame with that op, or the end, and hangs up.
func (s *socket) talk(said sayings, where, op string) {
	_, err := s.tryFind(func(m msg) bool {
		said.note(where, fmt.Sprint(m))
		return m.str("op") == op || m.str("op") == "close"
	})
	if err != nil {
		said.note(where, err.Error())
	}
	s.conn.Close()
}
