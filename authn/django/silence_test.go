package django

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/breaker"
	"github.com/gatecast/gatecast/authn/django/pgtest"
)

// handClock is the clock of breakers, set by hand.
type handClock struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func setClock(breakers ...*breaker.Breaker) *handClock {
	c := &handClock{now: time.Now()}
	for _, b := range breakers {
		b.Now = func() time.Time {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.now
		}
	}
	return c
}

func (c *handClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// lock takes a table of PostgreSQL or MariaDB for itself, as a migration does, or a SQLite file, until release is called.
func (s *site) lock(table string) (release func()) {
	s.t.Helper()
	c, err := s.db.Conn(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	statements := []string{"BEGIN EXCLUSIVE"}
	switch {
	case s.pg:
		statements = []string{"BEGIN", "LOCK TABLE " + quoteName(table) + " IN ACCESS EXCLUSIVE MODE"}
	case s.maria:
		statements = []string{"LOCK TABLES " + table + " WRITE"}
	}
	for _, statement := range statements {
		if _, err := c.ExecContext(context.Background(), statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
	release = sync.OnceFunc(func() {
		last := "ROLLBACK"
		if s.maria {
			last = "UNLOCK TABLES"
		}
		if _, err := c.ExecContext(context.Background(), last); err != nil {
			s.t.Error(err)
		}
		c.Close()
	})
	s.t.Cleanup(release)
	return release
}

// inVain asks n times at once, and wants no answer and nobody sent away.
func inVain(t *testing.T, n int, ask func() error) {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			var refused *authn.Refused
			if err := ask(); err == nil || errors.As(err, &refused) || errors.Is(err, breaker.ErrOpen) {
				t.Errorf("of those that are first one heard %v, want that there was no answer", err)
			}
		})
	}
	all.Wait()
}

// hangTime is query_timeout of these tests: enough for a busy machine, so that what does answer answers in time.
const hangTime = time.Second

// A login asks for two rows, and the first that hangs holds it: answers about the session must not have the next login wait for the user.
func TestATableThatIsLocked(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		if strings.Contains(t.Name(), "wal") { // readers of which wait for nobody
			return
		}
		t.Parallel() // it waits most of the time
		s.addUser(account{id: "42"})
		s.login(aliceKey, "42")
		s.login(bobKey, "no key of a user")
		v := s.open(func(o *Options) { o.QueryTimeout = hangTime })
		clock := setClock(v.db.breakers.session, v.db.breakers.user)
		id := mustVerify(t, v, aliceKey)
		login := func() error {
			_, err := v.Verify(t.Context(), cookie(aliceKey))
			return err
		}
		release := s.lock(s.user)
		inVain(t, breaker.Limit-1, login)
		if s.pg || s.maria {
			_, err := v.Verify(t.Context(), cookie(bobKey)) // the user table is not asked, which is no answer
			wantRefused(t, "Verify of who cannot be a user", err, reasonUnknownUser)
		}
		inVain(t, 1, login)
		for range 10 {
			if err := login(); !errors.Is(err, breaker.ErrOpen) {
				t.Errorf("Verify of those that come after = %v", err)
			}
		}
		if err := v.Ping(t.Context()); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("Ping = %v", err)
		}
		if s.pg {
			if r := v.Revalidate(t.Context(), []*authn.Identity{id}); r[0].Err == nil || errors.Is(r[0].Err, breaker.ErrOpen) {
				t.Errorf("a sweep = %+v, want that it was asked, and could not tell", r[0])
			}
		}
		release()
		clock.pass(breaker.Pause)
		mustVerify(t, v, aliceKey)
		if err := v.Ping(t.Context()); err != nil {
			t.Errorf("Ping = %v", err)
		}
	})
}

// A node that starts beside a server that takes connections and says nothing knows none of its tables; there it is the login's own time that is up.
func TestAServerThatNeverSaidAnything(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := newSQLiteSite(t, plainSite, "wal")
	for _, scheme := range []string{"postgres", "mysql"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			o := s.options()
			o.Database = scheme + "://gatecast@" + l.Addr().String() + "/site"
			starting, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			v, err := Open(starting, o, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			setClock(v.db.breakers.session)
			login := func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
				defer cancel()
				_, err := v.Verify(ctx, cookie(aliceKey))
				return err
			}
			inVain(t, breaker.Limit, login)
			if err := login(); !errors.Is(err, breaker.ErrOpen) {
				t.Errorf("Verify of one that comes after = %v", err)
			}
			if err := v.Ping(t.Context()); !errors.Is(err, breaker.ErrOpen) {
				t.Errorf("Ping = %v", err)
			}
		})
	}
}

