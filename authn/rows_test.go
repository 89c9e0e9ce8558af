package authn_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
)

// table is a RowSource: the rooms of users.
type table struct {
	mu    sync.Mutex
	rooms map[string][]string
	err   error
	wait  chan struct{} // if not nil, questions end when it is closed
	asked int
}

func (s *table) Rows(ctx context.Context, _ *authn.Query, user string) ([]string, error) {
	s.mu.Lock()
	s.asked++
	rooms, err, wait := slices.Clone(s.rooms[user]), s.err, s.wait
	s.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return rooms, err
}

func (s *table) set(user string, rooms ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rooms[user] = rooms
}

func (s *table) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *table) wants(t *testing.T, asked int, when string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked != asked {
		t.Errorf("%s: the database was asked %d times, want %d", when, s.asked, asked)
	}
}

func compileRules(t *testing.T, rules ...authn.Rule) *authn.Rules {
	t.Helper()
	r, err := authn.CompileRules(rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var roomRule = authn.Rule{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Join: []string{"room.{row.room}"}, Publish: []string{"room.{row.room}.{id}"}}

func newRowChain(t *testing.T, v *authntest.Fake, s *table, rules ...authn.Rule) *authn.Chain {
	t.Helper()
	c := newChain(t, onlyDjango, one(v))
	c.AskRows(s)
	c.SetRules(compileRules(t, rules...))
	return c
}

func login(t *testing.T, c *authn.Chain, key string) *authn.Identity {
	t.Helper()
	id, err := c.Authenticate(t.Context(), cookie(key))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func hears(t *testing.T, c *authn.Chain, id *authn.Identity, group string) bool {
	t.Helper()
	g, err := c.Grants(id, "c")
	if err != nil {
		t.Fatal(err)
	}
	return g.CanSubscribe([]byte(group))
}

func TestRowsGrant(t *testing.T) {
	s := &table{rooms: map[string][]string{"user-a": {"7", "*", "", "x.y"}, "user-banned": {"1"}}}
	ban := authn.Rule{To: "authenticated", SQL: "SELECT 1 FROM ban WHERE user_id = {id}", Deny: []string{"room.1"}}
	open := authn.Rule{To: "authenticated", Subscribe: []string{"room.1"}}
	c := newRowChain(t, hashed(true, accept), s, roomRule)
	a := login(t, c, "a")
	g, err := c.Grants(a, "c")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := g.Join(), []string{"user.user-a", "room.7", "room.%2A", "room.x%2Ey"}; !slices.Equal(got, want) {
		t.Errorf("Join = %q, want %q", got, want)
	}
	for name, want := range map[string]bool{"room.7.user-a": true, "room.8.user-a": false, "room.7.user-b": false, "room.x.y": false} {
		if got := g.CanPublish([]byte(name)); got != want {
			t.Errorf("CanPublish(%q) = %v, want %v", name, got, want)
		}
	}
	if hears(t, c, login(t, c, "b"), "room.7") {
		t.Error("somebody without rows hears a room")
	}

	// Without a row an entry does not hold, also one without {row.…}.
	c = newRowChain(t, hashed(true, accept), s, open, ban)
	if !hears(t, c, login(t, c, "b"), "room.1") || hears(t, c, login(t, c, "banned"), "room.1") {
		t.Error("a deny with sql does not hold for those with a row alone")
	}
}

func TestRowsAreAskedForWhomTheRuleIsFor(t *testing.T) {
	s := &table{rooms: map[string][]string{}}
	staff := roomRule
	staff.To = "staff"
	c := newRowChain(t, hashed(true, func(_ context.Context, key string) (*authn.Identity, error) {
		return &authn.Identity{ID: key, Kind: key}, nil
	}), s, staff)
	login(t, c, authn.KindUser)
	s.wants(t, 0, "a user of no rule")
	login(t, c, authn.KindStaff)
	s.wants(t, 1, "one of a rule")
}

func TestRowsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{rooms: map[string][]string{"u": {"1"}}, wait: make(chan struct{})}
		c := newRowChain(t, hashed(true, func(context.Context, string) (*authn.Identity, error) { return &authn.Identity{ID: "u"}, nil }), s, roomRule)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { login(t, c, fmt.Sprint(i)) })
		}
		synctest.Wait()
		s.wants(t, 1, "20 logins of one user at once")
		close(s.wait)
		wg.Wait()
		s.wait = nil
		login(t, c, "21")
		s.wants(t, 1, "another session")
		advance(10 * time.Second)
		login(t, c, "21")
		s.wants(t, 2, "when cache_ttl is over")
		c.ForgetUser("u")
		login(t, c, "21")
		s.wants(t, 3, "after revalidate")
		if s := c.Stats(); s.RowsAnswered != 3 || s.RowsFailed != 0 || s.RowsCached == 0 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

// downTable is a RowSource that can be pinged, and is down.
type downTable struct{ table }

func (*downTable) Ping(context.Context) error { return errors.New("no route") }

// A question counts when it ends, as what it ended with: counters never go back. Who gave up waiting says nothing about the database.
func TestQuestionsCountWhenTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{rooms: map[string][]string{"user-a": {"1"}}}
		c := newRowChain(t, hashed(true, accept), s, roomRule)
		a := login(t, c, "a")
		wants := func(answered, failed uint64, when string) {
			t.Helper()
			if s := c.Stats(); s.RowsAnswered != answered || s.RowsFailed != failed {
				t.Errorf("%s: %d answered and %d failed, want %d and %d", when, s.RowsAnswered, s.RowsFailed, answered, failed)
			}
		}
		wants(1, 0, "after a login")
		s.wait = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.Revalidate(ctx, []*authn.Identity{a}) })
		synctest.Wait()
		wants(1, 0, "while the database is asked")
		cancel()
		wg.Wait()
		wants(1, 0, "when who asked gave up")
		s.wait = nil
		s.fail(errors.New("down"))
		c.Revalidate(t.Context(), []*authn.Identity{a})
		wants(1, 1, "with the database down")
	})
}

