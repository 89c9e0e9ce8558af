package django

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gatecast/gatecast/authn/django/cache"
)

// mysqlDialect reads MySQL 5.7 and later and MariaDB 10.3 and later. The connection speaks the standard's SQL (sql_mode ANSI): "names", and || for text.
type mysqlDialect struct {
	userTable string
	oneTrip   bool // see connect
}

// parseMySQL reads mysql://user:password@host:3306/name?tls=… An error never repeats the address.
func parseMySQL(address string) (*mysql.Config, error) {
	u, err := url.Parse(address)
	if err != nil || strings.Contains(u.EscapedPath()+u.RawQuery, "@") || strings.Contains(address, "#") {
		return nil, errNotEncodedMySQL
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errNotEncodedMySQL
	}
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	if c.Passwd == placeholderPassword {
		return nil, errPlaceholder
	}
	if c.DBName = strings.Trim(u.Path, "/"); c.DBName == "" {
		return nil, errors.New("no database name: want mysql://user:password@host/name")
	}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "3306"
	}
	c.Net, c.Addr = "tcp", net.JoinHostPort(host, port)
	for name := range query {
		switch value := query.Get(name); name {
		case "socket":
			c.Net, c.Addr = "unix", value
		case "ca", "cert", "key":
		case "tls":
			switch value {
			case "true", "false", "preferred", "skip-verify":
				c.TLSConfig = value
			default:
				return nil, errors.New(`the option tls of a mysql:// address is "true", "preferred", "skip-verify" or "false"`)
			}
		default:
			return nil, fmt.Errorf("the option %.40q of a mysql:// address is not known: there are tls, ca, cert, key and socket", name)
		}
	}
	if c.TLSConfig == "" && c.Net == "tcp" {
		c.TLSConfig = "preferred" // as libmysqlclient and libpq do
	}
	return c, nil
}

var errNotEncodedMySQL = errors.New("mysql address: a special character is not percent-encoded (password and port are the usual places: @ is %40, / is %2F, # is %23)")

func openMySQL(address, userTable string, oneTrip bool) (*sql.DB, dialect, error) {
	c, err := parseMySQL(address)
	if err != nil {
		return nil, nil, err
	}
	if err := mysqlTLS(c, address); err != nil {
		return nil, nil, err
	}
	c.Timeout = 5 * time.Second   // to connect
	c.InterpolateParams = oneTrip // safe with the driver's utf8mb4
	c.Logger = silent{}           // what goes wrong is returned
	// group_concat_max_len cuts lists off, silently and at 1,024 bytes by default in MySQL.
	c.Params = map[string]string{"sql_mode": "'ANSI'", "group_concat_max_len": "4194304"}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, nil, errors.New("the mysql address cannot be used") // err may repeat it
	}
	return sql.OpenDB(connector), mysqlDialect{userTable, oneTrip}, nil
}

// mysqlTLS reads the files of ca, cert and key. They say that the server's certificate is to be verified.
func mysqlTLS(c *mysql.Config, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errNotEncodedMySQL
	}
	ca, cert, key := u.Query().Get("ca"), u.Query().Get("cert"), u.Query().Get("key")
	if ca == "" && cert == "" {
		return nil
	}
	c.TLS = &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: c.TLSConfig == "skip-verify"}
	c.TLSConfig = ""
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		c.TLS.RootCAs = x509.NewCertPool()
		if !c.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca: no certificate in %s", ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("cert, key: %w", err)
		}
		c.TLS.Certificates = []tls.Certificate{pair}
	}
	return nil
}

type silent struct{}

func (silent) Print(...any) {}

// columns asks information_schema, which shows a user only the columns that it may read. What must not be overlooked, such as is_active, is
// asked for by name: then the server tells "not there" from "not allowed".
func (d mysqlDialect) columns(ctx context.Context, db *sql.DB, table string) (map[string]string, error) {
	schema, name := sql.NullString{}, table
	if s, n, ok := strings.Cut(table, "."); ok {
		schema, name = sql.NullString{String: s, Valid: true}, n
	}
	found, err := readColumns(db.QueryContext(ctx, `SELECT column_name, lower(column_type) FROM information_schema.columns`+
		` WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?`, schema, name))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		err := probe(ctx, db, "1", table)
		if number(err) == errNoSuchTable {
			err = nil
		}
		return nil, err
	}
	if table != d.userTable {
		return found, nil
	}
	for _, column := range []string{"password", "is_active", "is_staff", "is_superuser"} {
		if _, ok := found[column]; ok {
			continue
		}
		if err := probe(ctx, db, quoteName(column), table); err != nil && number(err) != errNoSuchColumn {
			return nil, err
		}
	}
	return found, nil
}

