package gatecast

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Conn is a connection that comes back by itself. Its methods may be called concurrently, also from callbacks.
type Conn struct {
	// static
	url   string
	o     Options
	queue *queue
	inbox chan Message       // for Receive; never closed
	ctx   context.Context    // ends with Close: it bounds connects and waits between them
	stop  context.CancelFunc // of ctx
	first chan error         // outcome of the first joining of groups; room for one
	done  chan struct{}      // closed when the run loop has ended

	// owned by Dial, then by the run loop
	refused string // the token that the server refused; TokenFunc must find another

	mu      sync.Mutex
	state   State
	err     error         // why it ended for good; nil after Close
	closing bool          // Close was called
	link    *link         // nil while there is none
	linked  chan struct{} // closed when link is set, new when it is lost
	welcome Welcome
	token   string // for the next connect
	groups  map[string]*member
	joins   uint64 // numbers members, so that they are added again in their order
}

// Dial connects to a server's /ws address (ws://, wss://, http:// or https://), logs in and joins o.Groups. ctx bounds Dial only.
// The first failure is returned; later the Conn reconnects by itself until Close. Close must be called.
func Dial(ctx context.Context, url string, o Options) (*Conn, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Conn{
		url:    url,
		o:      o,
		queue:  newQueue(o.Queue),
		inbox:  make(chan Message, o.Queue),
		first:  make(chan error, 1),
		done:   make(chan struct{}),
		linked: make(chan struct{}),
		token:  o.Token,
		groups: make(map[string]*member),
	}
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Conn) start(ctx context.Context) error {
	c.ctx, c.stop = context.WithCancel(context.Background())
	for _, g := range c.o.Groups {
		c.putMember(g, nil).added = true
	}
	go c.queue.run() // ends with finish
	c.setState(StateChange{State: StateConnecting})
	l, err := c.connect(ctx)
	if err != nil {
		c.finish(err)
		close(c.done)
		return err
	}
	go c.run(l) // ends with Close or a loss that forbids a retry; Close waits for it
	select {
	case err = <-c.first:
		if err == nil {
			return nil
		}
	case <-c.done:
		err = c.Err()
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = c.Close()
	return err
}

// run keeps the Conn connected. It is the only goroutine that reads.
func (c *Conn) run(l *link) {
	defer close(c.done)
	retry := retrier{min: c.o.RetryMin, max: c.o.RetryMax}
	for l != nil {
		began := time.Now()
		err := c.serve(l)
		retry.lived(time.Since(began))
		l = c.reconnect(&retry, err)
	}
}

// reconnect returns the next link, or nil when the Conn has ended.
func (c *Conn) reconnect(retry *retrier, err error) *link {
	for {
		if c.ctx.Err() != nil {
			c.finish(nil)
			return nil
		}
		wait, ok := retry.next(err)
		if !ok && c.mayLogInAgain(err) {
			wait, ok = jitter(retry.min), true
		}
		if !ok {
			c.finish(err)
			return nil
		}
		c.setState(StateChange{State: StateWaiting, Err: err, Retry: wait})
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
			continue
		}
		c.setState(StateChange{State: StateConnecting})
		var l *link
		if l, err = c.connect(c.ctx); err == nil {
			return l
		}
	}
}

var errSameToken = errors.New("TokenFunc has no other token")

// mayLogInAgain tells that err refused the token and TokenFunc may have another.
func (c *Conn) mayLogInAgain(err error) bool {
	if c.o.TokenFunc == nil || errors.Is(err, errSameToken) {
		return false
	}
	var closed *CloseError
	var refused *HandshakeError
	if errors.As(err, &closed) && closed.Code == 4401 || errors.As(err, &refused) && refused.Status == 401 {
		c.mu.Lock()
		c.refused = c.token
		c.mu.Unlock()
		return true
	}
	return false
}

