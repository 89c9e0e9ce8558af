package django

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// schema is what the site's tables turned out to be.
type schema struct {
	id                       idKind
	password                 bool
	active, staff, superuser bool
	groups, permissions      bool
	groupsTable, permsTable  string
	groupsKey, permsKey      string // the columns there that point to the user
	attributes               []string
	missing                  []string // tables of groups and permissions that are not there
}

// queries are the SQL texts for a schema.
type queries struct {
	schema                               *schema
	ping, session, sessions, user, users string
	cache                                string // of a DatabaseCache
}

// prepare looks at the tables once, the first time the database answers, and tries the queries, so that a missing column or right is found at start and not by the first user.
func (d *database) prepare(ctx context.Context) (*queries, error) {
	if q := d.queries.Load(); q != nil {
		return q, nil
	}
	select {
	case d.looking <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the Django database: %w", ctx.Err())
	}
	defer func() { <-d.looking }()
	if q := d.queries.Load(); q != nil {
		return q, nil
	}
	if d.failure != nil && time.Since(d.failureAt) < lookPause {
		return nil, d.failure
	}
	q, err := d.look(ctx)
	if err != nil && ctx.Err() == nil {
		d.failure, d.failureAt = err, time.Now()
	}
	if err != nil {
		return nil, err
	}
	d.queries.Store(q)
	return q, nil
}

// lookPause keeps the logins that wait for a database that is down from asking it one after the other.
const lookPause = 500 * time.Millisecond

func (d *database) look(ctx context.Context) (*queries, error) {
	ctx, cancel := d.limit(ctx, sweepTimeout(d.timeout))
	defer cancel()
	s, err := d.detect(ctx)
	if err != nil {
		return nil, d.failed("look at the Django tables", err)
	}
	q := d.build(s)
	if err := d.try(ctx, q); err != nil {
		return nil, d.failed("try to read the Django tables", err)
	}
	if d.seen != nil && (d.seen.groups && !s.groups || d.seen.permissions && !s.permissions) { // else what a group is denied would be allowed to it
		return nil, wrong("tables of groups and permissions are gone that were there before (%s): put them back, or restart gatecast if the site does without", strings.Join(s.missing, ", "))
	}
	if d.seen == nil || len(d.seen.missing) != len(s.missing) {
		d.warnMissing(s)
	}
	d.seen = s
	return q, nil
}

// warnMissing says which rules of [[grants]] mean nothing here.
func (d *database) warnMissing(s *schema) {
	rules := `"group:" and "perm:"`
	switch {
	case s.groups && s.permissions:
		return
	case s.groups:
		rules = `"perm:"`
	}
	d.log.Warn("the site's database lacks tables, so rules of [[grants]] to "+rules+" never match its users, and what such a rule denies is not denied", "missing", s.missing)
}

// wrongTable is an error of the settings or the site's migrations: trying again does not help.
type wrongTable struct{ text string }

func (e *wrongTable) Error() string { return e.text }

func wrong(format string, args ...any) error { return &wrongTable{fmt.Sprintf(format, args...)} }

func (d *database) detect(ctx context.Context) (*schema, error) {
	o := d.opts
	if o.rows() {
		if err := d.detectTable(ctx, o.SessionTable, "run manage.py migrate, or set session_table, or is this another database?",
			"session_table must be one with Django's session columns, or session_key_column, session_data_column and session_expire_column must name them",
			o.SessionKeyColumn, o.SessionDataColumn, o.SessionExpireColumn); err != nil {
			return nil, err
		}
	}
	if table, ok := o.tableCache(); ok {
		if err := d.detectTable(ctx, table, "run manage.py createcachetable, or correct the name after db:// in cache, or is this another database?",
			"cache must name the table of a DatabaseCache", "cache_key", "value", "expires"); err != nil {
			return nil, err
		}
	}
	columns, err := d.dialect.columns(ctx, d.db, o.UserTable)
	if err != nil {
		return nil, err
	}
	if len(columns) == 0 {
		return nil, wrong("there is no table %s: set user_table to the table of AUTH_USER_MODEL (manage.py gatecast_keys prints it), or run manage.py migrate", o.UserTable)
	}
	has := func(name string) bool { _, ok := columns[name]; return ok }
	if !has(o.UserIDColumn) {
		return nil, wrong("table %s has no column %s: set user_id_column to its primary key; its columns are %s", o.UserTable, o.UserIDColumn, strings.Join(slices.Sorted(maps.Keys(columns)), ", "))
	}
	s := &schema{
		id: idKindOf(columns[o.UserIDColumn]), password: has("password"),
		active: has("is_active"), staff: has("is_staff"), superuser: has("is_superuser"),
		attributes: o.Attributes,
	}
	if o.VerifyHash && !s.password {
		return nil, wrong("table %s has no column password: set user_table right, or verify_hash = false for a model that does not derive from AbstractBaseUser", o.UserTable)
	}
	for _, a := range o.Attributes {
		if !has(a) {
			return nil, wrong("table %s has no column %s, which attributes names; its columns are %s", o.UserTable, a, strings.Join(slices.Sorted(maps.Keys(columns)), ", "))
		}
	}
	return s, d.detectRelations(ctx, s)
}