// What the database says is an answer, also where it is an error; so no migration has it left alone.
func TestWhatADatabaseSaysIsAnAnswer(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		t.Parallel()
		s.addUser(account{id: "42"})
		s.login(aliceKey, "42")
		v := s.open()
		mustVerify(t, v, aliceKey)
		s.exec("ALTER TABLE " + s.user + " RENAME TO elsewhere")
		for range 2 * breaker.Limit {
			if _, err := v.Verify(t.Context(), cookie(aliceKey)); err == nil || errors.Is(err, breaker.ErrOpen) {
				t.Fatalf("Verify without the user table = %v", err)
			}
		}
		s.exec("ALTER TABLE elsewhere RENAME TO " + s.user)
		waitFor(t, func() bool { _, err := v.Verify(t.Context(), cookie(aliceKey)); return err == nil })
	})
}

// The cache's table is asked besides the others, and left alone besides them.
func TestACacheTableThatIsLocked(t *testing.T) {
	t.Parallel()
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	k := tableKeeper(t, s)
	var log bytes.Buffer
	o := s.options()
	o.Engine, o.Cache, o.QueryTimeout = EngineCachedDB, k.address, hangTime
	v, err := Open(t.Context(), o, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	clock := setClock(v.db.breakers.session, v.db.breakers.user, v.db.breakers.cached)
	mustVerify(t, v, aliceKey)
	release := s.lock(strings.TrimPrefix(k.address, cacheTable))
	var first sync.WaitGroup
	for range breaker.Limit { // each waits for the cache, and is in by the row
		first.Go(func() {
			if _, err := v.Verify(t.Context(), cookie(aliceKey)); err != nil {
				t.Errorf("Verify while the cache's table is locked = %v", err)
			}
		})
	}
	first.Wait()
	if err := v.db.breakers.cached.Check(); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("after as many = %v", err)
	}
	mustVerify(t, v, aliceKey)
	if err := v.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v, and everybody is let in", err)
	}
	if text := log.String(); strings.Contains(text, "unavailable") || !strings.Contains(text, "sessions are read from its database") {
		t.Errorf("the log says %q", text)
	}
	release()
	clock.pass(breaker.Pause)
	mustVerify(t, v, aliceKey)
	if err := v.db.breakers.cached.Check(); err != nil {
		t.Errorf("when it answers again = %v", err)
	}
}

// With engine cache there is nothing else: the node is not ready while the table is left alone.
func TestACacheTableThatEverybodyNeeds(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	k := tableKeeper(t, s)
	v := s.open(func(o *Options) { o.Engine, o.Cache = EngineCache, k.address })
	if err := v.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range breaker.Limit {
		v.db.breakers.cached.Ask(t.Context(), func() error { return io.EOF })
	}
	if err := v.Ping(t.Context()); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("Ping = %v", err)
	}
}

// Rules have a breaker for each sql: one that hangs takes no others with it, and is asked no more for a moment.
func TestAnSQLRuleThatHangs(t *testing.T) {
	t.Parallel()
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.addUser(account{id: "42"})
	s.members()
	s.addMember(7, "42", "owner")
	s.exec(`CREATE TABLE chat_ban (user_id integer)`)
	rooms, bans := query(t, memberRooms, "room_id"), query(t, "SELECT 1 FROM chat_ban WHERE user_id = {id}")
	o := s.options()
	o.QueryTimeout = hangTime
	r, err := OpenRows(t.Context(), o, slog.New(slog.DiscardHandler), rooms, bans)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	clock := setClock(r.breaker(rooms), r.breaker(bans))
	rowsOf(t, r, rooms, "42", "7")
	release := s.lock("chat_member")
	ask := func() error {
		_, err := r.Rows(t.Context(), rooms, "42")
		return err
	}
	inVain(t, breaker.Limit-1, ask)
	rowsOf(t, r, rooms, "no key") // the database is not asked, which is no answer
	inVain(t, 1, ask)
	for range 10 {
		if err := ask(); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("Rows of those that come after = %v", err)
		}
		rowsOf(t, r, bans, "42")
	}
	if err := r.Ping(t.Context()); err != nil {
		t.Errorf("Ping while one rule hangs = %v", err)
	}
	release()
	clock.pass(breaker.Pause)
	rowsOf(t, r, rooms, "42", "7")
	if r.Use(bans); len(r.breakers) != 1 {
		t.Errorf("%d breakers for one rule in use", len(r.breakers))
	}
}
