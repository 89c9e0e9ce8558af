package gatecast

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	writeTimeout = 10 * time.Second // for one write; the socket is dead after it
	closeTimeout = time.Second      // for the closing handshake, RFC 6455 §7.1.2
	outgoing     = 64               // frames that may wait for the writer
)

// errNotSent means that the link was lost before the request went into its queue: it is safe to repeat.
var errNotSent = errors.New("gatecast: not connected")

// link is one WebSocket, from the handshake to its loss. The run loop reads it, one goroutine writes it.
type link struct {
	// static
	conn    net.Conn
	src     *bufio.Reader // of conn; may hold frames that came right behind the handshake
	max     int           // bytes of a message
	out     chan outFrame // never closed
	done    chan struct{} // closed by fail
	written chan struct{} // closed by the writer when it ends
	gone    chan struct{} // closed by the Conn when it has forgotten this link

	welcomed bool // owned by the reader

	mu      sync.Mutex
	err     error // why; set before done is closed
	lastID  int64 // of a request
	calls   map[int64]*pendingCall
	silence time.Duration // longest time without any frame; 0 = for ever
	closing bool          // shutdown set the last read deadline
	notice  *CloseError   // from the close op that comes before the close frame
	refusal *Error        // last error without an id: why the server is about to close
}

type outFrame struct {
	op      ws.OpCode
	payload []byte // the writer masks it in place
}

// pendingCall waits for the reply to a request.
type pendingCall struct {
	reply chan *frame  // room for one; never closed
	onOK  func(*frame) // run by the reader before it goes on to the next frame; may be nil
}

// next returns the next text message. Only one goroutine may call it; its error is a *CloseError.
func (l *link) next() ([]byte, error) {
	var text []byte
	state := ws.StateClientSide
	for {
		l.extend()
		h, err := ws.ReadHeader(l.src)
		if err != nil {
			return nil, l.broken(err)
		}
		if err := ws.CheckHeader(h, state); err != nil {
			return nil, l.refuse(ws.StatusProtocolError, err)
		}
		if h.Length > int64(l.max-len(text)) {
			return nil, l.refuse(ws.StatusMessageTooBig, fmt.Errorf("message is larger than MaxMessage = %d", l.max))
		}
		if h.OpCode.IsControl() {
			if err := l.control(h); err != nil {
				return nil, err
			}
			continue
		}
		if h.OpCode == ws.OpBinary {
			return nil, l.refuse(ws.StatusUnsupportedData, errors.New("binary message in a text protocol"))
		}
		at, end := len(text), len(text)+int(h.Length)
		text = slices.Grow(text, int(h.Length))[:end]
		if _, err := io.ReadFull(l.src, text[at:]); err != nil {
			return nil, l.broken(err)
		}
		state = state.Set(ws.StateFragmented)
		if !h.Fin {
			continue
		}
		if !utf8.Valid(text) {
			return nil, l.refuse(ws.StatusInvalidFramePayloadData, errors.New("message is not UTF-8"))
		}
		return text, nil
	}
}

// control reads and answers a control frame; CheckHeader has bounded its length. A close frame is returned as a *CloseError.
func (l *link) control(h ws.Header) error {
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(l.src, payload); err != nil {
		return l.broken(err)
	}
	switch h.OpCode {
	case ws.OpPing:
		l.put(outFrame{ws.OpPong, payload})
	case ws.OpClose:
		return l.closedByPeer(payload)
	}
	return nil
}

// extend moves the read deadline: a server that is silent for longer than its ping period and the grace is dead.
func (l *link) extend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closing && l.silence > 0 {
		_ = l.conn.SetReadDeadline(time.Now().Add(l.silence)) // fails only on a closed socket, which the read reports
	}
}

// broken makes the error of a socket that ended without a close frame.
func (l *link) broken(err error) *CloseError {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.notice != nil { // the server's last word came, its close frame did not
		return l.notice
	}
	return &CloseError{Code: 1006, Err: errors.Join(l.reason(), err)}
}

// reason is the refusal as an error, nil if there was none. Callers hold mu.
func (l *link) reason() error {
	if l.refusal == nil {
		return nil
	}
	return l.refusal
}

// refuse tells the server why its frame ends the connection.
func (l *link) refuse(code ws.StatusCode, err error) *CloseError {
	l.put(outFrame{ws.OpClose, ws.NewCloseFrameBody(code, "")})
	l.flushed()
	return &CloseError{Code: int(code), Err: err}
}

