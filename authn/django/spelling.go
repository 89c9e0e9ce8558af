package django

import (
	"context"
	"database/sql"
	"errors"
)

// Databases may find text without regard to case, accents or spaces at its end: MySQL by its usual collations, SQLite by COLLATE NOCASE. To Gatecast such an id
// is another user's: it has another personal group, and a logout of the one does not end the other. So whoever comes with an id of text has to spell it as the
// user table does.

// sameKey tells whether found, a primary key as the database writes it, is the one that was asked for, in normal form.
func sameKey(found, asked string, kind idKind) bool {
	normal, ok := normalID(found, kind)
	return ok && normal == asked
}

// spelling asks how the user table spells a key of text.
func (d *database) spelling() string {
	id := quoteName(d.opts.UserIDColumn)
	return `SELECT ` + d.dialect.text(id) + ` FROM ` + quoteName(d.opts.UserTable) + ` WHERE ` + d.dialect.is(id, idText)
}

// spelledOtherwise tells whether key is one of the site's users only by the database's leave. Who is not in the user table at all may be in what an SQL rule reads.
func (r *Rows) spelledOtherwise(ctx context.Context, p *plan, key string) (bool, error) {
	if p.id != idText {
		return false, nil
	}
	var found string
	err := r.db.db.QueryRowContext(ctx, p.spelling, append(r.db.dialect.often(), key)...).Scan(&found)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, r.failed("look for the user", err)
	}
	return !sameKey(found, key, p.id), nil
}
