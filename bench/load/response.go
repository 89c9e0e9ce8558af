package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Limits of what is kept of a response.
const (
	maxHead = 16 << 10 // bytes of a head, or of a chunked body's trailer
	maxKept = 300      // bytes of a body, for messages
)

// response is an answer to a publication by HTTP/1.1.
type response struct {
	status int
	body   []byte // its first bytes
	last   bool   // the target closes the connection after it
}

// err names what the target says no with.
func (r response) err() error {
	if r.status >= 200 && r.status < 300 {
		return nil
	}
	return fmt.Errorf("the target answers a publication with %d: %s", r.status, bytes.TrimSpace(r.body))
}

// responses cuts what a connection says into responses, in any parts it comes.
//
//	status ─► headers ─┬─► body ──────────────────────────┬─► done
//	                   └─► size ─► chunk ─► after ─► size │
//	                         └─ 0 ─► trailer ─────────────┘
type responses struct {
	state   responseState
	line    []byte // begun
	head    int    // bytes of this head
	left    int64  // of a body or chunk
	chunked bool
	length  int64 // less than 0 = not said
	now     response
}

type responseState uint8

const (
	inStatus responseState = iota
	inHeaders
	inBody
	inSize
	inChunk
	afterChunk
	inTrailer
)

// scan takes bytes and calls done with each response that ends in them.
func (r *responses) scan(b []byte, done func(response)) error {
	for len(b) > 0 {
		if r.state == inBody || r.state == inChunk {
			n := min(int64(len(b)), r.left)
			r.now.body = append(r.now.body, b[:min(n, int64(maxKept-len(r.now.body)))]...)
			b, r.left = b[n:], r.left-n
			if r.left == 0 {
				if r.state == inChunk {
					r.state = afterChunk
				} else {
					r.end(done)
				}
			}
			continue
		}
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		r.line, b = append(r.line, line...), rest
		if r.head += len(line); r.head > maxHead {
			return fmt.Errorf("the target answers a publication with a head of more than %d bytes", maxHead)
		}
		if !whole {
			return nil
		}
		if err := r.take(string(bytes.TrimSuffix(r.line, []byte("\r"))), done); err != nil {
			return err
		}
		r.line = r.line[:0]
	}
	return nil
}

// take handles a line.
func (r *responses) take(line string, done func(response)) error {
	switch r.state {
	case inStatus:
		return r.begin(line)
	case inHeaders:
		if line != "" {
			return r.header(line)
		}
		return r.headed(done)
	case inSize:
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 63)
		if err != nil || n < 0 || strings.HasPrefix(size, "+") {
			return fmt.Errorf("the target's answer has a chunk of size %q", line)
		}
		r.head = 0
		if r.left, r.state = n, inChunk; n == 0 {
			r.state = inTrailer
		}
	case afterChunk:
		if line != "" {
			return fmt.Errorf("the target's answer has %q after a chunk", line)
		}
		r.state = inSize
	case inTrailer:
		if line == "" {
			r.end(done)
		}
	}
	return nil
}

// begin takes a status line: "HTTP/1.1 200 OK".
func (r *responses) begin(line string) error {
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || status < 100 || status > 999 {
		return fmt.Errorf("the target answers a publication with %q, which is no HTTP/1.1", line)
	}
	r.now = response{status: status, last: version == "HTTP/1.0"}
	r.length, r.chunked, r.state = -1, false, inHeaders
	return nil
}

func (r *responses) header(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("the target's answer has a header %q without a colon", line)
	}
	value = strings.TrimSpace(value)
	switch strings.ToLower(name) {
	case "content-length":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 || r.length >= 0 && r.length != n {
			return fmt.Errorf("the target's answer has a length of %q", value)
		}
		r.length = n
	case "transfer-encoding":
		if !strings.EqualFold(value, "chunked") {
			return fmt.Errorf("the target's answer is encoded as %q; only chunked is known", value)
		}
		r.chunked = true
	case "connection":
		for option := range strings.SplitSeq(value, ",") {
			switch strings.ToLower(strings.TrimSpace(option)) {
			case "close":
				r.now.last = true
			case "keep-alive":
				r.now.last = false
			}
		}
	}
	return nil
}

// headed decides what follows a head: RFC 9112 section 6.3.
func (r *responses) headed(done func(response)) error {
	switch {
	case r.now.status < 200: // an interim one; the response follows
		r.state, r.head = inStatus, 0
	case r.now.status == 204 || r.now.status == 304:
		r.end(done)
	case r.chunked:
		r.state, r.head = inSize, 0
	case r.length > 0:
		r.state, r.left = inBody, r.length
	case r.length == 0:
		r.end(done)
	default: // only the end of the connection would end it
		return errors.New("the target's answer says no length: neither Content-Length nor chunked")
	}
	return nil
}

func (r *responses) end(done func(response)) {
	r.state, r.head = inStatus, 0
	done(r.now)
}