func TestNobodyIsLetInWithoutTheRows(t *testing.T) {
	s := &table{rooms: map[string][]string{"user-a": {"1"}}, err: errors.New("down")}
	c := newRowChain(t, hashed(true, accept), s, roomRule)
	var refused *authn.Refused
	if id, err := c.Authenticate(t.Context(), cookie("a")); err == nil || errors.As(err, &refused) {
		t.Fatalf("with the database down: %v, %v, want that it is unavailable", id, err)
	}
	s.fail(nil)
	a := login(t, c, "a") // nothing of the failure is kept
	s.fail(errors.New("down"))
	if !hears(t, c, login(t, c, "a"), "room.1") {
		t.Error("a login in the cache does not live on")
	}
	if r := c.Revalidate(t.Context(), []*authn.Identity{a})[0]; r.Err == nil || errors.As(r.Err, &refused) || r.Identity != nil {
		t.Errorf("Revalidate = %+v, want that it cannot tell", r)
	}
	s.fail(authn.Refuse("grants", nil))
	if r := c.Revalidate(t.Context(), []*authn.Identity{a})[0]; !errors.As(r.Err, &refused) {
		t.Errorf("Revalidate of one with too many rows = %+v, want that it is refused", r)
	}

	// Without a database at all a rule is not passed over.
	c = newChain(t, onlyDjango, one(hashed(true, accept)))
	c.SetRules(compileRules(t, roomRule))
	if _, err := c.Authenticate(t.Context(), cookie("a")); err == nil {
		t.Error("a rule that cannot be asked was passed over")
	}
}

func TestSweepSeesChangedRows(t *testing.T) {
	s := &table{rooms: map[string][]string{"user-a": {"1", "2"}}}
	v := hashed(true, accept)
	c := newRowChain(t, v, s, roomRule)
	a, a2, b := login(t, c, "a"), login(t, c, "a"), login(t, c, "b")
	twin := *a // another login of the same user
	ids := []*authn.Identity{a, &twin, b}
	for i, r := range c.Revalidate(t.Context(), ids) {
		if r.Identity != nil || r.Err != nil {
			t.Errorf("%d: nothing changed, and the answer is %+v", i, r)
		}
	}
	s.wants(t, 4, "two users after two logins")
	if a2 != a {
		t.Fatal("the login was not in the cache")
	}

	s.set("user-a", "2")
	answers := c.Revalidate(t.Context(), ids)
	for i, r := range answers[:2] {
		if r.Err != nil || r.Identity == nil || hears(t, c, r.Identity, "room.1") || !hears(t, c, r.Identity, "room.2") {
			t.Errorf("%d: a row was removed, and the answer is %+v", i, r)
		}
	}
	if hears(t, c, login(t, c, "a"), "room.1") {
		t.Error("a login after the sweep has the rows of before")
	}

	// What the verifier tells holds when the rows cannot be told.
	v.Sweep = func(_ context.Context, ids []*authn.Identity) []authn.Recheck {
		out := make([]authn.Recheck, len(ids))
		for i, id := range ids {
			changed := *id
			changed.Groups, changed.Rows = []string{"Editors"}, nil
			out[i].Identity = &changed
		}
		return out
	}
	s.fail(errors.New("down"))
	r := c.Revalidate(t.Context(), []*authn.Identity{a})[0]
	if r.Err == nil || r.Identity == nil || !slices.Contains(r.Identity.Groups, "Editors") || !hears(t, c, r.Identity, "room.1") {
		t.Errorf("Revalidate = %+v, want the new groups with the old rows, and an error", r)
	}
}

