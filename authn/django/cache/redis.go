package cache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// redisAddress is what redis-py's from_url reads from such an address.
type redisAddress struct {
	network, host  string
	user, password string
	db             int
	tls            bool
	tlsOptions     map[string]string
}

var tlsOptions = []string{"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile"}

// placeholderPassword stands in the address that manage.py gatecast_keys prints.
const placeholderPassword = "PASSWORD"

// parseRedis reads redis://user:password@host:port/db, rediss:// of the same form, and unix://user:password@/path?db=0.
func parseRedis(scheme, rest string) (*redisAddress, error) {
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, errEncoded // err repeats the address
	}
	a := &redisAddress{network: "tcp", tls: scheme == "rediss", user: u.User.Username()}
	a.password, _ = u.User.Password()
	if a.password == placeholderPassword {
		return nil, errors.New("PASSWORD is a placeholder: put the cache's password there, or the whole address into a file that cache_file names")
	}
	if a.user != "" && a.password == "" {
		return nil, errors.New("a user without a password: the password alone is written redis://:password@host")
	}
	known, db := []string{"db"}, strings.Trim(u.Path, "/")
	if a.tls {
		known = append(known, tlsOptions...)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errEncoded
	}
	if a.tlsOptions, err = options(query, known...); err != nil {
		return nil, err
	}
	if scheme == "unix" {
		a.network, a.host, db = "unix", u.Path, ""
		if u.Host != "" || a.host == "" {
			return nil, errors.New("want unix:// and the absolute path of Redis's socket, such as unix:///run/redis/redis.sock?db=0")
		}
	} else {
		port := u.Port()
		if port == "" {
			port = "6379"
		}
		host := u.Hostname()
		if strings.Contains(host, ",") {
			return nil, errors.New("more than one server: name the primary, to which Django writes")
		}
		if host == "" {
			host = "localhost"
		}
		a.host = net.JoinHostPort(host, port)
	}
	if text, ok := a.tlsOptions["db"]; ok {
		db = text
	}
	if db != "" {
		if a.db, err = strconv.Atoi(db); err != nil || a.db < 0 {
			return nil, errors.New("the database of Redis is a number: redis://host:6379/0")
		}
	}
	if reqs := a.tlsOptions["ssl_cert_reqs"]; reqs != "" && reqs != "required" && reqs != "none" {
		return nil, errors.New(`ssl_cert_reqs is "required" or "none"`)
	}
	return a, nil
}

// redisCache reads Redis, Valkey and what speaks like them, with GET and PTTL and no more.
type redisCache struct {
	address *redisAddress
	tls     *tls.Config
	pool    *pool
}

func openRedis(a *redisAddress, o Options) (Cache, error) {
	r := &redisCache{address: a}
	if a.tls {
		host, _, _ := net.SplitHostPort(a.host)
		r.tls = &tls.Config{ServerName: host, InsecureSkipVerify: a.tlsOptions["ssl_cert_reqs"] == "none"}
		if file := a.tlsOptions["ssl_ca_certs"]; file != "" {
			pem, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("ssl_ca_certs: %w", err)
			}
			r.tls.RootCAs = x509.NewCertPool()
			if !r.tls.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("ssl_ca_certs: no certificate in %s", file)
			}
		}
		if file := a.tlsOptions["ssl_certfile"]; file != "" {
			pair, err := tls.LoadX509KeyPair(file, a.tlsOptions["ssl_keyfile"])
			if err != nil {
				return nil, fmt.Errorf("ssl_certfile, ssl_keyfile: %w", err)
			}
			r.tls.Certificates = []tls.Certificate{pair}
		}
	}
	r.pool = newPool(o, r.dial)
	return r, nil
}

// dial connects and logs in.
func (r *redisCache) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, r.address.network, r.address.host)
	if err != nil {
		return nil, err
	}
	if r.tls != nil {
		raw = tls.Client(raw, r.tls)
	}
	c := newConn(raw)
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) // ends with ctx
	defer stop()
	if err := r.hello(c); err != nil {
		c.Close()
		err, _ = ExplainCertificate(err, "ssl_ca_certs")
		return nil, err
	}
	return c, nil
}

