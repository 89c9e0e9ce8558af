package cache

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/authn/breaker"
	"github.com/gatecast/gatecast/authn/django/pickle"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type vectors struct {
	Vectors []vector
	Hashes  []struct {
		Client        string
		Servers, Keys []string
		At            []int
	}
}

type vector struct {
	Name, Value, Cache, Key, File string
	Flags                         int
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	text, err := os.ReadFile("../testdata/vectors.json") // by make_vectors.py beside it
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v vector) bytes(t testing.TB) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(v.Value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// isLogin tells whether an entry is a pickle or JSON of the vectors' login.
func isLogin(e Entry) bool {
	if e.Err != nil {
		return false
	}
	if d := map[string]any(nil); json.Unmarshal(e.Data, &d) == nil {
		return d["_auth_user_id"] == "42"
	}
	value, rest, err := pickle.Decode(e.Data)
	d, ok := value.(*pickle.Dict)
	if err != nil || !ok || len(rest) > 0 {
		return false
	}
	id, _ := d.Get("_auth_user_id")
	return id == "42"
}

func open(t testing.TB, address string, change ...func(*Options)) Cache {
	t.Helper()
	o := Options{Address: address, Conns: 4, Timeout: 5 * time.Second}
	for _, c := range change {
		c(&o)
	}
	c, err := Open(o)
	if err != nil {
		t.Fatalf("Open(%q): %v", address, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// writer talks to a server as a site would.
type writer struct {
	t testing.TB
	c *conn
}

func dial(t testing.TB, addr string) *writer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return &writer{t, newConn(c)}
}

func (w *writer) redis(words ...string) {
	w.t.Helper()
	w.c.command(words...)
	w.c.w.Flush()
	if r, err := w.c.reply(); err != nil || r.err != nil {
		w.t.Fatalf("redis %.40v: %v, %v", words, err, r.err)
	}
}

func (w *writer) memcached(key, value string, flags, ttl int) {
	w.t.Helper()
	fmt.Fprintf(w.c.w, "set %s %d %d %d\r\n%s\r\n", key, flags, ttl, len(value), value)
	w.c.w.Flush()
	if line, err := w.c.readLine(); err != nil || line != "STORED" {
		w.t.Fatalf("memcached set: %q, %v", line, err)
	}
}

func TestRedisReadsWhatDjangoWrites(t *testing.T) {
	addr := servertest.Redis(t)
	w, c := dial(t, addr), open(t, "redis://"+addr+"/1")
	w.redis("SELECT", "1")
	n := 0
	for _, v := range readVectors(t).Vectors {
		if v.Cache != "redis" {
			continue
		}
		n++
		w.redis("SET", v.Name, string(v.bytes(t)), "PX", "100000")
		found, err := c.Get(t.Context(), v.Name)
		if err != nil {
			t.Fatal(err)
		}
		e := found[v.Name]
		if strings.Contains(v.Name, "lzma") {
			if e.Err == nil || !strings.Contains(e.Err.Error(), "ZlibCompressor") {
				t.Errorf("%s: %+v, want advice", v.Name, e)
			}
			continue
		}
		if !isLogin(e) {
			t.Errorf("%s: %q, %v", v.Name, e.Data, e.Err)
		}
		if left := time.Until(e.Expires); left < 90*time.Second || left > 101*time.Second {
			t.Errorf("%s ends in %s, want 100s", v.Name, left)
		}
	}
	if n < 10 {
		t.Fatalf("only %d vectors", n)
	}
}

func TestRedisGet(t *testing.T) {
	addr := servertest.Redis(t)
	w, c := dial(t, addr), open(t, "redis://"+addr)
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for i := range 250 { // more than one chunk
		key := fmt.Sprintf("key %d\r\n", i)
		keys = append(keys, key)
		if i%2 == 0 {
			w.redis("SET", key, fmt.Sprint(i))
		}
	}
	found, err := c.Get(t.Context(), keys...)
	if err != nil || len(found) != 125 {
		t.Fatalf("Get = %d entries, %v, want 125", len(found), err)
	}
	for i, key := range keys {
		e, ok := found[key]
		if ok != (i%2 == 0) || ok && (string(e.Data) != fmt.Sprint(i) || !e.Expires.IsZero() || e.Err != nil) {
			t.Errorf("%q: %q, %+v", key, e.Data, e)
		}
	}
	w.redis("SET", "large", strings.Repeat("x", MaxEntry+1))
	w.redis("SET", "small", "x")
	found, err = c.Get(t.Context(), "large", "small")
	if err != nil || !errors.Is(found["large"].Err, errTooLarge) || string(found["small"].Data) != "x" {
		t.Errorf("Get beside a large entry = %v, %v", found["large"].Err, err)
	}
	w.redis("LPUSH", "list", "x")
	if _, err := c.Get(t.Context(), "list"); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("Get of a list = %v", err)
	}
}

func TestRedisLogin(t *testing.T) {
	addr := servertest.Redis(t, "--requirepass", "p@ss/w:rd")
	w := dial(t, addr)
	w.redis("AUTH", "p@ss/w:rd")
	w.redis("SELECT", "3")
	w.redis("SET", "shop:1:a", "x")
	w.redis("ACL", "SETUSER", "gatecast", "on", ">hunter2", "~shop:*", "+get", "+pttl", "+select")
	w.redis("ACL", "SETUSER", "weak", "on", ">hunter2", "~other:*", "+get", "+select")
	for _, test := range []struct{ login, want string }{
		{":p%40ss%2Fw%3Ard@", ""},
		{"default:p%40ss%2Fw%3Ard@", ""},
		{"gatecast:hunter2@", ""},
		{"weak:hunter2@", "needs +get, +pttl"},
		{"", "put the password into the address"},
		{":hunter2@", "check user and password"},
		{"gatecast:hunter3@", "check user and password"},
	} {
		c := open(t, "redis://"+test.login+addr+"/3")
		found, err := c.Get(t.Context(), "shop:1:a")
		switch {
		case test.want == "" && (err != nil || string(found["shop:1:a"].Data) != "x"):
			t.Errorf("Get as %q = %v, %v", test.login, found, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter")):
			t.Errorf("Get as %q = %v, want %q and no password", test.login, err, test.want)
		}
		if err := c.Ping(t.Context()); test.want == "" && err != nil {
			t.Errorf("Ping as %q = %v", test.login, err)
		}
	}
}

func TestRedisByASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redis.sock")
	addr := servertest.Redis(t, "--unixsocket", path)
	dial(t, addr).redis("SET", "a", "x")
	c := open(t, "unix://"+path+"?db=0")
	if found, err := c.Get(t.Context(), "a"); err != nil || string(found["a"].Data) != "x" {
		t.Errorf("Get = %v, %v", found, err)
	}
}

func TestMemcachedReadsWhatDjangoWrites(t *testing.T) {
	addr := servertest.Memcached(t)
	w, c := dial(t, addr), open(t, "memcached://"+addr)
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := open(t, "memcached://"+addr).(*memcachedCache)
	old.servers[0].old.Store(true)
	n := 0
	for i, v := range readVectors(t).Vectors {
		if v.Cache != "memcached" {
			continue
		}
		n++
		key := fmt.Sprint("key", i)
		w.memcached(key, string(v.bytes(t)), v.Flags, 100)
		found, err := c.Get(t.Context(), key, "absent")
		if err != nil || len(found) != 1 || !isLogin(found[key]) {
			t.Errorf("%s: %v, %v", v.Name, found, err)
		}
		if left := time.Until(found[key].Expires); left < 90*time.Second || left > 101*time.Second {
			t.Errorf("%s ends in %s, want 100s", v.Name, left)
		}
		found, err = old.Get(t.Context(), key, "absent")
		if err != nil || len(found) != 1 || !isLogin(found[key]) || !found[key].Expires.IsZero() {
			t.Errorf("%s, by get: %v, %v", v.Name, found, err)
		}
	}
	if n != 9 {
		t.Fatalf("%d vectors, want 9", n)
	}
	w.memcached("forever", "x", 0, 0)
	w.memcached("broken", "no zlib", flagZlib, 0)
	keys := []string{"forever", "broken", "not a key", strings.Repeat("x", 251), ""}
	for range 300 {
		keys = append(keys, fmt.Sprint("absent", len(keys)))
	}
	found, err := c.Get(t.Context(), keys...)
	if err != nil || len(found) != 2 || !found["forever"].Expires.IsZero() || found["broken"].Err == nil {
		t.Errorf("Get = %+v, %v", found, err)
	}
}

func TestSeveralMemcachedServersAsTheClientsPick(t *testing.T) {
	for _, h := range readVectors(t).Hashes {
		a, err := parseMemcached(strings.Join(h.Servers, ",") + "?client=" + h.Client)
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range h.Keys {
			if got := a.hash(a.servers, key); got != h.At[i] {
				t.Errorf("%s: %q is on server %d, want %d", h.Client, key, got, h.At[i])
			}
		}
	}
	a, b := servertest.Memcached(t), servertest.Memcached(t)
	c := open(t, "memcached://"+a+","+b)
	names := []string{a, b}
	var keys []string
	for i := range 20 {
		key := fmt.Sprint("key", i)
		keys = append(keys, key)
		dial(t, names[rendezvous(names, key)]).memcached(key, "x", 0, 0)
	}
	if found, err := c.Get(t.Context(), keys...); err != nil || len(found) != 20 {
		t.Errorf("Get = %d entries, %v, want 20", len(found), err)
	}
}

// A server of before 1.6 answers ERROR to what it does not know.
func TestMemcachedWithoutMetaCommands(t *testing.T) {
	addr := fake(t, func(c net.Conn) {
		for s := bufio.NewScanner(c); s.Scan(); {
			if strings.HasPrefix(s.Text(), "get ") {
				fmt.Fprintf(c, "VALUE a 0 1\r\nx\r\nEND\r\n")
			} else {
				fmt.Fprintf(c, "ERROR\r\n")
			}
		}
	})
	c := open(t, "memcached://"+addr)
	for range 2 {
		if found, err := c.Get(t.Context(), "a", "b"); err != nil || string(found["a"].Data) != "x" {
			t.Errorf("Get = %v, %v", found, err)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	c := open(t, "file://"+dir)
	n := 0
	for _, v := range readVectors(t).Vectors {
		if v.Cache != "file" {
			continue
		}
		n++
		if err := os.WriteFile(filepath.Join(dir, v.File), v.bytes(t), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := c.Get(t.Context(), v.Key, "absent")
		if err != nil || len(found) != 1 || !isLogin(found[v.Key]) || found[v.Key].Expires.IsZero() != strings.Contains(v.Name, "without") {
			t.Errorf("%s: %+v, %v", v.Name, found, err)
		}
		for name, content := range map[string]string{"an end in the past": "\x80\x05GA\xd0\x00\x00\x00\x00\x00\x00.", "nothing": "", "no end": "}.", "no value": "N.", "too much": "N." + strings.Repeat("x", MaxEntry)} {
			if err := os.WriteFile(filepath.Join(dir, v.File), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := c.Get(t.Context(), v.Key)
			if e, there := found[v.Key]; err != nil || there != (name != "an end in the past") || there && e.Err == nil {
				t.Errorf("%s: %+v, %v", name, found, err)
			}
		}
	}
	if n != 2 {
		t.Fatalf("%d vectors, want 2", n)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := open(t, "file://"+dir+"/not/yet").Ping(t.Context()); err != nil {
		t.Errorf("Ping of a folder that Django has not made yet: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Address: "file://" + file}); err == nil {
		t.Error("a file was opened as a folder")
	}
}

func TestCheck(t *testing.T) {
	for address, want := range map[string]string{
		"redis://h": "", "redis://h:1/2": "", "redis://:p@[::1]:1/0": "", "rediss://u:p@h?ssl_cert_reqs=none&ssl_ca_certs=/x": "", "unix:///run/r.sock?db=1": "", "REDIS://h": "",
		"memcached://h": "", "memcached://h:1,g:2?client=pylibmc": "", "memcached:///run/m.sock": "", "memcached://[::1]:11211": "", "memcached://[::1]": "", "file:///d": "",
		"": "want \"redis://", "x": "want \"redis://", "http://h": "want \"redis://", "file://d": "absolute path", "unix://h/p": "absolute path",
		"redis://u:hunter2 x@h": "percent-encoded", "redis://u:hunter2@h#x": "percent-encoded", "redis://u:hunter2@h/x": "is a number", "redis://u:hunter2@h/-1": "is a number",
		"redis://h?hunter": "not known", "redis://u:12?hunter2@h": "percent-encoded", "redis://h?ssl_cert_reqs=none": "not known", "rediss://h?ssl_cert_reqs=maybe": "required", "redis://a,b": "name the primary",
		"redis://u@h": "redis://:password@host", "redis://:PASSWORD@h": "placeholder", "memcached://u:hunter2@h": "SASL", "memcached://h:x": "want memcached://", "memcached://": "want memcached://", "memcached://h?client=x": "pymemcache", "memcached://h?x=1": "not known",
	} {
		err := Check(address)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("Check(%q) = %v, want %q and no password", address, err, want)
		}
	}
}

// fake is a server that talks as it likes to each connection.
func fake(t testing.TB, talk func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() { // ends with the listener
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection, which the cache under test closes
				defer c.Close()
				talk(c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestADeadServerCostsItsTimeout(t *testing.T) {
	addr := fake(t, func(c net.Conn) { c.Read(make([]byte, 1<<20)); c.Read(make([]byte, 1)) })
	for _, scheme := range []string{"redis", "memcached"} {
		c := open(t, scheme+"://"+addr, func(o *Options) { o.Conns, o.Timeout = 1, 50*time.Millisecond })
		for range 2 {
			if _, err := c.Get(t.Context(), "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: Get = %v, want a deadline", scheme, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Get = %v, want it cancelled", scheme, err)
		}
	}
}

// A server that hangs costs the first callers their time, and no others: they are told at once, by whom nothing is asked. Then one finds out that it answers again.
func TestAServerThatHangsIsLeftAlone(t *testing.T) {
	for scheme, answer := range map[string]string{"redis": "$1\r\nx\r\n:-1\r\n", "memcached": "VA 1 f0 t-1 ka\r\nx\r\nMN\r\n"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel() // it waits most of the time
			var asked atomic.Int32
			var hang atomic.Bool
			addr := fake(t, func(c net.Conn) {
				for buf := make([]byte, 1000); ; {
					if n, err := c.Read(buf); err != nil {
						return
					} else if asked.Add(1); hang.Load() {
						continue
					} else if strings.Contains(string(buf[:n]), "PING") {
						c.Write([]byte("+PONG\r\n"))
					} else {
						c.Write([]byte(answer))
					}
				}
			})
			c := open(t, scheme+"://"+addr, func(o *Options) { o.Timeout = time.Second }) // enough for a busy machine
			now := time.Now()
			for _, p := range pools(c) {
				p.breaker.Now = func() time.Time { return now }
			}
			get := func() error {
				_, err := c.Get(t.Context(), "a")
				return err
			}
			if err := get(); err != nil {
				t.Fatal(err)
			}
			hang.Store(true)
			var first sync.WaitGroup
			for range 8 {
				first.Go(func() {
					if err := get(); err == nil || errors.Is(err, breaker.ErrOpen) {
						t.Errorf("Get of those that are first = %v, want that there was no answer", err)
					}
				})
			}
			first.Wait()
			before := asked.Load()
			for range 100 {
				if err := get(); !errors.Is(err, breaker.ErrOpen) {
					t.Fatalf("Get of those that come after = %v", err)
				}
			}
			if err := c.Ping(t.Context()); !errors.Is(err, breaker.ErrOpen) || asked.Load() != before {
				t.Errorf("Ping = %v, and it was asked %d times", err, asked.Load()-before)
			}
			now = now.Add(breaker.Pause)
			hang.Store(false)
			for range 10 {
				if err := get(); err != nil {
					t.Errorf("Get when it answers again = %v", err)
				}
			}
			if err := c.Ping(t.Context()); scheme == "redis" && err != nil {
				t.Errorf("Ping when it answers again = %v", err)
			}
		})
	}
}

func pools(c Cache) (all []*pool) {
	switch c := c.(type) {
	case *redisCache:
		all = append(all, c.pool)
	case *memcachedCache:
		for _, s := range c.servers {
			all = append(all, s.pool)
		}
	}
	return all
}

// One of several servers that hangs takes no others with it.
func TestOnlyTheServerThatHangsIsLeftAlone(t *testing.T) {
	hangs := fake(t, func(c net.Conn) { c.Read(make([]byte, 1<<20)); c.Read(make([]byte, 1)) })
	answers := fake(t, func(c net.Conn) {
		for buf := make([]byte, 1000); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
			c.Write([]byte("MN\r\n"))
		}
	})
	c := open(t, "memcached://"+hangs+","+answers, func(o *Options) { o.Timeout = 10 * time.Second }).(*memcachedCache)
	c.servers[0].pool.timeout = 20 * time.Millisecond
	failed, answered := 0, 0
	for i := range 200 {
		key := fmt.Sprint("key", i)
		_, err := c.Get(t.Context(), key)
		switch at := c.hash(c.names, key); {
		case at == 1 && err != nil:
			t.Fatalf("Get from the server that answers = %v", err)
		case at == 1:
			answered++
		case errors.Is(err, breaker.ErrOpen):
			failed++
		}
	}
	if failed == 0 || answered == 0 {
		t.Errorf("%d were sent away at once and %d were answered, want some of each", failed, answered)
	}
}

func TestAnIdleConnectionThatDiedIsReplaced(t *testing.T) {
	var conns atomic.Int32
	addr := fake(t, func(c net.Conn) { // answers once, then hangs up
		conns.Add(1)
		c.Read(make([]byte, 1000))
		c.Write([]byte("$1\r\nx\r\n:-1\r\n"))
	})
	c := open(t, "redis://"+addr)
	for range 3 {
		if found, err := c.Get(t.Context(), "a"); err != nil || string(found["a"].Data) != "x" {
			t.Fatalf("Get = %v, %v", found, err)
		}
	}
	if n := conns.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

func TestConnectionsAreBoundedAndKept(t *testing.T) {
	var conns atomic.Int32
	addr := fake(t, func(c net.Conn) {
		conns.Add(1)
		for buf := make([]byte, 1000); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
			c.Write([]byte("$1\r\nx\r\n:-1\r\n"))
		}
	})
	c := open(t, "redis://"+addr, func(o *Options) { o.Conns = 2 })
	results := make(chan error)
	for range 20 {
		go func() { // ends with its Gets
			var err error
			for range 20 {
				if _, e := c.Get(context.Background(), "a"); e != nil {
					err = e
				}
			}
			results <- err
		}()
	}
	for range 20 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := conns.Load(); n > 2 {
		t.Errorf("%d connections, want at most 2", n)
	}
	c.Close()
	if _, err := c.Get(t.Context(), "a"); !errors.Is(err, errClosed) {
		t.Errorf("Get after Close = %v", err)
	}
}

// hostile is a connection whose server has said all of data and hung up.
func hostile(data []byte) *conn {
	c := newConn(nil)
	c.r.Reset(strings.NewReader(string(data)))
	c.w.Reset(new(strings.Builder))
	return c
}

// FuzzReplies: whatever a server says, no panic, no entry that was not asked for, none beyond its bound.
func FuzzReplies(f *testing.F) {
	for _, s := range []string{
		"$1\r\nx\r\n:-1\r\n$-1\r\n:-2\r\n", "$3\r\nabc\r\n:5000\r\n$0\r\n\r\n:0\r\n", "-NOAUTH Authentication required.\r\n", "+OK\r\n:1\r\n", "*1\r\n", "$-\r\n", "$99999999999999\r\n", "$1048577\r\nx", "\r\n",
		"VA 1 f0 t-1 ka\r\nx\r\nMN\r\n", "VA 2 f9 t10 kb\r\nxx\r\nEN\r\nMN\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n", "ERROR\r\n", "SERVER_ERROR x\r\n", "VA -1 f\r\n", "VALUE a 0 99999999999\r\n", "HTTP/1.1 400 Bad Request\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys := []string{"a", "b"}
		for name, get := range map[string]func(c *conn, found map[string]Entry) error{
			"redis":   func(c *conn, found map[string]Entry) error { return c.getRedis(keys, found) },
			"meta":    func(c *conn, found map[string]Entry) error { return c.metaGet(keys, found) },
			"classic": func(c *conn, found map[string]Entry) error { return c.classicGet(keys, found) },
		} {
			found := map[string]Entry{}
			err := get(hostile(data), found)
			for key, e := range found {
				if key != "a" && key != "b" || len(e.Data) > MaxEntry {
					t.Errorf("%s: %q gave %q: %d bytes, %v", name, data, key, len(e.Data), err)
				}
			}
		}
	})
}

// FuzzFileEntry: no panic, and an entry within its bound.
func FuzzFileEntry(f *testing.F) {
	for _, v := range readVectors(f).Vectors {
		if v.Cache == "file" {
			f.Add(v.bytes(f))
		}
	}
	f.Add([]byte("N.x\x9c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e := fileEntry(data); len(e.Data) > MaxEntry || e.Err != nil && e.Data != nil {
			t.Errorf("fileEntry(%q) = %d bytes, %v", data, len(e.Data), e.Err)
		}
	})
}

// FuzzCheck: no panic, and no error that repeats a password.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"redis://u:p@h:6379/0?db=1", "rediss://h?ssl_ca_certs=/x", "unix:///s?db=1", "memcached://a:1,b:2?client=pylibmc", "file:///d", "x", "redis://[::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		const password = "correct-horse-battery"
		for _, a := range []string{address, strings.Replace(address, "://", "://u:"+password+"@", 1)} {
			if err := Check(a); err != nil && strings.Contains(err.Error(), password) {
				t.Fatalf("Check(%q) = %v, which holds the password", a, err)
			}
		}
	})
}

func TestRedisErrorsRepeatNoArguments(t *testing.T) {
	err := redisError("ERR unknown command 'AUTH2', with args beginning with: 'reader' 'hunter2' ").Error()
	if strings.Contains(err, "hunter2") || !strings.Contains(err, "AUTH2") {
		t.Errorf("it says %q", err)
	}
}