// connect makes one attempt: handshake, login, welcome.
func (c *Conn) connect(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.ConnectTimeout)
	defer cancel()
	token, err := c.nextToken(ctx)
	if err != nil {
		return nil, err
	}
	l, err := openLink(ctx, c.url, token, &c.o)
	if err != nil {
		return nil, err
	}
	unblock := context.AfterFunc(ctx, func() { l.fail(ctx.Err()) })
	if token != "" && c.o.Carrier == CarrierMessage {
		err = l.send(ctx, &request{Op: "auth", ID: 1, Token: token})
		l.lastID = 1
	}
	if err == nil {
		err = c.awaitWelcome(l)
	}
	if !unblock() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.fail(err)
		<-l.written
		return nil, l.reasonOfLoss()
	}
	return l, nil
}

func (c *Conn) nextToken(ctx context.Context) (string, error) {
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	if c.o.TokenFunc == nil {
		return token, nil
	}
	token, err := c.o.TokenFunc(ctx)
	if err != nil {
		return "", fmt.Errorf("gatecast: get a token: %w", err)
	}
	if c.refused != "" && token == c.refused {
		return "", &CloseError{Code: 4401, Err: errSameToken}
	}
	c.mu.Lock()
	c.token = token
	c.mu.Unlock()
	return token, nil
}

// awaitWelcome reads up to the welcome. A refused login comes as an error frame, then a close frame.
func (c *Conn) awaitWelcome(l *link) error {
	for {
		f, err := l.frame()
		if err == nil {
			err = c.handle(l, f)
		}
		if err != nil || l.welcomed {
			return err
		}
	}
}

// serve reads l until it is lost and returns why.
func (c *Conn) serve(l *link) error {
	if !c.setLink(l) {
		l.shutdown()
	}
	var rejoin sync.WaitGroup
	rejoin.Go(func() { c.rejoin(l) }) // ends with l
	var err error
	for err == nil {
		var f *frame
		if f, err = l.frame(); err == nil {
			err = c.handle(l, f)
		}
	}
	l.fail(err)
	c.dropLink(l)
	rejoin.Wait()
	<-l.written
	return l.reasonOfLoss()
}

// frame reads one message and decodes it; called by the reader only.
func (l *link) frame() (*frame, error) {
	text, err := l.next()
	if err != nil {
		return nil, err
	}
	f, err := decodeFrame(text)
	if err != nil {
		return nil, l.refuse(1002, err)
	}
	return f, nil
}

// setLink lets callers use l; false if Close came first.
func (c *Conn) setLink(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
	close(c.linked)
	return !c.closing
}

func (c *Conn) dropLink(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = nil
	c.linked = make(chan struct{})
	close(l.gone)
}

// wait returns the current link, or waits for the next one.
func (c *Conn) wait(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, linked, closing := c.link, c.linked, c.closing
		c.mu.Unlock()
		if closing {
			return nil, ErrClosed
		}
		next := linked
		if l != nil {
			select {
			case <-l.written: // it takes no more requests
				next = l.gone
			default:
				return l, nil
			}
		}
		select {
		case <-next:
		case <-c.done:
			return nil, c.closedErr()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Conn) setState(s StateChange) {
	c.mu.Lock()
	c.state = s.State
	c.mu.Unlock()
	if c.o.OnState != nil {
		c.queue.put(func() { c.o.OnState(s) })
	}
}

// finish is the last thing the run loop does; err is nil after Close.
func (c *Conn) finish(err error) {
	c.stop()
	c.mu.Lock()
	if c.closing {
		err = nil
	}
	c.err = err
	byCaller := c.closing
	c.mu.Unlock()
	c.setState(StateChange{State: StateClosed, Err: err})
	c.queue.close(byCaller)
}

// Close says goodbye to the server and ends the Conn; it returns when its socket is closed, at the latest after about a second. A
// callback that runs meanwhile is not waited for. Requests that still wait return ErrLost or ErrClosed.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closing = true
	l := c.link
	c.mu.Unlock()
	c.stop()
	if l != nil {
		l.shutdown()
	}
	<-c.done
	return nil
}

// Done is closed when the Conn has ended for good, by Close or by the server; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the Conn ended, a *CloseError or *HandshakeError in most cases; nil while it lives and after Close.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *Conn) closedErr() error {
	if err := c.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return ErrClosed
}

// State returns the current state.
func (c *Conn) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Welcome returns what the server said of the latest login.
func (c *Conn) Welcome() Welcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcome
}
