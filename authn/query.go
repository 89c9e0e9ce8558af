package authn

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Query is the sql of a [[grants]] entry: one SELECT that is run for a user, whose primary key is bound to each {id}. It never changes.
type Query struct {
	site    string
	parts   []string // around the {id}s: one more than these
	columns []string // that templates name, sorted
	key     QueryKey
}

// QueryKey tells queries apart: the first bytes of a SHA-256 of all that makes a difference to their rows.
type QueryKey [8]byte

// Key tells the query from others.
func (q *Query) Key() QueryKey { return q.key }

// Site is the Django site whose database is asked; "" is [authn.django].
func (q *Query) Site() string { return q.site }

// Columns are those whose values are wanted, sorted. There may be none: then it matters only whether there is a row.
func (q *Query) Columns() []string { return q.columns }

// Params is how often the id is bound.
func (q *Query) Params() int { return len(q.parts) - 1 }

// SQL is the text for a database, where param stands for the id.
func (q *Query) SQL(param string) string { return strings.Join(q.parts, param) }

// width is how many values a row has in Rows.
func (q *Query) width() int { return max(len(q.columns), 1) }

// Rows are the rows of a query for one user, sorted and each once: Values holds the wanted columns of a row, then those of the next. NULL is "". If no
// column is wanted and there is a row, Values is one "".
type Rows struct {
	Query  QueryKey
	Values []string
}

// idVariable stands for the user in sql.
const idVariable = "{id}"

// newQuery checks the sql of a rule. The database checks it too: what is refused here is what could do more than read, and what people get wrong.
func newQuery(site, text string, columns []string) (*Query, error) {
	parts, err := parseSQL(text)
	if err != nil {
		return nil, err
	}
	q := &Query{site: site, parts: parts, columns: columns}
	sum := sha256.New()
	for _, list := range [][]string{{site}, parts, columns} {
		sum.Write(appendList(nil, list))
	}
	copy(q.key[:], sum.Sum(nil))
	return q, nil
}

// errNoSelect says what an sql is.
var errNoSelect = errors.New(`want one SELECT, such as "SELECT room_id FROM chat_member WHERE user_id = {id}"`)

// more are the words by which a SELECT can write, make a table or a file, or lock.
var more = []string{"delete", "insert", "into", "lock", "merge", "share", "update"}

// parseSQL takes an sql apart at its {id}s. It knows of SQL what text, names, words and signs are, the same in PostgreSQL, MySQL and SQLite: what they read
// differently (comments, backslashes, dollar quotes) is refused.
func parseSQL(text string) (parts []string, err error) {
	text = strings.TrimRight(strings.TrimSpace(text), "; \t\r\n")
	if len(text) > maxSQL {
		return nil, fmt.Errorf("more than %d bytes; make it a view of the database", maxSQL)
	}
	begin, first := 0, true
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\'' || c == '"' || c == '`':
			end := strings.IndexByte(text[i+1:], c)
			if end < 0 {
				return nil, fmt.Errorf("the quote %c is not closed", c)
			}
			quoted := text[i+1 : i+1+end]
			switch {
			case strings.Contains(quoted, idVariable):
				return nil, fmt.Errorf("%c%s%c: take the quotes away: the id is bound as a parameter, never put into the text", c, quoted, c)
			case strings.Contains(quoted, "\\"):
				return nil, errors.New("a backslash in quotes means different things to different databases; do without")
			case strings.ContainsFunc(quoted, isControl):
				return nil, errors.New("there is a control character in quotes; do without")
			}
			i += end + 2
		case isWord(c):
			end := i + 1
			for end < len(text) && isWord(text[end]) {
				end++
			}
			word := strings.ToLower(text[i:end])
			switch {
			case first && word != "select":
				return nil, errNoSelect
			case slices.Contains(more, word):
				return nil, fmt.Errorf("%w, which only reads: %q has no place in it; a column or table of that name goes in double quotes", errNoSelect, text[i:end])
			}
			i, first = end, false
		case strings.HasPrefix(text[i:], idVariable):
			if parts, begin = append(parts, text[begin:i]), i+len(idVariable); begin < len(text) && isWord(text[begin]) || i > 0 && isWord(text[i-1]) {
				return nil, errors.New("{id} is a value by itself; put a space before and behind it")
			}
			i = begin
		case c == '{' || c == '}':
			return nil, errors.New("only {id} is bound; what else depends on the user is the database's to find")
		case c == ';':
			return nil, fmt.Errorf("%w: nothing may follow a semicolon", errNoSelect)
		case strings.HasPrefix(text[i:], "--"), strings.HasPrefix(text[i:], "/*"), c == '#':
			return nil, errors.New("take the comment out; write it as one of TOML")
		case c == '?' || c == '$' || c == ':' && i+1 < len(text) && text[i+1] != ':' && (i == 0 || text[i-1] != ':'):
			return nil, errors.New("the one parameter is written {id}")
		case c == '\\' || isControl(rune(c)):
			return nil, fmt.Errorf("the character %q has no place in a SELECT", c)
		default:
			if first && c != ' ' && c != '\t' && c != '\r' && c != '\n' {
				return nil, errNoSelect
			}
			i++
		}
	}
	switch {
	case first:
		return nil, errNoSelect
	case parts == nil:
		return nil, errors.New("there is no {id} in it, so every user would get the rows of all; say whose they are, such as WHERE user_id = {id}")
	}
	return append(parts, text[begin:]), nil
}

// maxSQL bounds an sql: it is kept once, and sent at each login.
const maxSQL = 8 << 10

// isControl leaves out what text may be laid out with.
func isControl(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' || r == 0x7f }

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80
}