// closedByPeer answers the server's close frame and joins it with what was said before it.
func (l *link) closedByPeer(payload []byte) *CloseError {
	code, reason := ws.ParseCloseFrameData(payload)
	l.put(outFrame{ws.OpClose, payload[:min(len(payload), 2)]})
	l.flushed()
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &CloseError{Code: int(code), Reason: reason, Err: l.reason()}
	if len(payload) < 2 {
		e.Code = int(ws.StatusNoStatusRcvd)
	}
	if n := l.notice; n != nil {
		e.retry = n.retry
		if e.Reason == "" {
			e.Reason = n.Reason
		}
	}
	return e
}

// flushed waits for the writer's last frame.
func (l *link) flushed() {
	select {
	case <-l.written:
	case <-time.After(closeTimeout):
	}
}

// put queues a frame of the reader. The writer's deadline bounds the wait.
func (l *link) put(f outFrame) {
	select {
	case l.out <- f:
	case <-l.written:
	}
}

// answerPing answers the server's ping op.
func (l *link) answerPing() error {
	l.put(outFrame{ws.OpText, []byte(`{"op":"pong"}`)})
	return nil
}

// send queues a request.
func (l *link) send(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-l.done:
		return errNotSent
	default:
	}
	select {
	case l.out <- outFrame{ws.OpText, r.encode()}:
		return nil
	case <-l.written:
		return errNotSent
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call sends a request and waits for its reply, an *Error, ErrLost or the end of ctx.
func (l *link) call(ctx context.Context, r request, onOK func(*frame)) (*frame, error) {
	p := &pendingCall{reply: make(chan *frame, 1), onOK: onOK}
	l.mu.Lock()
	l.lastID++
	r.ID = l.lastID
	l.calls[r.ID] = p
	l.mu.Unlock()

	err := l.send(ctx, &r)
	if err == nil {
		select {
		case f := <-p.reply:
			return outcome(f, r.Group)
		case <-ctx.Done():
			err = ctx.Err()
		case <-l.done:
			err = ErrLost
		}
	}
	l.mu.Lock()
	_, waiting := l.calls[r.ID]
	delete(l.calls, r.ID)
	l.mu.Unlock()
	if !waiting { // the reader took it in the same moment: the reply counts, its onOK has run or is running
		return outcome(<-p.reply, r.Group)
	}
	return nil, err
}

func outcome(f *frame, group string) (*frame, error) {
	if f.Op != "error" {
		return f, nil
	}
	e := f.err()
	if e.Group == "" {
		e.Group = group
	}
	return nil, e
}

// resolve hands a reply to its call; called by the reader.
func (l *link) resolve(f *frame) {
	l.mu.Lock()
	p := l.calls[f.ID]
	delete(l.calls, f.ID)
	l.mu.Unlock()
	if p == nil {
		return // the caller gave up
	}
	if f.Op == "ok" && p.onOK != nil {
		p.onOK(f)
	}
	p.reply <- f
}

// fail ends the link; the first reason counts. It may be called from any goroutine.
func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.done)
		_ = l.conn.Close() // nothing is left to lose
	}
}

func (l *link) reasonOfLoss() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// shutdown starts the closing handshake; the reader then ends within closeTimeout.
func (l *link) shutdown() {
	l.mu.Lock()
	l.closing = true
	_ = l.conn.SetDeadline(time.Now().Add(closeTimeout)) // also cuts a write to a peer that does not read
	l.mu.Unlock()
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case l.out <- outFrame{ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")}:
	case <-l.written:
	case <-t.C:
	}
}

// write is the writer goroutine: all frames that wait go out in one write. A close frame is its last.
func (l *link) write() {
	defer close(l.written)
	var buf bytes.Buffer
	for {
		select {
		case f := <-l.out:
			last := l.gather(&buf, f)
			_ = l.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := l.conn.Write(buf.Bytes()); err != nil {
				l.fail(&CloseError{Code: 1006, Err: err})
				return
			}
			if last {
				return
			}
			if buf.Reset(); buf.Cap() > 64<<10 {
				buf = bytes.Buffer{}
			}
		case <-l.done:
			return
		}
	}
}

// gather puts f and what waits behind it into buf, up to a close frame.
func (l *link) gather(buf *bytes.Buffer, f outFrame) (last bool) {
	for {
		mask := ws.NewMask()
		ws.Cipher(f.payload, mask, 0)
		_ = ws.WriteHeader(buf, ws.Header{Fin: true, OpCode: f.op, Masked: true, Mask: mask, Length: int64(len(f.payload))}) // a Buffer takes all
		buf.Write(f.payload)
		if f.op == ws.OpClose {
			return true
		}
		if buf.Len() > 64<<10 {
			return false
		}
		select {
		case f = <-l.out:
		default:
			return false
		}
	}
}
