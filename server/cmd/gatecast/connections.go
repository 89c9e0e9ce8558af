package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
)

// connections lists the conns of the whole cluster.
func connections(c *call) error {
	at, key := c.apiFlags()
	user := c.flags.String("user", "", "only those of this user `id`")
	raw := c.flags.Bool("json", false, "print the API's answer as it is")
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	a, err := c.openAPI(*at, *key, "read")
	if err != nil {
		return err
	}
	path := "connections"
	if *user != "" {
		path += "?user=" + url.QueryEscape(*user)
	}
	answer, err := a.call(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if *raw {
		_, err := c.stdout.Write(answer)
		return err
	}
	return c.printList(answer, "connections")
}

// printList writes the objects of the list called name as a table with a column a field.
func (c *call) printList(answer []byte, name string) error {
	var reply map[string]json.RawMessage
	var rows []map[string]any
	if err := json.Unmarshal(answer, &reply); err != nil {
		return fmt.Errorf("the node's answer is no JSON object: %w", err)
	}
	if err := json.Unmarshal(reply[name], &rows); err != nil {
		return fmt.Errorf("the node's answer has no list %q: %w", name, err)
	}
	fields := map[string]bool{}
	for _, r := range rows {
		for f := range r {
			fields[f] = true
		}
	}
	columns := slices.Sorted(maps.Keys(fields))
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	if len(rows) > 0 {
		fmt.Fprintln(w, strings.ToUpper(strings.Join(columns, "\t")))
	}
	for _, r := range rows {
		cells := make([]string, len(columns))
		for i, f := range columns {
			cells[i] = cell(r[f])
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "%d %s\n", len(rows), name)
	return nil
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		return strings.Map(printable, v)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(data)
}

// printable keeps control characters of remote input away from the terminal.
func printable(r rune) rune {
	if r < 0x20 || r >= 0x7f && r < 0xa0 {
		return '�'
	}
	return r
}