// detectTable finds out whether a table has the columns that are read, and says what to do if not.
func (d *database) detectTable(ctx context.Context, table, absent, lacking string, names ...string) error {
	columns, err := d.dialect.columns(ctx, d.db, table)
	if err != nil {
		return err
	}
	if len(columns) == 0 {
		return wrong("there is no table %s: %s", table, absent)
	}
	for _, name := range names {
		if _, ok := columns[name]; !ok {
			return wrong("table %s has no column %s: %s", table, name, lacking)
		}
	}
	return nil
}

// tableCache is the table of a DatabaseCache, if the engine's sessions are in one.
func (o *Options) tableCache() (table string, ok bool) {
	table, ok = strings.CutPrefix(o.Cache, cacheTable)
	return table, ok && o.cached()
}

// detectRelations finds the tables of PermissionsMixin. A user model without it has none, which is no error; tables named in config are.
func (d *database) detectRelations(ctx context.Context, s *schema) (err error) {
	o := d.opts
	s.groupsTable, s.groupsKey, err = d.relation(ctx, "user_groups_table", o.UserGroupsTable, o.UserTable+"_groups", "group_id")
	if err != nil {
		return err
	}
	s.permsTable, s.permsKey, err = d.relation(ctx, "user_permissions_table", o.UserPermissionsTable, o.UserTable+"_user_permissions", "permission_id")
	if err != nil {
		return err
	}
	if s.groupsTable == "" {
		s.missing = append(s.missing, o.UserTable+"_groups")
	}
	if s.permsTable == "" {
		s.missing = append(s.missing, o.UserTable+"_user_permissions")
	}
	there := func(tables ...string) bool {
		all := true
		for _, table := range tables {
			columns, e := d.dialect.columns(ctx, d.db, d.beside(table))
			if e != nil && err == nil {
				err = e
			}
			if len(columns) == 0 {
				all, s.missing = false, append(s.missing, d.beside(table))
			}
		}
		return all
	}
	s.groups = s.groupsTable != "" && there("auth_group")
	s.permissions = s.groups && s.permsTable != "" && there("auth_permission", "auth_group_permissions", "django_content_type")
	return err
}

// beside is a table of django.contrib.auth in the schema of the user table.
func (d *database) beside(table string) string {
	if schema, _, ok := strings.Cut(d.opts.UserTable, "."); ok {
		return schema + "." + table
	}
	return table
}

// relation finds a many-to-many table and its column for the user: the one that is neither the table's id nor the other side's.
func (d *database) relation(ctx context.Context, key, named, derived, other string) (table, column string, err error) {
	if named == NoTable {
		return "", "", nil
	}
	table = named
	if table == "" {
		table = derived
	}
	columns, err := d.dialect.columns(ctx, d.db, table)
	if err != nil {
		return "", "", err
	}
	if len(columns) == 0 {
		if named != "" {
			return "", "", wrong("there is no table %s, which %s names", named, key)
		}
		return "", "", nil
	}
	if _, ok := columns[d.opts.UserForeignKey]; ok { // the two tables may name theirs differently
		column = d.opts.UserForeignKey
	} else {
		for c := range columns {
			if c != "id" && c != other && strings.HasSuffix(c, "_id") {
				if column != "" {
					return "", "", wrong("table %s has more than one column that could point to the user (%s, %s): set user_foreign_key", table, min(c, column), max(c, column))
				}
				column = c
			}
		}
	}
	if _, ok := columns[column]; !ok {
		return "", "", wrong("table %s has no column that points to the user: set user_foreign_key; its columns are %s", table, strings.Join(slices.Sorted(maps.Keys(columns)), ", "))
	}
	if _, ok := columns[other]; !ok {
		return "", "", wrong("table %s has no column %s: set %s right", table, other, key)
	}
	return table, column, nil
}

// idKindOf tells by the column's type what a primary key is. Django's UUIDField is uuid in PostgreSQL and MariaDB 10.7 and later, char(32) in SQLite and MySQL; CharField is varchar(…) everywhere.
func idKindOf(columnType string) idKind {
	switch {
	case strings.Contains(columnType, "int"), strings.Contains(columnType, "serial"):
		return idInteger
	case columnType == "uuid", columnType == "char(32)":
		return idUUID
	}
	return idText
}

