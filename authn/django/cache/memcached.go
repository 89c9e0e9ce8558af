package cache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// memcachedAddress is memcached://host:port,host:port?client=…, in the order of LOCATION, or memcached:///path of a socket.
type memcachedAddress struct {
	servers []string // host:port, or an absolute path
	hash    hash
}

func parseMemcached(rest string) (*memcachedAddress, error) {
	where, queryText, _ := strings.Cut(rest, "?")
	query, err := url.ParseQuery(queryText)
	if err != nil {
		return nil, errEncoded
	}
	got, err := options(query, "client")
	if err != nil {
		return nil, err
	}
	if strings.Contains(where, "@") {
		return nil, errors.New("memcached with a login (SASL) is not supported: its text protocol has none")
	}
	a := &memcachedAddress{}
	for _, server := range strings.Split(where, ",") {
		if !strings.HasPrefix(server, "/") {
			if !strings.Contains(server, ":") || strings.HasSuffix(server, "]") {
				server += ":11211"
			}
			host, port, err := net.SplitHostPort(strings.TrimSuffix(server, "/"))
			if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" {
				return nil, errors.New("want memcached://host:11211, more servers after commas, or memcached:// and the path of a socket")
			}
			server = host + ":" + port // as the clients write it, for IPv6 too
		}
		a.servers = append(a.servers, server)
	}
	name := got["client"]
	if name == "" {
		name = "pymemcache"
	}
	var ok bool
	if a.hash, ok = hashes[name]; !ok {
		return nil, errors.New(`client is the library of the site: "pymemcache" (PyMemcacheCache), "pylibmc" (PyLibMCCache) or "python-memcached" (MemcachedCache of Django 3.2)`)
	}
	return a, nil
}

// memcachedCache reads one or more memcached servers.
type memcachedCache struct {
	hash    hash
	names   []string
	servers []*memcachedServer
}

// memcachedServer is one of them. One without meta commands (before 1.6) is read with get, which does not tell when an entry ends.
type memcachedServer struct {
	pool *pool
	old  atomic.Bool
}

func openMemcached(a *memcachedAddress, o Options) Cache {
	m := &memcachedCache{hash: a.hash, names: a.servers}
	for _, where := range a.servers {
		network, target := "tcp", where
		if strings.HasPrefix(where, "/") {
			network = "unix"
		} else if i := strings.LastIndexByte(where, ':'); strings.Contains(where[:i], ":") {
			target = net.JoinHostPort(strings.Trim(where[:i], "[]"), where[i+1:])
		}
		m.servers = append(m.servers, &memcachedServer{pool: newPool(o, func(ctx context.Context) (*conn, error) {
			var d net.Dialer
			raw, err := d.DialContext(ctx, network, target)
			if err != nil {
				return nil, err
			}
			return newConn(raw), nil
		})})
	}
	return m
}

// Close implements Cache.
func (m *memcachedCache) Close() error {
	for _, s := range m.servers {
		s.pool.close()
	}
	return nil
}

// Ping implements Cache. It asks all servers: some sessions are on each.
func (m *memcachedCache) Ping(ctx context.Context) error {
	for _, s := range m.servers {
		if _, err := s.get(ctx, []string{"gatecast.ping"}); err != nil {
			return err
		}
	}
	return nil
}

// Get implements Cache.
func (m *memcachedCache) Get(ctx context.Context, keys ...string) (map[string]Entry, error) {
	at := make([][]string, len(m.servers))
	for _, key := range keys {
		if !validKey(key) { // Django itself could not have written it
			continue
		}
		i := 0
		if len(m.servers) > 1 {
			i = m.hash(m.names, key)
		}
		at[i] = append(at[i], key)
	}
	found := make(map[string]Entry, len(keys))
	for i, keys := range at {
		for some := range slices.Chunk(keys, chunk) {
			entries, err := m.servers[i].get(ctx, some)
			if err != nil {
				return nil, err
			}
			for key, e := range entries {
				found[key] = e
			}
		}
	}
	return found, nil
}

