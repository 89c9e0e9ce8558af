package cache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gatecast/gatecast/authn/breaker"
)

// pool holds the connections to one server.
type pool struct {
	// static
	dial    func(ctx context.Context) (*conn, error)
	timeout time.Duration
	slots   chan struct{} // one for each connection in use; never closed
	breaker *breaker.Breaker

	mu     sync.Mutex // guards what follows
	idle   []*conn
	closed bool
}

// conn is a connection, of one call at a time.
type conn struct {
	net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	used time.Time
}

// maxIdle is well below the idle timeouts that servers and the ways to them usually have.
const maxIdle = time.Minute

var errClosed = errors.New("the cache is closed")

func newPool(o Options, dial func(ctx context.Context) (*conn, error)) *pool {
	return &pool{
		dial: dial, timeout: o.Timeout, slots: make(chan struct{}, max(o.Conns, 1)),
		breaker: &breaker.Breaker{Name: "the site's cache", Limit: breaker.Limit, Pause: breaker.Pause, Log: o.Log},
	}
}

func newConn(c net.Conn) *conn { return &conn{Conn: c, r: bufio.NewReader(c), w: bufio.NewWriter(c)} }

// do runs talk on a connection. If it fails the connection is closed; if the connection had lain idle, talk is run once more on a new one, for
// the server may have gone and come back. talk only reads, so that twice is as good as once. A server that is being left alone is not called.
func (p *pool) do(ctx context.Context, talk func(c *conn) error) error {
	return p.breaker.Ask(ctx, func() error { return p.call(ctx, talk) })
}

func (p *pool) call(ctx context.Context, talk func(c *conn) error) error {
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.timeout)
		defer cancel()
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return fmt.Errorf("wait for a connection to the cache: %w", ctx.Err())
	}
	c, err := p.take()
	if err != nil {
		return err
	}
	if c != nil {
		if err := p.talk(ctx, c, talk); err == nil || ctx.Err() != nil || !broken(err) {
			return err
		}
	}
	if c, err = p.dial(ctx); err != nil {
		return because(ctx, fmt.Errorf("connect to the cache: %w", err))
	}
	return p.talk(ctx, c, talk)
}

func (p *pool) talk(ctx context.Context, c *conn, talk func(c *conn) error) error {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) // ends with ctx
	err := talk(c)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline is set, or about to be
	}
	if err != nil {
		c.Close()
		return because(ctx, err)
	}
	p.put(c)
	return nil
}

// broken tells an error of the connection from what the server said.
func broken(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// because says that time was up where that is why.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// take gives the connection used last, nil if none is idle, and closes those that nobody needed for long.
func (p *pool) take() (*conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	for len(p.idle) > 0 && time.Since(p.idle[0].used) > maxIdle {
		p.idle[0].Close()
		p.idle = p.idle[1:]
	}
	n := len(p.idle)
	if n == 0 {
		return nil, nil
	}
	c := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return c, nil
}

func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || c.r.Buffered() > 0 { // an answer too many: the next one would be wrong
		c.Close()
		return
	}
	c.used = time.Now()
	p.idle = append(p.idle, c)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}

// readLine reads up to "\n" and gives the line without its end.
func (c *conn) readLine() (string, error) {
	line, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errors.New("the cache server sends a line without end: is it one?")
	}
	if err != nil {
		return "", err
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return string(line), nil
}

// readBlock reads n bytes and the "\r\n" after them; tooLarge if they were skipped.
func (c *conn) readBlock(n int64) (data []byte, tooLarge bool, err error) {
	if n > MaxEntry {
		_, err = io.CopyN(io.Discard, c.r, n+2)
		return nil, true, err
	}
	data = make([]byte, n+2)
	if _, err := io.ReadFull(c.r, data); err != nil {
		return nil, false, err
	}
	if data[n] != '\r' || data[n+1] != '\n' {
		return nil, false, errProtocol
	}
	return data[:n], false, nil
}

var errProtocol = errors.New("the cache server does not speak its protocol: is it one?")
