package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/gatecast/gatecast/server"
	"github.com/gatecast/gatecast/server/demo"
)

// pages is what -dev serves beside sockets: the demo. nil without -dev.
func (l *login) pages() server.Static {
	if l.dev == nil {
		return nil
	}
	var tokens []demo.Token
	for _, t := range l.dev.Tokens() {
		tokens = append(tokens, demo.Token{User: t.User, Token: t.Token})
	}
	page := demo.Page(tokens)
	headers := [][2]string{{"Content-Security-Policy", demo.Policy}}
	return func(path string) (string, [][2]string, []byte, bool) {
		if path == "/" {
			return "text/html; charset=utf-8", headers, page, true
		}
		contentType, body, ok := demo.Asset(path)
		return contentType, headers, body, ok
	}
}

// greet tells a newcomer where to look and what to try.
func (d *daemon) greet(w io.Writer) {
	fmt.Fprintf(w, "\nGatecast runs in development mode: anybody on this machine can log in.\n\n  demo page   http://%s/\n", d.node.Addr())
	if d.listener != nil {
		fmt.Fprintf(w, "  admin page  http://%s/\n", d.adminAddr())
	}
	fmt.Fprintf(w, "  WebSocket   ws://%s%s\n\nReady tokens:\n", d.node.Addr(), d.settings.Config.Server.Path)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, token := range d.login.dev.Tokens() {
		fmt.Fprintf(t, "  %s\t%s\n", token.User, token.Token)
	}
	t.Flush()
	fmt.Fprint(w, "\nTry, in another terminal:\n\n  bin/gatecast pub chat.lobby '\"hello\"'\n\nCtrl-C ends it.\n\n")
}