func TestSweepGivesUpOnADeadDatabase(t *testing.T) {
	s := &table{rooms: map[string][]string{}}
	c := newRowChain(t, hashed(true, accept), s, roomRule)
	var ids []*authn.Identity
	for i := range 200 {
		ids = append(ids, login(t, c, fmt.Sprint(i)))
	}
	s.fail(errors.New("down"))
	for _, r := range c.Revalidate(t.Context(), ids) {
		if r.Err == nil {
			t.Fatal("a login counts as looked at")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if asked := s.asked - 200; asked > 40 {
		t.Errorf("a dead database was asked %d times in one sweep", asked)
	}
}

func TestARowRemovedDuringALoginDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{rooms: map[string][]string{"user-a": {"1"}}, wait: make(chan struct{})}
		c := newRowChain(t, hashed(true, accept), s, roomRule)
		got := make(chan *authn.Identity, 1) // never closed
		go func() { got <- login(t, c, "a") }()
		synctest.Wait() // the old row was read and is on its way
		s.set("user-a")
		c.ForgetUser("user-a")
		wait := s.wait
		s.mu.Lock()
		s.wait = nil
		s.mu.Unlock()
		close(wait)
		if id := <-got; hears(t, c, id, "room.1") {
			t.Error("the login has a row that was gone when revalidate was answered")
		}
		if hears(t, c, login(t, c, "a"), "room.1") {
			t.Error("the row that was gone is in the cache")
		}
	})
}

func TestNewSQLRulesAreAskedOfThoseThatAreIn(t *testing.T) {
	s := &table{rooms: map[string][]string{"user-a": {"1"}}}
	c := newRowChain(t, hashed(true, accept), s)
	a := login(t, c, "a")
	if c.SetRules(compileRules(t)) {
		t.Error("SetRules wants logins looked at though there are no queries")
	}
	staffOnly := roomRule
	staffOnly.To = "staff"
	for _, rule := range []authn.Rule{staffOnly, roomRule} { // the same query
		if !c.SetRules(compileRules(t, rule)) {
			t.Error("SetRules does not tell that there are queries")
		}
	}
	if _, err := c.Grants(a, "c"); !errors.Is(err, authn.ErrNoRows) {
		t.Errorf("Grants without the rows = %v, want ErrNoRows", err)
	}
	if !hears(t, c, login(t, c, "a"), "room.1") {
		t.Error("the login in the cache was taken, though it lacks the rows")
	}
	if r := c.Revalidate(t.Context(), []*authn.Identity{a})[0]; r.Identity == nil || !hears(t, c, r.Identity, "room.1") {
		t.Errorf("Revalidate = %+v, want the rows", r)
	}
}

func TestSQLRulesThatCannotWork(t *testing.T) {
	for _, tt := range []struct {
		rule authn.Rule
		want string
	}{
		{authn.Rule{To: "anonymous", SQL: "SELECT a FROM t WHERE id = {id}", Deny: []string{"a"}}, "nobody whose rows"},
		{authn.Rule{To: "authenticated", SQL: "DELETE FROM t WHERE id = {id}", Deny: []string{"a"}}, "sql: want one SELECT"},
		{authn.Rule{To: "authenticated", SQL: "SELECT a FROM t WHERE id = {id}"}, "that its rows could be for"},
		{authn.Rule{To: "authenticated", Subscribe: []string{"a.{row.x}"}}, "{row.x} is of a row, and there is no sql"},
		{authn.Rule{To: "authenticated", Subscribe: []string{"a.{rows.x}"}}, "unknown variable {rows.x}"},
		{authn.Rule{To: "authenticated", Site: "shop"}, "there is no sql in this entry"},
		{authn.Rule{To: "authenticated", SQL: "SELECT a FROM t WHERE id = {id}", Join: []string{"a.{row.a}.*"}}, "wildcard"},
	} {
		if _, err := authn.CompileRules([]authn.Rule{tt.rule}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("CompileRules(%+v) = %v, want %q", tt.rule, err, tt.want)
		}
	}
}

