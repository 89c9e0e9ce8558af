package gatecast

import (
	"context"
	"time"
)

// handle acts on one frame. Ops it does not know are left to newer clients.
func (c *Conn) handle(l *link, f *frame) error {
	switch f.Op {
	case "welcome":
		return c.onWelcome(l, f)
	case "ok":
		l.resolve(f)
	case "error":
		c.onError(l, f)
	case "message":
		c.onMessage(f)
	case "ping":
		return l.answerPing()
	case "close":
		l.mu.Lock()
		l.notice = f.closeError()
		l.mu.Unlock()
	case EventGroupAdded, EventJoin, EventLeave, EventReset:
		c.event(Event{Op: f.Op, Group: f.Group, User: f.User})
	case EventGroupDiscarded:
		c.forget(f.Group)
		c.event(Event{Op: f.Op, Group: f.Group})
	}
	return nil
}

func (c *Conn) onWelcome(l *link, f *frame) error {
	w, err := f.welcome()
	if err != nil {
		return l.refuse(1002, err)
	}
	l.welcomed = true
	if f.Ping > 0 {
		l.mu.Lock()
		l.silence = time.Duration(f.Ping*float64(time.Second)) + c.o.grace
		l.mu.Unlock()
	}
	c.mu.Lock()
	c.welcome = *w
	c.mu.Unlock()
	return nil
}

func (c *Conn) onError(l *link, f *frame) {
	if f.ID != 0 && l.welcomed {
		l.resolve(f)
		return
	}
	l.mu.Lock()
	l.refusal = f.err()
	l.mu.Unlock()
	if l.welcomed {
		c.event(Event{Op: EventError, Group: f.Group, Err: f.err()})
	}
}

func (c *Conn) onMessage(f *frame) {
	m := Message{Group: f.Group, Data: f.Data, From: f.From, Format: f.Format, Seq: f.Seq}
	c.mu.Lock()
	g := c.groups[f.Group]
	c.mu.Unlock()
	if c.o.OnMessage == nil && (g == nil || g.handler == nil) {
		select {
		case c.inbox <- m:
		default:
			c.queue.drop()
		}
		return
	}
	c.queue.putMessage(func() {
		if h := c.handlerOf(m.Group, g != nil); h != nil {
			h(m)
		}
	})
}

// handlerOf returns who hears a message that waited in the queue; nil if the group was discarded meanwhile.
func (c *Conn) handlerOf(group string, wasMember bool) func(Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch g := c.groups[group]; {
	case g != nil && g.handler != nil:
		return g.handler
	case g == nil && wasMember:
		return nil
	}
	return c.o.OnMessage
}

func (c *Conn) event(e Event) {
	if c.o.OnEvent != nil {
		c.queue.put(func() { c.o.OnEvent(e) })
	}
}

// Dropped returns how many messages were thrown away because callbacks or Receive did not keep up.
func (c *Conn) Dropped() uint64 {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	return c.queue.dropped
}

// Receive returns the next message of a group without a handler, when there is no OnMessage. After the Conn has ended it returns
// what still waits, then ErrClosed.
func (c *Conn) Receive(ctx context.Context) (Message, error) {
	select {
	case m := <-c.inbox:
		return m, nil
	default:
	}
	select {
	case m := <-c.inbox:
		return m, nil
	case <-ctx.Done():
		return Message{}, ctx.Err()
	case <-c.done:
	}
	select {
	case m := <-c.inbox:
		return m, nil
	default:
		return Message{}, c.closedErr()
	}
}
