package demo

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestPageHandsOutTheTokens(t *testing.T) {
	want := []Token{{"alice", "t1"}, {`</script><b>`, "a\"b\\c & <!--"}}
	html := Page(want)
	_, rest, _ := bytes.Cut(html, []byte(`<script id="tokens" type="application/json">`))
	list, _, _ := bytes.Cut(rest, []byte(`</script>`))
	var got []Token
	if err := json.Unmarshal(list, &got); err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("the page holds %s (%v), want %v", list, err, want)
	}
	if bytes.Contains(page, []byte("t1")) {
		t.Error("Page changed the template")
	}
}

func TestEveryAssetOfThePageIsServed(t *testing.T) {
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
	refs := regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllSubmatch(Page(nil), -1)
	paths := []string{Prefix + "gatecast.js"}
	for _, r := range refs {
		paths = append(paths, string(r[1]))
	}
	if len(paths) < 3 {
		t.Fatalf("the page loads %q", paths)
	}
	for _, p := range paths {
		contentType, body, ok := Asset(p)
		if !ok || len(body) == 0 || contentType != types[p[strings.LastIndexByte(p, '.'):]] {
			t.Errorf("Asset(%q) = %q, %d bytes, %v", p, contentType, len(body), ok)
		}
	}
	for _, p := range []string{"", "/", "/demo", "/demo/", "/demo/page.html", "/demo/../demo/demo.js", "demo.js"} {
		if _, _, ok := Asset(p); ok {
			t.Errorf("Asset(%q) is served", p)
		}
	}
}

func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	for name, text := range map[string][]byte{"page.html": page, "demo.css": style, "demo.js": script} {
		if url := regexp.MustCompile(`(?i)\b(https?:)?//[a-z0-9]+[.:][a-z0-9]`).Find(text); url != nil {
			t.Errorf("%s names %s", name, url)
		}
	}
}

// Every id that the comment at the top of page.html promises is set by demo.js on an element of that class.
func TestPromisedIDsExist(t *testing.T) {
	html, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	contract, _, _ := strings.Cut(string(html), "-->")
	ids := regexp.MustCompile(`\bU-([a-z-]+)`).FindAllStringSubmatch(contract, -1)
	if len(ids) < 17 {
		t.Fatalf("the contract has %d ids", len(ids))
	}
	for _, id := range ids {
		if id[1] == "panel" {
			continue
		}
		if !regexp.MustCompile(`class="` + id[1] + `"`).Match(html) {
			t.Errorf("no element has class %q", id[1])
		}
		if !bytes.Contains(script, []byte("'"+id[1]+"'")) {
			t.Errorf("demo.js gives no id U-%s", id[1])
		}
	}
}