type panicking struct{}

func (panicking) Rows(context.Context, *authn.Query, string) ([]string, error) { panic("bug") }

func TestASourceThatPanicsLetsNobodyIn(t *testing.T) {
	c := newChain(t, onlyDjango, one(hashed(true, accept)))
	c.AskRows(panicking{})
	c.SetRules(compileRules(t, roomRule))
	for range 2 { // nobody waits for the answer that never comes
		if id, err := c.Authenticate(t.Context(), cookie("a")); err == nil {
			t.Fatalf("let in as %v", id)
		}
	}
}

func TestAOneTimeLoginHasItsRows(t *testing.T) {
	s := &table{rooms: map[string][]string{"u": {"1"}}}
	v := &onceVerifier{user: authn.Identity{ID: "u"}}
	c := newChain(t, onlyDjango, map[string]authn.Verifier{"django": v})
	c.AskRows(s)
	c.SetRules(compileRules(t, roomRule))
	id, err := c.AuthenticateToken(t.Context(), "ticket")
	if err != nil || !hears(t, c, id, "room.1") {
		t.Fatalf("AuthenticateToken = %v, %v", id, err)
	}
}

// onceVerifier takes any token once, for the user it has at that moment.
type onceVerifier struct {
	mu   sync.Mutex
	user authn.Identity // guarded by mu, as are all below
	err  error          // of Revalidate
	used bool
}

func (v *onceVerifier) set(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

func (*onceVerifier) OneTime(authn.Credential) bool { return true }

func (v *onceVerifier) Verify(context.Context, authn.Credential) (*authn.Identity, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.used {
		return nil, authn.Refuse("ticket_used", nil)
	}
	v.used = true
	id := v.user
	return &id, nil
}

func (v *onceVerifier) Revalidate(_ context.Context, ids []*authn.Identity) []authn.Recheck {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]authn.Recheck, len(ids))
	for i, old := range ids {
		now := *old
		now.Groups = v.user.Groups
		out[i] = authn.Recheck{Identity: &now, Err: v.err}
	}
	return out
}

// What changes while the rows of a one-time login are asked for is in the login, though its credential is used up.
func TestAOneTimeLoginIsReconsidered(t *testing.T) {
	hash := hashOf("session")
	for name, tt := range map[string]struct {
		change func(c *authn.Chain, v *onceVerifier, s *table)
		want   string // groups it hears, or why it is refused
		asked  int
	}{
		"nothing":       {func(*authn.Chain, *onceVerifier, *table) {}, "old room.1", 1},
		"somebody else": {func(c *authn.Chain, _ *onceVerifier, _ *table) { c.ForgetUser("v"); c.RevokeSession(hashOf("v"), 0) }, "old room.1", 1},
		"groups": {func(c *authn.Chain, v *onceVerifier, _ *table) {
			v.set(func() { v.user.Groups = []string{"new"} })
			c.ForgetUser("u")
		}, "new room.1", 2},
		"rows": {func(c *authn.Chain, _ *onceVerifier, s *table) { s.set("u", "2"); c.ForgetUser("u") }, "old room.2", 2},
		"all":  {func(c *authn.Chain, _ *onceVerifier, s *table) { s.set("u", "2"); c.ForgetAll() }, "old room.2", 2},
		"deactivated": {func(c *authn.Chain, v *onceVerifier, _ *table) {
			v.set(func() { v.err = authn.Refuse("inactive", nil) })
			c.ForgetUser("u")
		}, "refused inactive", 1},
		"database down": {func(c *authn.Chain, v *onceVerifier, _ *table) {
			v.set(func() { v.err = errors.New("down") })
			c.ForgetUser("u")
		}, "unavailable", 2},
		"logged out":        {func(c *authn.Chain, _ *onceVerifier, _ *table) { c.RevokeSession(hash, 0) }, "refused revoked", 1},
		"both, and at once": {func(c *authn.Chain, _ *onceVerifier, _ *table) { c.ForgetUser("u"); c.RevokeSession(hash, 0) }, "refused revoked", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wait := make(chan struct{})
				s := &table{rooms: map[string][]string{"u": {"1"}}, wait: wait}
				v := &onceVerifier{user: authn.Identity{ID: "u", Groups: []string{"old"}, SessionHash: hash}}
				c := newChain(t, onlyDjango, map[string]authn.Verifier{"django": v})
				c.AskRows(s)
				c.SetRules(compileRules(t, roomRule, authn.Rule{To: "authenticated", Subscribe: []string{"{groups}"}}))
				type result struct {
					id  *authn.Identity
					err error
				}
				done := make(chan result)
				go func() {
					id, err := c.AuthenticateToken(t.Context(), "ticket")
					done <- result{id, err}
				}()
				synctest.Wait() // the rows are being asked for
				tt.change(c, v, s)
				close(wait)
				r := <-done
				s.wants(t, tt.asked, name)
				var heard []string
				if r.err != nil {
					heard = append(heard, answer(nil, r.err))
				} else {
					for _, group := range []string{"old", "new", "room.1", "room.2"} {
						if hears(t, c, r.id, group) {
							heard = append(heard, group)
						}
					}
				}
				if got := strings.Join(heard, " "); got != tt.want {
					t.Errorf("%s (%v), want %s", got, r.err, tt.want)
				}
			})
		})
	}
}

