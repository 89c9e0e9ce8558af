package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// The NATS client protocol, as far as a node speaks it: https://docs.nats.io/reference/reference-protocols/nats-protocol.
// Reading is one pure function, scan, over a buffer that reader fills; writing is append functions.

type op uint8

const (
	opMsg  op = iota + 1 // MSG and HMSG
	opInfo               // INFO {json}, in body
	opPing
	opPong
	opOK
	opErr // -ERR 'text', in body
)

// frame is one parsed operation; its slices point into the read buffer and are valid until the next read.
type frame struct {
	op      op
	sid     uint64
	subject []byte
	reply   []byte
	header  []byte // the whole block "NATS/1.0…\r\n\r\n", nil without headers
	body    []byte
}

const (
	maxLine  = 64 << 10         // INFO grows with the servers of a cluster
	maxFrame = 64<<20 + maxLine // above any broker.max_payload
)

var (
	errProtocol = errors.New("unreadable NATS protocol")
	crlf        = []byte("\r\n")
)

// scan reads one operation at the start of b. n is its length; n == 0 means more bytes are needed, at least need in all.
func scan(b []byte, f *frame) (n, need int, err error) {
	eol := bytes.IndexByte(b, '\n')
	if eol < 0 {
		if len(b) > maxLine {
			return 0, 0, errProtocol
		}
		return 0, len(b) + 1, nil
	}
	if eol > maxLine || eol < 1 || b[eol-1] != '\r' {
		return 0, 0, errProtocol
	}
	line := b[:eol-1]
	*f = frame{}
	if len(line) < 3 {
		return 0, 0, errProtocol
	}
	switch line[0] {
	case 'M':
		if rest, ok := bytes.CutPrefix(line, []byte("MSG ")); ok {
			return scanMsg(b, eol+1, rest, false, f)
		}
	case 'H':
		if rest, ok := bytes.CutPrefix(line, []byte("HMSG ")); ok {
			return scanMsg(b, eol+1, rest, true, f)
		}
	case 'I':
		if rest, ok := bytes.CutPrefix(line, []byte("INFO ")); ok {
			f.op, f.body = opInfo, rest
			return eol + 1, 0, nil
		}
	case 'P':
		switch string(line) {
		case "PING":
			f.op = opPing
			return eol + 1, 0, nil
		case "PONG":
			f.op = opPong
			return eol + 1, 0, nil
		}
	case '+':
		if string(line) == "+OK" {
			f.op = opOK
			return eol + 1, 0, nil
		}
	case '-':
		if rest, ok := bytes.CutPrefix(line, []byte("-ERR")); ok {
			f.op, f.body = opErr, bytes.Trim(rest, " '")
			return eol + 1, 0, nil
		}
	}
	return 0, 0, errProtocol
}

// scanMsg reads "subject sid [reply] [header-size] size" and the payload behind the line.
func scanMsg(b []byte, start int, line []byte, headers bool, f *frame) (n, need int, err error) {
	var arg [5][]byte
	count := 0
	for len(line) > 0 {
		if line[0] == ' ' {
			line = line[1:]
			continue
		}
		if count == len(arg) {
			return 0, 0, errProtocol
		}
		i := bytes.IndexByte(line, ' ')
		if i < 0 {
			i = len(line)
		}
		arg[count] = line[:i]
		count++
		line = line[i:]
	}
	sizes := 1
	if headers {
		sizes = 2
	}
	var ok bool
	switch count - sizes {
	case 2:
	case 3:
		f.reply = arg[2]
	default:
		return 0, 0, errProtocol
	}
	f.subject = arg[0]
	if f.sid, ok = number(arg[1]); !ok {
		return 0, 0, errProtocol
	}
	size, ok := number(arg[count-1])
	if !ok || size > maxFrame {
		return 0, 0, errProtocol
	}
	var hsize uint64
	if headers {
		if hsize, ok = number(arg[count-2]); !ok || hsize > size {
			return 0, 0, errProtocol
		}
	}
	end := start + int(size)
	if len(b) < end+2 {
		return 0, end + 2, nil
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return 0, 0, errProtocol
	}
	f.op = opMsg
	if headers {
		f.header = b[start : start+int(hsize)]
	}
	f.body = b[start+int(hsize) : end]
	return end + 2, 0, nil
}

// number reads decimal digits; 18 digits cannot overflow.
func number(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

const readBuffer = 64 << 10

// reader turns a connection's bytes into frames. One goroutine owns it.
type reader struct {
	conn net.Conn
	buf  []byte
	r, w int // unread bytes are buf[r:w]
}

func newReader(conn net.Conn) *reader { return &reader{conn: conn, buf: make([]byte, readBuffer)} }

// next reads one frame; it is valid until the next call.
func (r *reader) next(f *frame) error {
	for {
		need := 1
		if r.r < r.w {
			n, more, err := scan(r.buf[r.r:r.w], f)
			if err != nil {
				return fmt.Errorf("%w near %q", err, r.buf[r.r:min(r.w, r.r+40)])
			}
			if n > 0 {
				r.r += n
				return nil
			}
			need = more
		}
		r.makeRoom(need)
		n, err := r.conn.Read(r.buf[r.w:])
		r.w += n
		if n == 0 && err != nil {
			return err
		}
		if n == 0 {
			return io.ErrNoProgress
		}
	}
}

// makeRoom lets need bytes from r on fit; a buffer that grew for one big message is given back when it is empty.
func (r *reader) makeRoom(need int) {
	if r.r == r.w {
		r.r, r.w = 0, 0
		if len(r.buf) > 16*readBuffer && need <= readBuffer {
			r.buf = make([]byte, readBuffer)
		}
	}
	if r.r+need <= len(r.buf) && r.w < len(r.buf) {
		return
	}
	old := r.buf[r.r:r.w]
	if need > len(r.buf) {
		r.buf = make([]byte, need+readBuffer)
	}
	r.w = copy(r.buf, old)
	r.r = 0
}

func appendSub(dst []byte, subject, queue string, sid uint64) []byte {
	dst = append(dst, "SUB "...)
	dst = append(dst, subject...)
	if queue != "" {
		dst = append(dst, ' ')
		dst = append(dst, queue...)
	}
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, sid, 10)
	return append(dst, crlf...)
}

func appendUnsub(dst []byte, sid uint64) []byte {
	dst = append(dst, "UNSUB "...)
	dst = strconv.AppendUint(dst, sid, 10)
	return append(dst, crlf...)
}

// appendPub writes a message without headers; subject and reply are already safe tokens.
func appendPub[T string | []byte](dst []byte, subject, reply T, body []byte) []byte {
	dst = append(dst, "PUB "...)
	dst = append(dst, subject...)
	if len(reply) > 0 {
		dst = append(dst, ' ')
		dst = append(dst, reply...)
	}
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, crlf...)
	dst = append(dst, body...)
	return append(dst, crlf...)
}