func (r *redisCache) hello(c *conn) error {
	var n int
	a := r.address
	switch {
	case a.user != "":
		c.command("AUTH", a.user, a.password)
		n++
	case a.password != "":
		c.command("AUTH", a.password)
		n++
	}
	if a.db != 0 {
		c.command("SELECT", strconv.Itoa(a.db))
		n++
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	for range n {
		if reply, err := c.reply(); err != nil {
			return err
		} else if reply.err != nil {
			return reply.err
		}
	}
	return nil
}

// Close implements Cache.
func (r *redisCache) Close() error {
	r.pool.close()
	return nil
}

// Ping implements Cache. Its user may lack the right to PING: that answer is as good.
func (r *redisCache) Ping(ctx context.Context) error {
	return r.pool.do(ctx, func(c *conn) error {
		c.command("PING")
		if err := c.w.Flush(); err != nil {
			return err
		}
		reply, err := c.reply()
		if err != nil {
			return err
		}
		var e redisError
		if errors.As(reply.err, &e) && e.word() == "NOPERM" { // it answers, and has let us in
			return nil
		}
		return reply.err
	})
}

// chunk bounds the commands that are sent before their answers are read, so that neither side waits for the other to read.
const chunk = 100

// Get implements Cache.
func (r *redisCache) Get(ctx context.Context, keys ...string) (map[string]Entry, error) {
	found := make(map[string]Entry, len(keys))
	err := r.pool.do(ctx, func(c *conn) error {
		clear(found)
		for rest := keys; len(rest) > 0; {
			some := rest[:min(chunk, len(rest))]
			rest = rest[len(some):]
			if err := c.getRedis(some, found); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (c *conn) getRedis(keys []string, found map[string]Entry) error {
	for _, key := range keys {
		c.command("GET", key)
		c.command("PTTL", key)
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	now := time.Now()
	for _, key := range keys {
		value, err := c.reply()
		if err != nil {
			return err
		}
		ttl, err := c.reply()
		if err != nil {
			return err
		}
		for _, r := range []redisReply{value, ttl} {
			if r.err != nil && !errors.Is(r.err, errTooLarge) {
				return r.err
			}
		}
		if value.none || ttl.number == -2 { // it ended between the two
			continue
		}
		e := Entry{Err: value.err}
		if ttl.number >= 0 {
			e.Expires = now.Add(time.Duration(ttl.number) * time.Millisecond)
		}
		if e.Err == nil {
			e.Data, e.Err = decompress(value.data)
		}
		found[key] = e
	}
	return nil
}

// command writes one command of RESP, as arrays of bulk strings; the writer keeps the first error for Flush.
func (c *conn) command(words ...string) {
	fmt.Fprintf(c.w, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(c.w, "$%d\r\n%s\r\n", len(w), w)
	}
}

// redisReply is an answer: a text or bulk string, a number, nothing, or an error that the server tells.
type redisReply struct {
	data   []byte
	number int64
	none   bool
	err    error
}

// reply reads one answer of RESP 2. An error is one of the connection.
func (c *conn) reply() (redisReply, error) {
	line, err := c.readLine()
	if err != nil {
		return redisReply{}, err
	}
	if line == "" {
		return redisReply{}, errProtocol
	}
	switch rest := line[1:]; line[0] {
	case '+':
		return redisReply{data: []byte(rest)}, nil
	case '-':
		return redisReply{err: redisError(rest)}, nil
	case ':', '$':
		n, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			return redisReply{}, errProtocol
		}
		if line[0] == ':' {
			return redisReply{number: n}, nil
		}
		if n < 0 {
			return redisReply{none: true}, nil
		}
		if n > 512<<20 { // Redis's own limit
			return redisReply{}, errProtocol
		}
		data, tooLarge, err := c.readBlock(n)
		if tooLarge {
			return redisReply{err: errTooLarge}, err
		}
		return redisReply{data: data}, err
	}
	return redisReply{}, errProtocol
}

// redisError is what Redis says after "-", with what to do about it.
type redisError string

// word is the first one, in capitals, which names the kind.
func (e redisError) word() string {
	word, _, _ := strings.Cut(string(e), " ")
	return word
}

func (e redisError) Error() string {
	said, _, _ := strings.Cut(string(e), ", with args") // of an unknown command it repeats keys, and of a renamed AUTH the password
	text := "redis: " + strings.ToValidUTF8(said[:min(len(said), 200)], "�")
	switch e.word() {
	case "NOAUTH":
		text += "; put the password into the address: redis://:password@host:6379/0"
	case "WRONGPASS", "ERR":
		if strings.Contains(strings.ToLower(text), "auth") || e.word() == "WRONGPASS" {
			text += "; check user and password in the address"
		}
	case "NOPERM":
		text += "; the user needs +get, +pttl and +select on the keys of the sessions"
	case "MOVED", "ASK":
		text += "; Redis Cluster is not supported: name a server that holds all keys"
	case "WRONGTYPE":
		text += "; something else than Django's cache has this key"
	}
	return text
}