func TestAOneTimeLoginThatChangesAllTheTimeIsUnavailable(t *testing.T) {
	var c *authn.Chain
	s := &forgetting{}
	c = newChain(t, onlyDjango, map[string]authn.Verifier{"django": &onceVerifier{user: authn.Identity{ID: "u"}}})
	s.chain = c
	c.AskRows(s)
	c.SetRules(compileRules(t, roomRule))
	if _, err := c.AuthenticateToken(t.Context(), "ticket"); !errors.Is(err, authn.ErrOvertaken) {
		t.Errorf("AuthenticateToken = %v, want ErrOvertaken", err)
	}
}

// forgetting is a RowSource during whose queries the user is forgotten.
type forgetting struct{ chain *authn.Chain }

func (s *forgetting) Rows(_ context.Context, _ *authn.Query, user string) ([]string, error) {
	s.chain.ForgetUser(user)
	return nil, nil
}

func TestRowsOfARuleThatIsGoneAreGivenUp(t *testing.T) {
	s := &table{rooms: map[string][]string{"user-a": {"1"}}}
	c := newRowChain(t, hashed(true, accept), s)
	c.SetRules(compileRules(t, roomRule))
	a := login(t, c, "a")
	if !c.SetRules(compileRules(t)) {
		t.Error("SetRules does not tell that there were queries")
	}
	r := c.Revalidate(t.Context(), []*authn.Identity{a})[0]
	if r.Err != nil || r.Identity == nil || len(r.Identity.Rows) != 0 {
		t.Fatalf("Revalidate = %+v, want the login without rows", r)
	}
	if again := c.Revalidate(t.Context(), []*authn.Identity{r.Identity})[0]; again.Err != nil || again.Identity != nil {
		t.Errorf("Revalidate = %+v, want that nothing changed", again)
	}
}

func TestAnotherConnOfACachedLoginCompilesNothing(t *testing.T) {
	rooms := make([]string, 1000)
	for i := range rooms {
		rooms[i] = fmt.Sprint(i)
	}
	s := &table{rooms: map[string][]string{"user-a": rooms}}
	c := newRowChain(t, hashed(true, accept), s, roomRule)
	first, err := c.Grants(login(t, c, "a"), "c1")
	if err != nil {
		t.Fatal(err)
	}
	a := login(t, c, "a")
	if got := testing.AllocsPerRun(100, func() {
		if g, err := c.Grants(a, "c2"); err != nil || g.Sets != first.Sets {
			t.Fatalf("another conn has %v, %v", g, err)
		}
	}); got > 3 { // the Grants, and what the race detector adds
		t.Errorf("%v allocations for the grants of another conn, want that they are not compiled", got)
	}

	// A row that is gone, and rules that have changed, hold from the next conn on.
	s.set("user-a", rooms[1:]...)
	c.ForgetUser("user-a")
	if hears(t, c, login(t, c, "a"), "room.0") || !hears(t, c, login(t, c, "a"), "room.1") {
		t.Error("after revalidate a login has the grants of before")
	}
	c.SetRules(compileRules(t, roomRule, authn.Rule{To: "authenticated", Deny: []string{"room.1"}}))
	if hears(t, c, login(t, c, "a"), "room.1") || !hears(t, c, login(t, c, "a"), "room.2") {
		t.Error("after a reload a login in the cache has the grants of before")
	}
}
