package django

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/breaker"
	"github.com/gatecast/gatecast/broker/subject"
)

// Users reads the users of a Django site for verifiers of other credentials than sessions, and the tables that say whose a token is. All
// methods may be called concurrently. It writes nothing.
type Users struct {
	opts     Options
	db       *database
	tables   []TokenTable
	breakers map[string]*breaker.Breaker // by name of a token table; static
	looked   atomic.Bool                 // the token tables were looked at since they last turned out to have changed
}

// TokenTable is a table of the site with a row for each token. The columns are trusted to be names: they come from code, not from config.
type TokenTable struct {
	Name    string // as in config, with or without a schema
	Lookup  string // column that a token is found by
	Value   string // column that is compared with the token
	User    string // column of the user's primary key
	Expires string // column of a time, NULL for never; "" = tokens do not expire
	Hint    string // what to do if the table is not there
}

// TokenRow is one row of a [TokenTable].
type TokenRow struct {
	Lookup, Value, User string
	Expires             time.Time // zero is never
	Err                 error     // the row cannot be read, which says nothing about the token
}

// OpenUsers connects to the site's database. Of o it needs the database and what says where the users are; no key. A database that does not answer
// yet is no error, as in [Open]. Close it.
func OpenUsers(ctx context.Context, o Options, log *slog.Logger, tables ...TokenTable) (*Users, error) {
	o.Engine, o.VerifyHash = "", false // no session is read here
	if err := o.ValidateUsers(); err != nil {
		return nil, err
	}
	o.Attributes = slices.Clone(o.Attributes)
	u := &Users{opts: o, tables: tables, breakers: make(map[string]*breaker.Breaker, len(tables))}
	for _, t := range tables {
		u.breakers[t.Name] = newBreaker(t.Name, log)
	}
	var err error
	if u.db, err = openDatabase(ctx, &u.opts, log); err != nil {
		return nil, err
	}
	if err := u.look(ctx); err != nil {
		if said, lasting := u.db.explain(err); lasting {
			u.db.close()
			return nil, said
		}
	}
	return u, nil
}

// ValidateUsers is Validate for [OpenUsers]: it asks for no key.
func (o *Options) ValidateUsers() error {
	return errors.Join(append(o.checkNames(), o.checkDatabase()...)...)
}

// Close closes the connections to the database. No other call may follow.
func (u *Users) Close() error { return u.db.close() }

// Ping asks the database for an answer, unless a part of it is being left alone.
func (u *Users) Ping(ctx context.Context) error {
	for _, b := range u.breakers {
		if err := b.Check(); err != nil {
			return err
		}
	}
	if err := u.look(ctx); err != nil {
		return err
	}
	return u.db.ping(ctx)
}

// Batch is how many rows one query may be asked for.
func (u *Users) Batch() int { return u.db.dialect.batch() }

// look sees to it that the token tables are what they should be, until they have been once.
func (u *Users) look(ctx context.Context) error {
	if u.looked.Load() {
		return nil
	}
	ctx, cancel := u.db.limit(ctx, sweepTimeout(u.db.timeout))
	defer cancel()
	for i := range u.tables {
		t := &u.tables[i]
		columns, err := u.db.dialect.columns(ctx, u.db.db, t.Name)
		if err != nil {
			return u.db.failed("look at table "+t.Name, err)
		}
		if len(columns) == 0 {
			return wrong("there is no table %s: %s", t.Name, t.Hint)
		}
		for _, c := range []string{t.Lookup, t.Value, t.User, t.Expires} {
			if _, ok := columns[c]; !ok && c != "" {
				return wrong("table %s has no column %s; its columns are %s: %s", t.Name, c, strings.Join(slices.Sorted(maps.Keys(columns)), ", "), t.Hint)
			}
		}
		if _, err := u.rows(ctx, t, []string{"-"}); err != nil { // as nobody, so that a missing right is found at start
			return err
		}
	}
	u.looked.Store(true)
	return nil
}

// Tokens returns the rows of t whose lookup column is one of keys, at most Batch of them, in no order. It does not judge them. One key is a login's, which is
// not asked about while the table is being left alone.
func (u *Users) Tokens(ctx context.Context, t *TokenTable, keys []string) (found []TokenRow, err error) {
	err = u.db.read(ctx, u.breakers[t.Name], len(keys), func(timeout time.Duration) error {
		found, err = u.tokens(ctx, timeout, t, keys)
		return err
	})
	return found, err
}

