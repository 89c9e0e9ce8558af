package authn

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestQueries(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT room_id FROM chat_member WHERE user_id = {id}":                                                  "SELECT room_id FROM chat_member WHERE user_id = ?",
		" select 1 from t where id={id} ; ":                                                                     "select 1 from t where id=?",
		"SELECT a FROM t WHERE owner = {id} OR id IN (SELECT t_id FROM m WHERE user_id IN ({id}))":              "SELECT a FROM t WHERE owner = ? OR id IN (SELECT t_id FROM m WHERE user_id IN (?))",
		"SELECT room_id AS room\n\tFROM m WHERE kind = 'a;b--c{x}' AND user_id = {id}":                          "SELECT room_id AS room\n\tFROM m WHERE kind = 'a;b--c{x}' AND user_id = ?",
		`SELECT "update", "a""b" FROM "delete" WHERE id = {id}`:                                                 `SELECT "update", "a""b" FROM "delete" WHERE id = ?`,
		"SELECT `into` FROM t WHERE name = 'it''s' AND id = {id}":                                               "SELECT `into` FROM t WHERE name = 'it''s' AND id = ?",
		"SELECT created::text, updated_at FROM t WHERE members @> ARRAY[{id}]":                                  "SELECT created::text, updated_at FROM t WHERE members @> ARRAY[?]",
		"SELECT concat('room-', id) FROM (WITH x AS (SELECT id FROM t) SELECT id FROM x) y, z WHERE z.ü = {id}": "SELECT concat('room-', id) FROM (WITH x AS (SELECT id FROM t) SELECT id FROM x) y, z WHERE z.ü = ?",
	} {
		q, err := newQuery("", text, nil)
		if err != nil {
			t.Errorf("newQuery(%q) = %v", text, err)
			continue
		}
		if got := q.SQL("?"); got != want {
			t.Errorf("SQL of %q = %q, want %q", text, got, want)
		}
		if got, want := q.Params(), strings.Count(text, "{id}"); got != want {
			t.Errorf("Params of %q = %d, want %d", text, got, want)
		}
	}
}

func TestQueriesThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                           "want one SELECT",
		"{id}":                                       "want one SELECT", /* begins with no word */
		"(SELECT {id})":                              "want one SELECT",
		"UPDATE t SET a = {id}":                      "want one SELECT",
		"SELECT 1; DROP TABLE t":                     "nothing may follow a semicolon",
		"SELECT a FROM t":                            "there is no {id} in it",
		"SELECT a FROM t WHERE id = '{id}'":          "take the quotes away",
		`SELECT a FROM t WHERE id = "{id}"`:          "take the quotes away",
		"SELECT a FROM t WHERE id = 'x{id}'":         "take the quotes away",
		"SELECT a INTO b FROM t WHERE id = {id}":     `"INTO" has no place`,
		"SELECT a FROM t WHERE id = {id} FOR UPDATE": `"UPDATE" has no place`,
		"SELECT a FROM t WHERE id = {id} LOCK IN SHARE MODE":                                      `"LOCK" has no place`,
		"SELECT a FROM (WITH x AS (delete from t returning a) SELECT a FROM x) y WHERE id = {id}": `"delete" has no place`,
		"SELECT a FROM t WHERE id = {user}":                                                       "only {id} is bound",
		"SELECT a FROM t WHERE id = {id} AND b = {kind}":                                          "only {id} is bound",
		"SELECT a FROM t WHERE id = %s -- {id}":                                                   "take the comment out",
		"SELECT a /* {id} */ FROM t":                                                              "take the comment out",
		"SELECT a FROM t WHERE id = {id} # all":                                                   "take the comment out",
		"SELECT a FROM t WHERE id = ? OR id = {id}":                                               "the one parameter is written {id}",
		"SELECT a FROM t WHERE id = $1 OR id = {id}":                                              "the one parameter is written {id}",
		"SELECT a FROM t WHERE id = :id OR id = {id}":                                             "the one parameter is written {id}",
		"SELECT a FROM t WHERE id = {id} AND b = 'x":                                              "is not closed",
		`SELECT a FROM t WHERE id = {id} AND b = 'x\'`:                                            "backslash",
		"SELECT a FROM t WHERE id = room{id}":                                                     "a value by itself",
		"SELECT a FROM t WHERE id = {id}room":                                                     "a value by itself",
		"SELECT a FROM t\x00 WHERE id = {id}":                                                     "has no place",
		"SELECT {id}" + strings.Repeat(" ", maxSQL) + "FROM t":                                    "more than 8192 bytes",
	} {
		if _, err := newQuery("", text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("newQuery(%.80q) = %v, want %q", text, err, want)
		}
	}
}

func TestQueriesAreToldApart(t *testing.T) {
	const text = "SELECT a, b FROM t WHERE id = {id}"
	var keys []QueryKey
	for _, one := range []struct {
		site, text string
		columns    []string
	}{{"", text, nil}, {"shop", text, nil}, {"", text, []string{"a"}}, {"", text, []string{"a", "b"}}, {"", text + " AND a = 1", nil}} {
		q, err := newQuery(one.site, one.text, one.columns)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(keys, q.Key()) {
			t.Errorf("%+v has the key of another", one)
		}
		keys = append(keys, q.Key())
	}
}

// quotedText is what a database takes for text or a name.
var quotedText = regexp.MustCompile("'[^']*'|\"[^\"]*\"|`[^`]*`")

// FuzzQuery: what passes is one SELECT that cannot write, with a parameter in place of each {id}, none of them in quotes.
func FuzzQuery(f *testing.F) {
	for _, text := range []string{
		"SELECT room_id FROM chat_member WHERE user_id = {id}", "select '' , \"a;b\" from t where x={id};", "SELECT a FROM t WHERE id = '{id}'",
		"SELECT a::text FROM t WHERE `in` = {id} -- x", "WITH x AS (DELETE FROM t) SELECT {id}", "SELECT {id} INTO OUTFILE '/x'", "SELECT $${id}$$", "SELECT E'\\'{id}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := newQuery("", text, nil)
		if err != nil {
			return
		}
		const mark = " \x01 "
		sent := q.SQL(mark)
		if q.Params() < 1 || strings.Count(sent, mark) != q.Params() {
			t.Fatalf("%q binds %d parameters in %q", text, q.Params(), sent)
		}
		bare := quotedText.ReplaceAllString(sent, " '' ")
		if strings.Count(bare, mark) != q.Params() {
			t.Fatalf("%q binds in quotes: %q", text, bare)
		}
		if strings.ContainsAny(bare, ";{}?$#\\") || strings.Contains(bare, "--") || strings.Contains(bare, "/*") || strings.ContainsAny(strings.ReplaceAll(bare, "''", ""), "'\"`") {
			t.Fatalf("%q leaves %q", text, bare)
		}
		words := strings.FieldsFunc(strings.ToLower(bare), func(r rune) bool { return r < 0x80 && !isWord(byte(r)) })
		if words[0] != "select" || slices.ContainsFunc(words, func(w string) bool { return slices.Contains(more, w) }) {
			t.Fatalf("%q is the words %q", text, words)
		}
	})
}