// normalID is the one form of a primary key: no leading zeros, UUIDs without hyphens in lower case. false: it cannot be one.
func normalID(id string, kind idKind) (string, bool) {
	switch kind {
	case idInteger:
		n, err := strconv.ParseInt(id, 10, 64)
		return strconv.FormatInt(n, 10), err == nil
	case idUUID:
		hex := strings.ToLower(strings.ReplaceAll(id, "-", ""))
		return hex, len(hex) == 32 && strings.Trim(hex, "0123456789abcdef") == ""
	}
	return id, id != "" && !strings.ContainsRune(id, 0) // PostgreSQL has no NUL in text
}

// build writes the queries. A user and its groups and permissions are one query, so that a login costs two.
func (d *database) build(s *schema) *queries {
	o, p := d.opts, d.dialect.param()
	userTable := quoteName(o.UserTable)
	id := "u." + quoteName(o.UserIDColumn)
	beside := func(table string) string { return quoteName(d.beside(table)) }

	flag := func(there bool, name, absent string) string {
		if !there {
			return absent
		}
		return `COALESCE(` + d.dialect.integer(`u."`+name+`"`) + `, 0)`
	}
	password, groups, perms := "NULL", "'[]'", "'[]'"
	if s.password {
		password = `u."password"`
	}
	if s.groups {
		groups = `COALESCE(` + d.dialect.text(`(SELECT `+d.dialect.list("g.name")+` FROM `+quoteName(s.groupsTable)+` ug JOIN `+beside("auth_group")+` g ON g.id = ug.group_id`+
			` WHERE ug.`+quoteName(s.groupsKey)+` = `+id+`)`) + `, '[]')`
	}
	if s.permissions {
		own := `SELECT up.permission_id AS id FROM ` + quoteName(s.permsTable) + ` up WHERE up.` + quoteName(s.permsKey) + ` = ` + id
		groups := `SELECT gp.permission_id FROM ` + beside("auth_group_permissions") + ` gp JOIN ` + quoteName(s.groupsTable) + ` ug ON ug.group_id = gp.group_id WHERE ug.` + quoteName(s.groupsKey) + ` = ` + id
		from := `(` + own + ` UNION ` + groups + `) x JOIN ` + beside("auth_permission") + ` p ON p.id = x.id JOIN ` + beside("django_content_type") + ` ct ON ct.id = p.content_type_id`
		if !d.dialect.derived() {
			from = beside("auth_permission") + ` p JOIN ` + beside("django_content_type") + ` ct ON ct.id = p.content_type_id WHERE p.id IN (` + own + `) OR p.id IN (` + groups + `)`
		}
		perms = `COALESCE(` + d.dialect.text(`(SELECT `+d.dialect.list("ct.app_label || '.' || p.codename")+` FROM `+from+`)`) + `, '[]')`
	}
	fields := []string{d.dialect.text(id), password, flag(s.active, "is_active", "1"), flag(s.staff, "is_staff", "0"), flag(s.superuser, "is_superuser", "0"), groups, perms}
	for _, a := range s.attributes {
		fields = append(fields, d.dialect.text(`u.`+quoteName(a)))
	}
	user := `SELECT ` + strings.Join(fields, ", ") + ` FROM ` + userTable + ` u WHERE `
	q := &queries{schema: s, ping: "SELECT 1", user: user + d.dialect.is(id, s.id), users: user + d.dialect.in(id, s.id)}
	if o.rows() {
		key, rest := quoteName(o.SessionKeyColumn), quoteName(o.SessionDataColumn)+`, `+d.dialect.clock(quoteName(o.SessionExpireColumn))+` FROM `+quoteName(o.SessionTable)+` WHERE `
		q.session = `SELECT ` + rest + key + ` = ` + p
		q.sessions = `SELECT ` + key + `, ` + rest + d.dialect.in(key, idText)
	}
	if table, ok := o.tableCache(); ok {
		q.cache = `SELECT "cache_key", "value", ` + d.dialect.clock(`"expires"`) + ` FROM ` + quoteName(table) + ` WHERE ` + d.dialect.in(`"cache_key"`, idText)
	}
	return q
}

// nobody is a primary key that no user has.
var nobody = map[idKind]string{idText: "-", idInteger: "-1", idUUID: strings.Repeat("0", 32)}

// try runs every query for nobody.
func (d *database) try(ctx context.Context, q *queries) error {
	nobody := nobody[q.schema.id]
	for _, t := range []struct {
		query string
		list  bool
		id    string
		kind  idKind
	}{{q.session, false, "-", idText}, {q.sessions, true, "-", idText}, {q.cache, true, "-", idText}, {q.user, false, nobody, q.schema.id}, {q.users, true, nobody, q.schema.id}} {
		if t.query == "" {
			continue
		}
		query, args := t.query, []any{d.dialect.arg(t.id, t.kind)}
		if t.list {
			var err error
			if query, args, err = d.dialect.many(query, []string{t.id}, t.kind); err != nil {
				return err
			}
		}
		rows, err := d.db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		for rows.Next() {
		}
		if err := rows.Close(); err != nil {
			return err
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}
