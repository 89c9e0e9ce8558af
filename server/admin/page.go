package admin

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
)

//go:embed page.html
var page []byte

// pagePolicy allows the page's one style and one script by their hashes, and calls to this listener; nothing else.
var pagePolicy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	inlineHash(page, "style"), inlineHash(page, "script"))

// servePage sends the admin page. It holds no data: what it shows it asks the API for, with the key typed into it.
func servePage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	_, _ = w.Write(page)
}

// inlineHash is the CSP source of the text inside the only <tag> of the page.
func inlineHash(html []byte, tag string) string {
	_, rest, _ := bytes.Cut(html, []byte("<"+tag+">"))
	text, _, _ := bytes.Cut(rest, []byte("</"+tag+">"))
	sum := sha256.Sum256(text)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
