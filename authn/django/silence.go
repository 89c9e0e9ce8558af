package django

import (
	"context"
	"database/sql/driver"
	"errors"
	"log/slog"
	"time"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gatecast/gatecast/authn/breaker"
)

// A database that hangs is left alone for a moment. Each table that logins ask has a breaker of its own: one that is locked hangs alone, and what the database
// says about others says nothing about it (docs/adr/0031).

// newBreaker makes the breaker of one question; what is asked is for people.
func newBreaker(what string, log *slog.Logger) *breaker.Breaker {
	return &breaker.Breaker{Name: "the site's database (" + what + ")", Limit: breaker.Limit, Pause: breaker.Pause, Silent: unanswered, Log: log}
}

// unanswered tells errors by which drivers say that there was no answer.
func unanswered(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		code := e.Code() & 0xff
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_INTERRUPT // somebody holds its lock; our time was up
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn)
}

// sweepTime is what a sweep has for one query: much, for it may read thousands of rows. Sweeps are few, so they are asked also while logins are not, and an answer
// to one is one for all; but then they have no more time than a login, for they hold a connection meanwhile.
func (d *database) sweepTime(b *breaker.Breaker) time.Duration {
	if b.Check() != nil {
		return d.timeout
	}
	return sweepTimeout(d.timeout)
}

// read reads rows of one table by their keys. One key is a login's, which is not asked about while the table is being left alone; several are a sweep's.
func (d *database) read(ctx context.Context, b *breaker.Breaker, keys int, question func(timeout time.Duration) error) error {
	if keys > 1 {
		err := question(d.sweepTime(b))
		if err == nil {
			b.Answered()
		}
		return err
	}
	return b.Ask(ctx, func() error { return question(d.timeout) })
}