func probe(ctx context.Context, db *sql.DB, column, table string) error {
	rows, err := db.QueryContext(ctx, `SELECT `+column+` FROM `+quoteName(table)+` WHERE 1 = 0`)
	if err != nil {
		return err
	}
	return rows.Close()
}

func (mysqlDialect) param() string       { return "?" }
func (mysqlDialect) bound(idKind) string { return "?" }
func (mysqlDialect) zoned() bool         { return false }
func (mysqlDialect) clock(column string) string {
	return `DATE_FORMAT(` + column + `, '%Y-%m-%d %H:%i:%s.%f')`
}

func (mysqlDialect) is(column string, _ idKind) string { return column + " = ?" }

// inMark stands for the parameters of a list, of which there are as many as there are ids.
const inMark = "/* ids */"

func (mysqlDialect) in(column string, _ idKind) string { return column + " IN (" + inMark + ")" }

func (mysqlDialect) often() []any { return nil }

func (d mysqlDialect) prepares() bool { return !d.oneTrip }

func (mysqlDialect) arg(id string, kind idKind) any {
	if kind == idInteger {
		n, _ := strconv.ParseInt(id, 10, 64) // normalID has parsed it
		return n
	}
	return id
}

func (d mysqlDialect) many(query string, ids []string, kind idKind) (string, []any, error) {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = d.arg(id, kind)
	}
	marks := strings.TrimSuffix(strings.Repeat("?,", len(ids)), ",")
	if len(ids) == 0 {
		marks = "NULL"
	}
	return strings.Replace(query, inMark, marks, 1), args, nil
}

func (mysqlDialect) integer(expression string) string { return "CAST(" + expression + " AS SIGNED)" }
func (mysqlDialect) text(expression string) string    { return "CAST(" + expression + " AS CHAR)" }
func (mysqlDialect) list(expression string) string {
	return "CONCAT('[', GROUP_CONCAT(JSON_QUOTE(" + expression + ")), ']')" // JSON_ARRAYAGG is younger than some that Django supports
}
func (mysqlDialect) derived() bool { return false }
func (mysqlDialect) batch() int    { return 1000 }

// Numbers of errors (MySQL manual, Server Error Message Reference).
const (
	errNoSuchTable   = 1146
	errNoSuchColumn  = 1054
	errNoTableRight  = 1142
	errNoColumnRight = 1143
	errNoSuchStmt    = 1243
	errReprepare     = 1615
)

// number is MySQL's number of an error; 0 if it is none of the server's.
func number(err error) int {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return int(e.Number)
	}
	return 0
}

func (mysqlDialect) undefined(err error) bool {
	return number(err) == errNoSuchTable || number(err) == errNoSuchColumn
}

// outdated: the server prepares again by itself when a table has changed, and gives up where it forgets tables as fast (table_definition_cache). Behind a
// proxy it may be another server than the one that prepared.
func (mysqlDialect) outdated(err error) bool {
	return number(err) == errReprepare || number(err) == errNoSuchStmt
}

func (mysqlDialect) noRight(err error) bool {
	return number(err) == errNoTableRight || number(err) == errNoColumnRight
}

func (mysqlDialect) explain(err error) (error, bool) {
	var table *wrongTable
	if errors.As(err, &table) {
		return err, true
	}
	switch n := number(err); n {
	case 0:
		return cache.ExplainCertificate(err, "ca")
	case errNoTableRight, errNoColumnRight:
		return fmt.Errorf("%w; GRANT SELECT ON it to gatecast's database user (the session table, the user table, its two many-to-many tables, auth_group, auth_permission, auth_group_permissions, django_content_type),"+
			` or say that the site has no such table: user_groups_table = "none", user_permissions_table = "none"`, err), true
	case 1044, 1049:
		return fmt.Errorf("%w; is the name at the end of the address right, and has the user a right there?", err), true
	case 1045, 1698, 1251, 2059:
		return fmt.Errorf("%w; check user and password in the address, and from which hosts the user may come", err), true
	case errNoSuchTable, errNoSuchColumn, 1064, 1305:
		return err, true
	}
	return err, false
}
