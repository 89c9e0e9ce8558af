package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/gatecast/gatecast/server"
)

// writeMetrics writes metrics.md from the node's table.
func writeMetrics(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# Metrics\n\n%s\nServed as `/metrics` on the admin listener, beside Go's own `go_*` and `process_*`.\n\n", generated)
	fmt.Fprint(b, "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	var node *server.Node // the table's names and texts need no node
	for _, m := range node.Metrics() {
		labels := ""
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, labels, m.Help)
	}
	return b.Flush()
}