func (u *Users) tokens(ctx context.Context, timeout time.Duration, t *TokenTable, keys []string) ([]TokenRow, error) {
	if err := u.look(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := u.db.limit(ctx, timeout)
	defer cancel()
	return u.rows(ctx, t, keys)
}

func (u *Users) rows(ctx context.Context, t *TokenTable, keys []string) ([]TokenRow, error) {
	d := u.db
	lookup, expires := quoteName(t.Lookup), "NULL"
	if t.Expires != "" {
		expires = d.dialect.clock(quoteName(t.Expires))
	}
	query, args, err := d.dialect.many(`SELECT `+d.dialect.text(lookup)+`, `+d.dialect.text(quoteName(t.Value))+`, `+d.dialect.text(quoteName(t.User))+`, `+expires+
		` FROM `+quoteName(t.Name)+` WHERE `+d.dialect.in(lookup, idText), keys, idText)
	if err != nil {
		return nil, err
	}
	rows, err := d.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, u.failed("read the token", err)
	}
	defer rows.Close()
	var found []TokenRow
	for rows.Next() {
		var r TokenRow
		var at sql.NullString
		if err := rows.Scan(&r.Lookup, &r.Value, &r.User, &at); err != nil {
			return nil, u.failed("read the token", err)
		}
		if at.Valid {
			wall, err := time.Parse(wallLayout, at.String)
			if err != nil {
				r.Err = fmt.Errorf("read the token: %s is not a time like %q", t.Expires, wallLayout)
			}
			r.Expires = d.instant(wall)
		}
		found = append(found, r)
	}
	if err := rows.Err(); err != nil {
		return nil, u.failed("read the token", err)
	}
	return found, nil
}

// failed is database.failed; after a migration under us the token tables are looked at again too.
func (u *Users) failed(doing string, err error) error {
	if u.db.dialect.undefined(err) {
		u.looked.Store(false)
	}
	return u.db.failed(doing, err)
}

// User is somebody as the site's tables have it now.
type User struct {
	// Identity has the id with user_prefix, in the spelling of Django's own sessions; kind, groups, permissions and attributes. The caller completes it.
	Identity authn.Identity
	// Password is the column password, a hash; "" if the user model has none.
	Password authn.Secret
	// Active is is_active; true if the user model has no such column.
	Active bool
}

// Find looks up users by primary key, at most Batch of them. Who is not there is not in the answer.
func (u *Users) Find(ctx context.Context, keys []string) (map[string]*User, error) {
	rows := map[string]*userRow{}
	var err error
	if len(keys) == 1 {
		var row *userRow
		if row, err = u.db.user(ctx, keys[0]); row != nil {
			rows[keys[0]] = row
		}
	} else {
		rows, err = u.db.users(ctx, keys)
	}
	if err != nil {
		return nil, err
	}
	q, err := u.db.prepare(ctx) // after the question, which may not be asked
	if err != nil {
		return nil, err
	}
	found := make(map[string]*User, len(rows))
	for key, row := range rows {
		normal, _ := normalID(key, q.schema.id)
		user := &User{Active: row.active, Password: authn.Secret(row.password)}
		user.Identity = authn.Identity{ID: u.opts.UserPrefix + spelled(normal, q.schema.id), Groups: row.groups, Attrs: row.attrs}
		user.Identity.Kind, user.Identity.Perms = row.rights()
		if subject.CheckUserID(user.Identity.ID) == nil {
			found[key] = user
		}
	}
	return found, nil
}

// spelled is a primary key as Field.value_to_string writes it into sessions, from its normal form.
func spelled(normal string, kind idKind) string {
	if kind == idUUID && len(normal) == 32 {
		return normal[:8] + "-" + normal[8:12] + "-" + normal[12:16] + "-" + normal[16:20] + "-" + normal[20:]
	}
	return normal
}

// rights are the kind of user and the permissions. A user who is not active has none in Django, whatever the columns say
// (ModelBackend._get_permissions, PermissionsMixin.has_perm, AdminSite.has_permission).
func (r *userRow) rights() (kind string, perms []string) {
	switch {
	case !r.active:
		return authn.KindUser, nil
	case r.superuser:
		return authn.KindSuperuser, r.perms
	case r.staff:
		return authn.KindStaff, r.perms
	}
	return authn.KindUser, r.perms
}

// Complete gives a login the id, kind, groups, permissions and attributes that the database has for its user, nil if there is none. What only the credential knows
// stays. A user who is not there or not active is refused. login stays as it is.
func (u *Users) Complete(login *authn.Identity, user *User) (*authn.Identity, error) {
	switch {
	case user == nil:
		return nil, authn.Refuse(reasonUnknownUser, nil)
	case !user.Active:
		return nil, authn.Refuse(reasonInactive, nil)
	}
	id := *login
	id.ID, id.Kind, id.Groups, id.Perms = user.Identity.ID, user.Identity.Kind, user.Identity.Groups, user.Identity.Perms
	if len(u.opts.Attributes) > 0 {
		id.Attrs = maps.Clone(login.Attrs)
		if id.Attrs == nil {
			id.Attrs = make(map[string][]string)
		}
		for _, name := range u.opts.Attributes { // what is NULL now is not what it was
			delete(id.Attrs, name)
		}
		maps.Copy(id.Attrs, user.Identity.Attrs)
	}
	return &id, nil
}

// Compare tells a sweep what became of a login: nothing, or now in its place, with what the chain put into old. old stays as it is: other Conns share it.
func Compare(old, now *authn.Identity) authn.Recheck {
	if now.Kind == old.Kind && now.Expires.Equal(old.Expires) && sameSet(now.Groups, old.Groups) && sameSet(now.Perms, old.Perms) &&
		maps.EqualFunc(now.Attrs, old.Attrs, slices.Equal) {
		return authn.Recheck{}
	}
	replaced := *old
	replaced.Kind, replaced.Expires, replaced.Groups, replaced.Perms, replaced.Attrs = now.Kind, now.Expires, now.Groups, now.Perms, now.Attrs
	return authn.Recheck{Identity: &replaced}
}
