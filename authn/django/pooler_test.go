package django

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django/pgtest"
)

// A pooler that shares the server's processes out query by query knows no statement by the name that it got on another: through one there must be no names.
// Straight, a plan is made once a connection.
func TestStatementsHaveNamesOnlyOnAStraightWay(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.addUser(account{id: "42", groups: []int{1}})
	s.login(aliceKey, "42")
	for _, test := range []struct {
		what   string
		pooled bool
		want   int
	}{{"straight", false, 2}, {"by a pooler", true, 0}} {
		tap, way := s.tapped(test.pooled)
		v := s.open(way)
		for range 10 {
			if id := mustVerify(t, v, aliceKey); len(id.Groups) != 1 {
				t.Errorf("%s: Verify = %#v", test.what, id)
			}
		}
		if err := v.Ping(t.Context()); err != nil {
			t.Errorf("%s: Ping = %v", test.what, err)
		}
		if got := tap.count(); got != test.want {
			t.Errorf("%s: %d statements got a name, want %d", test.what, got, test.want)
		}
	}
}

// The queries of rules are prepared as those of logins are, and give the same values either way.
func TestRulesArePreparedOnAStraightWay(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.members()
	s.addMember(7, "42", "owner")
	rooms := query(t, memberRooms, "room_id")
	values := query(t, `SELECT user_id::smallint AS a, user_id::bigint AS b, 1.50::numeric AS c, 0.1::real AS d, 0.1::float8 AS e, true AS f, role AS g, role::char(9) AS h,`+
		` convert_to('A', 'UTF8') AS i, '2026-03-29 02:30:00+02'::timestamptz AS j, '2026-03-29 02:30:00'::timestamp AS k, '2026-03-29'::date AS l, '02:30'::time AS m, '1 day'::interval AS n,`+
		` '{"a": 1}'::json AS o, '{"a": 1}'::jsonb AS p, ARRAY[1, 2] AS q, '53b6eb2b-4fbd-4a4d-9d4c-0b5f0a1f7c11'::uuid AS r, 'x'::name AS s, 7::oid AS t, '10.0.0.1'::inet AS u,`+
		` ROW(1, 'a') AS v, NULL AS w, 'NaN'::float8 AS x, 'infinity'::timestamptz AS y, int4range(1, 5) AS z FROM chat_member WHERE user_id = {id}`,
		strings.Split("abcdefghijklmnopqrstuvwxyz", "")...)
	var before []string
	for _, test := range []struct {
		what   string
		pooled bool
		want   int
	}{{"straight", false, 2}, {"by a pooler", true, 0}} {
		tap, way := s.tapped(test.pooled)
		r := s.openRowsBy(way, rooms, values)
		for range 10 {
			rowsOf(t, r, rooms, "42", "7")
			rowsOf(t, r, rooms, "43")
		}
		got, err := r.Rows(t.Context(), values, "42")
		if err != nil || len(got) != 26 || before != nil && !slices.Equal(got, before) {
			t.Errorf("%s: values = %q, %v, want %q", test.what, got, err, before)
		}
		before = got
		if err := r.Ping(t.Context()); err != nil {
			t.Errorf("%s: Ping = %v", test.what, err)
		}
		if got := tap.count(); got != test.want {
			t.Errorf("%s: %d statements got a name, want %d", test.what, got, test.want)
		}
	}
}

// tapped makes a tap to the site's database, and the option that goes by it.
func (s *site) tapped(pooled bool) (*tap, func(*Options)) {
	s.t.Helper()
	u, err := url.Parse(s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	p := newTap(s.t, u.Host, pooled)
	u.Host = p.addr
	return p, func(o *Options) { o.Database, o.DatabaseConns = u.String(), 1 }
}

// tap is a way to PostgreSQL that reads along.
type tap struct {
	addr   string
	pooled bool // make up the key at connect, as a pooler does

	mu    sync.Mutex
	named int // guarded by mu, as is the next: Parse messages with a name
	asked int // connections begun, and statements sent
}

func newTap(t testing.TB, target string, pooled bool) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{addr: l.Addr().String(), pooled: pooled}
	var work sync.WaitGroup
	t.Cleanup(func() { l.Close(); work.Wait() })
	work.Go(func() { // ends with the listener
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			work.Go(func() { p.copy(out, in, true) }) // these two end with either connection
			work.Go(func() { p.copy(in, out, false) })
		}
	})
	return p
}

// copy passes messages on (PostgreSQL manual, Message Formats). The first of the client has no type.
func (p *tap) copy(to, from net.Conn, client bool) {
	defer to.Close()
	defer from.Close()
	for first := client; ; first = false {
		head := make([]byte, 5)
		if first {
			head = head[:4]
		}
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[len(head)-4:])-4)
		if _, err := io.ReadFull(from, body); err != nil {
			return
		}
		const cancel = 80877102                                                                                           // CancelRequest, of a connection of its own
		if client && (first && binary.BigEndian.Uint32(body) != cancel || !first && (head[0] == 'B' || head[0] == 'Q')) { // Bind, Query
			p.mu.Lock()
			p.asked++
			p.mu.Unlock()
		}
		switch {
		case client && !first && head[0] == 'P' && !bytes.HasPrefix(body, []byte{0}):
			p.mu.Lock()
			p.named++
			p.mu.Unlock()
		case !client && head[0] == 'K' && p.pooled:
			body[0] ^= 0x40
		}
		if _, err := to.Write(append(head, body...)); err != nil {
			return
		}
	}
}

func (p *tap) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.named
}

// questions counts what the server was troubled with: connections, and statements.
func (p *tap) questions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// A prepared statement must give the types that it gave before; PostgreSQL says so once, and it is prepared again.
func TestAColumnsTypeChangesUnderAPreparedStatement(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	v := s.open(func(o *Options) { o.DatabaseConns = 1 })
	mustVerify(t, v, aliceKey)
	s.exec(`ALTER TABLE django_session ALTER session_data TYPE varchar(100000)`)
	if _, err := v.Verify(t.Context(), cookie(aliceKey)); err != nil {
		var refused *authn.Refused
		if errors.As(err, &refused) {
			t.Errorf("Verify after the migration = %v, want no refusal", err)
		}
		mustVerify(t, v, aliceKey)
	}
	s.exec(`ALTER TABLE auth_user ALTER id TYPE bigint, ALTER password TYPE text`)
	if _, err := v.Verify(t.Context(), cookie(aliceKey)); err != nil {
		mustVerify(t, v, aliceKey)
	}
}
