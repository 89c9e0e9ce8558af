//go:build linux

package raw

import (
	"bytes"
	"strconv"
)

var (
	posting  = []byte("POST ")
	length   = []byte("\r\nContent-Length: ")
	posted   = []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	maxPost  = 1 << 20 // bytes of a head or a body
	lineFeed = []byte("\r\n")
)

// post cuts the bytes of a publisher by HTTP into requests, whose bodies are publications, and answers each.
func (l *loop) post(c *conn, b []byte) {
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	var pending []batch
	var answers []byte
	for {
		body, n, ok := request(b)
		if !ok {
			l.end(c)
			return
		}
		if n == 0 {
			break
		}
		b = b[n:]
		pending = l.pend(pending, body)
		answers = append(answers, posted...)
	}
	for _, p := range pending {
		l.spread(p)
	}
	c.in = append(c.in[:0], b...)
	if len(answers) > 0 {
		l.send(c, answers)
	}
}

// request returns the body of the POST that b begins with, and the request's length; 0 if it is not whole. What is no such request
// is not ok.
func request(b []byte) (body []byte, n int, ok bool) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return nil, 0, len(b) < maxPost && bytes.HasPrefix(b, posting[:min(len(b), len(posting))])
	}
	_, after, found := bytes.Cut(b[:end+len(lineFeed)], length)
	value, _, _ := bytes.Cut(after, lineFeed)
	size, err := strconv.Atoi(string(value))
	if !bytes.HasPrefix(b, posting) || !found || err != nil || size < 0 || size > maxPost {
		return nil, 0, false
	}
	begin := end + len(headEnd)
	if len(b)-begin < size {
		return nil, 0, true
	}
	return b[begin : begin+size], begin + size, true
}
