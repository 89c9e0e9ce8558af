package demo

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"strings"

	"github.com/gatecast/gatecast/clients/js"
)

// Prefix starts the path of every asset.
const Prefix = "/demo/"

// Policy is the Content-Security-Policy for the page and its assets: this server only, no inline script.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Token is a ready login for one of the page's users; the page shows the first two.
type Token struct {
	User  string `json:"user"`
	Token string `json:"token"`
}

var (
	//go:embed page.html
	page []byte
	//go:embed demo.css
	style []byte
	//go:embed demo.js
	script []byte
)

// tokensMark is where Page writes the tokens: JSON inside a script element, which encoding/json keeps free of '<'.
var tokensMark = []byte("[/*tokens*/]")

// Page returns the page (text/html) that logs in with tokens.
func Page(tokens []Token) []byte {
	list, err := json.Marshal(tokens)
	if err != nil {
		panic(err) // two strings cannot fail to encode
	}
	return bytes.Replace(page, tokensMark, list, 1)
}

// Asset returns what the page loads from path, which starts with [Prefix]. The body is shared: do not modify it.
func Asset(path string) (contentType string, body []byte, ok bool) {
	name, ok := strings.CutPrefix(path, Prefix)
	if !ok {
		return "", nil, false
	}
	switch name {
	case "demo.css":
		return "text/css; charset=utf-8", style, true
	case "demo.js":
		return "text/javascript; charset=utf-8", script, true
	case "gatecast.js":
		return "text/javascript; charset=utf-8", js.Module, true
	}
	return "", nil, false
}
