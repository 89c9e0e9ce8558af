package django

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// dsn is a database address taken apart.
type dsn struct {
	path     string // SQLite: absolute, or relative to the working directory if there was no base
	postgres string // PostgreSQL: the address, beginning with postgres://
	mysql    string // MySQL and MariaDB: the address, beginning with mysql://
}

// placeholderPassword stands in the address that manage.py gatecast_keys prints.
const placeholderPassword = "PASSWORD"

var (
	errForm        = errors.New("want postgres://user:password@host/name, mysql://user:password@host/name or sqlite:///path/to/db.sqlite3")
	errPlaceholder = errors.New("PASSWORD is a placeholder: put the database user's password there, or the whole address into a file that database_file names")
)

var errNotEncoded = errors.New("postgres address: a special character is not percent-encoded (password and port are the usual places: @ is %40, / is %2F, # is %23)")

// parseDSN reads Options.Database. An error never repeats the address: it may hold a password.
func parseDSN(address, base string) (dsn, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return dsn{}, errForm
	}
	switch strings.ToLower(scheme) {
	case "sqlite":
		return parseSQLite(rest, base)
	case "postgres", "postgresql":
		return parsePostgres("postgres://" + rest) // pgconn takes POSTGRES:// for something else, and tells it with the password
	case "mysql", "mariadb":
		address = "mysql://" + rest
		_, err := parseMySQL(address)
		if err != nil {
			return dsn{}, err
		}
		return dsn{mysql: address}, nil
	}
	if strings.ContainsFunc(scheme, func(r rune) bool { return !('a' <= r|0x20 && r|0x20 <= 'z') }) || len(scheme) > 20 {
		return dsn{}, errForm
	}
	return dsn{}, fmt.Errorf("%s:// is not known: want postgres://, mysql:// or sqlite://", scheme)
}

// parseSQLite takes the path as it is: nothing in it is an option, a query or an escape.
func parseSQLite(path, base string) (dsn, error) {
	switch {
	case path == "" || strings.HasSuffix(path, "/"):
		return dsn{}, errors.New("no file after sqlite://: want sqlite:///path/to/db.sqlite3")
	case path == ":memory:":
		return dsn{}, errors.New("a database in another process's memory cannot be read: want sqlite:///path/to/db.sqlite3")
	case strings.ContainsRune(path, 0):
		return dsn{}, errors.New("the path holds a NUL byte")
	}
	if !filepath.IsAbs(path) && base != "" {
		path = filepath.Join(base, path)
	}
	return dsn{path: path}, nil
}

func parsePostgres(address string) (dsn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return dsn{}, errNotEncoded // err repeats the address
	}
	if strings.Contains(u.EscapedPath(), "@") || strings.Contains(address, "#") {
		return dsn{}, errNotEncoded // the end of a password, which would be told as the database's name
	}
	if password, _ := u.User.Password(); password == placeholderPassword {
		return dsn{}, errPlaceholder
	}
	if strings.Trim(u.Path, "/") == "" && u.Query().Get("dbname") == "" && u.Query().Get("database") == "" {
		return dsn{}, errors.New("no database name: want postgres://user:password@host/name")
	}
	return dsn{postgres: address}, nil
}
