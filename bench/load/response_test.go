package load

import (
	"fmt"
	"strings"
	"testing"
)

// scanAll cuts text into parts of so many bytes and returns what was answered, and the error.
func scanAll(text string, part int) (answers string, err error) {
	var r responses
	for b := []byte(text); len(b) > 0 && err == nil; {
		n := min(part, len(b))
		err = r.scan(b[:n], func(r response) { answers += fmt.Sprintf("%d %q %v;", r.status, r.body, r.last) })
		b = b[n:]
	}
	return answers, err
}

var responseTexts = []struct{ name, text, want, err string }{
	{"a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", `200 "hello" false;`, ""},
	{"a length of 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", `200 "" false;`, ""},
	{"no content", "HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n", `204 "" false;`, ""},
	{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n", `200 "hello!" false;`, ""},
	{"chunks and a trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", `200 "" false;`, ""},
	{"several in a row", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nb", `200 "a" false;201 "b" false;`, ""},
	{"an interim one first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", `200 "" false;`, ""},
	{"the last one", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", `200 "" true;`, ""},
	{"an old one", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", `200 "" true;`, ""},
	{"an old one that stays", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", `200 "" false;`, ""},
	{"bare line feeds", "HTTP/1.1 403 Forbidden\nContent-Length: 2\n\nno", `403 "no" false;`, ""},
	{"a long body is cut", "HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000), `500 "` + strings.Repeat("x", maxKept) + `" false;`, ""},
	{"no length", "HTTP/1.1 200 OK\r\n\r\nhello", "", "no length"},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "", `length of "6"`},
	{"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "", `length of "-5"`},
	{"no HTTP", "SSH-2.0\r\n", "", "no HTTP/1.1"},
	{"another encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "", "gzip"},
	{"a chunk of no size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "", "chunk of size"},
	{"more after a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "", "after a chunk"},
	{"a header without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "", "without a colon"},
	{"an endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead), "", "head of more than"},
}

func TestResponsesAreCutWhateverPartsTheyComeIn(t *testing.T) {
	for _, tt := range responseTexts {
		for _, part := range []int{1, 2, 7, len(tt.text)} {
			got, err := scanAll(tt.text, part)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s, in parts of %d: %s, %v, want %s, %q", tt.name, part, got, err, tt.want, tt.err)
			}
		}
	}
}

func FuzzResponses(f *testing.F) {
	for _, tt := range responseTexts {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		whole, err := scanAll(text, max(len(text), 1))
		parts, partsErr := scanAll(text, 1)
		if whole != parts || (err == nil) != (partsErr == nil) {
			t.Errorf("scan(%q) = %s, %v; byte by byte %s, %v", text, whole, err, parts, partsErr)
		}
	})
}