// validKey: protocol.txt, "Keys".
func validKey(key string) bool {
	return key != "" && len(key) <= 250 && !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

var errNoMeta = errors.New("the memcached server knows no meta commands")

func (s *memcachedServer) get(ctx context.Context, keys []string) (map[string]Entry, error) {
	found := make(map[string]Entry, len(keys))
	if !s.old.Load() {
		err := s.pool.do(ctx, func(c *conn) error { clear(found); return c.metaGet(keys, found) })
		if !errors.Is(err, errNoMeta) {
			return found, err
		}
		s.old.Store(true)
	}
	err := s.pool.do(ctx, func(c *conn) error { clear(found); return c.classicGet(keys, found) })
	return found, err
}

// metaGet reads values, flags and times to live (doc/protocol.txt, "Meta Get"). q keeps misses silent, mn marks the end.
func (c *conn) metaGet(keys []string, found map[string]Entry) error {
	for _, key := range keys {
		fmt.Fprintf(c.w, "mg %s v f t k q\r\n", key)
	}
	c.w.WriteString("mn\r\n")
	if err := c.w.Flush(); err != nil {
		return err
	}
	now := time.Now()
	for {
		line, err := c.readLine()
		if err != nil {
			return err
		}
		switch {
		case line == "MN":
			return nil
		case line == "EN":
			continue
		case line == "ERROR":
			return errNoMeta
		case !strings.HasPrefix(line, "VA "):
			return memcachedError(line)
		}
		words := strings.Fields(line)
		var size, flags, ttl int64
		var key string
		if len(words) < 2 || !number(words[1], &size) {
			return errProtocol
		}
		for _, w := range words[2:] {
			ok := true
			switch w[0] {
			case 'f':
				ok = number(w[1:], &flags)
			case 't':
				ok = number(w[1:], &ttl)
			case 'k':
				key = w[1:]
			}
			if !ok {
				return errProtocol
			}
		}
		e, err := c.value(size, flags)
		if err != nil {
			return err
		}
		if ttl > 0 {
			e.Expires = now.Add(time.Duration(min(ttl, 1<<31)) * time.Second)
		}
		if !slices.Contains(keys, key) {
			return errProtocol
		}
		found[key] = e
	}
}

// classicGet reads values and flags.
func (c *conn) classicGet(keys []string, found map[string]Entry) error {
	c.w.WriteString("get " + strings.Join(keys, " ") + "\r\n")
	if err := c.w.Flush(); err != nil {
		return err
	}
	for {
		line, err := c.readLine()
		if err != nil {
			return err
		}
		if line == "END" {
			return nil
		}
		words := strings.Fields(line)
		var size, flags int64
		if len(words) < 4 || words[0] != "VALUE" || !number(words[2], &flags) || !number(words[3], &size) {
			return memcachedError(line)
		}
		e, err := c.value(size, flags)
		if err != nil {
			return err
		}
		if !slices.Contains(keys, words[1]) {
			return errProtocol
		}
		found[words[1]] = e
	}
}

// flagZlib is what pymemcache, pylibmc and python-memcached all set on a value that they deflated. What else their flags tell, the first byte of the value tells too.
const flagZlib = 1 << 3

func (c *conn) value(size, flags int64) (Entry, error) {
	if size < 0 || size > 1<<30 {
		return Entry{}, errProtocol
	}
	data, tooLarge, err := c.readBlock(size)
	switch {
	case err != nil:
		return Entry{}, err
	case tooLarge:
		return Entry{Err: errTooLarge}, nil
	case flags&flagZlib != 0:
		data, err = inflate(data)
	}
	return Entry{Data: data, Err: err}, nil
}

func number(text string, n *int64) bool {
	var err error
	*n, err = strconv.ParseInt(text, 10, 64)
	return err == nil
}

// memcachedError is an answer that is none: an error line, or another protocol.
func memcachedError(line string) error {
	for _, word := range []string{"SERVER_ERROR", "CLIENT_ERROR", "ERROR"} {
		if strings.HasPrefix(line, word) {
			return fmt.Errorf("memcached: %.200q", line)
		}
	}
	return errProtocol
}
