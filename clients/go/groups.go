package gatecast

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// rejoinChunk is how many groups one frame adds again, so that it stays below any server's message limit.
const rejoinChunk = 50

// member is a group that the caller added. All fields but group, order and handler are guarded by Conn.mu.
type member struct {
	group   string
	order   uint64
	handler func(Message) // nil = OnMessage or Receive
	added   bool          // the server said ok once: it is added again after a reconnect
	old     *member       // what it replaces until it is added
}

// GroupAdd joins a group. When it returns nil, every message sent to the group from then on, anywhere in the cluster, arrives while
// the connection lasts, and handler is called for each; a nil handler leaves them to OnMessage or Receive. After a reconnect the
// group is added again without asking. GroupAdd of a group that is there already replaces the handler.
//
// While the Conn is not connected GroupAdd waits until ctx ends. A refusal is an *Error.
func (c *Conn) GroupAdd(ctx context.Context, group string, handler func(Message)) error {
	m := c.putMember(group, handler)
	for {
		l, err := c.wait(ctx)
		if err == nil {
			_, err = l.call(ctx, request{Op: "group_add", Group: group}, func(*frame) { c.confirm(m) })
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errNotSent), errors.Is(err, ErrLost):
			continue // adding twice does no harm
		}
		if c.undo(m) && l != nil && ctx.Err() != nil {
			// The server may have added it just now. If this cannot be sent at once, the next connection starts without the group.
			select {
			case l.out <- outFrame{1, (&request{Op: "group_discard", Group: group}).encode()}:
			default:
			}
		}
		return err
	}
}

// GroupDiscard leaves a group. After it returned nil, no message of the group reaches a handler.
func (c *Conn) GroupDiscard(ctx context.Context, group string) error {
	c.mu.Lock()
	if m := c.groups[group]; m != nil {
		m.added, m.old = false, nil // a reconnect from here on leaves it out
	}
	l := c.link
	c.mu.Unlock()
	var err error
	if l != nil {
		_, err = l.call(ctx, request{Op: "group_discard", Group: group}, func(*frame) { c.forget(group) })
	} else if c.State() == StateClosed {
		return c.closedErr()
	}
	if err == nil || errors.Is(err, errNotSent) || errors.Is(err, ErrLost) { // the conn is gone, and its memberships with it
		c.forget(group)
		return nil
	}
	return err
}

func (c *Conn) putMember(group string, handler func(Message)) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joins++
	m := &member{group: group, order: c.joins, handler: handler, old: c.groups[group]}
	if m.old != nil {
		m.order, m.old.old = m.old.order, nil
	}
	c.groups[group] = m
	return m
}

func (c *Conn) confirm(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.added, m.old = true, nil
	c.groups[m.group] = m // also after a GroupDiscard that the server heard of first
}

// undo takes back a putMember; true if the group was not there before.
func (c *Conn) undo(m *member) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.groups[m.group] != m {
		return false
	}
	if m.old != nil {
		c.groups[m.group] = m.old
		return false
	}
	delete(c.groups, m.group)
	return true
}

func (c *Conn) forget(group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.groups, group)
}

func (c *Conn) has(m *member) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.groups[m.group] == m
}

// toRejoin returns the groups a new connection starts with, in the order they were added.
func (c *Conn) toRejoin() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*member
	for _, m := range c.groups {
		if m.added || m.old != nil && m.old.added {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b *member) int { return cmp.Compare(a.order, b.order) })
	return list
}

// rejoin puts the groups back on a new link and then says connected. Groups that fail for the moment are tried again for as long as
// the link lives; refused ones are given up with an event. It runs beside the reader and ends with l.
func (c *Conn) rejoin(l *link) {
	left, errs, lost := c.rejoinOnce(l, c.toRejoin())
	if lost {
		return
	}
	c.setState(StateChange{State: StateConnected})
	select {
	case c.first <- errors.Join(errs...):
	default: // only Dial listens, once
	}
	retry := retrier{min: c.o.RetryMin, max: c.o.RetryMax}
	for len(left) > 0 {
		wait, _ := retry.next(nil)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.done:
			timer.Stop()
			return
		}
		if left, _, lost = c.rejoinOnce(l, left); lost {
			return
		}
	}
}

func (c *Conn) rejoinOnce(l *link, members []*member) (again []*member, errs []error, lost bool) {
	for chunk := range slices.Chunk(members, rejoinChunk) {
		failed, err := rejoinChunkOf(l, chunk)
		if err != nil {
			return nil, nil, true
		}
		for _, m := range chunk {
			e := failed[m.group]
			switch {
			case e == nil || !c.has(m):
				continue
			case e.Temporary():
				again = append(again, m)
			default:
				c.forget(m.group)
				c.event(Event{Op: EventRefused, Group: m.group, Err: e})
			}
			errs = append(errs, e)
		}
	}
	return again, errs, false
}

// rejoinChunkOf returns the groups that failed; an error means that the link is lost.
func rejoinChunkOf(l *link, chunk []*member) (map[string]*Error, error) {
	names := make([]string, len(chunk))
	for i, m := range chunk {
		names[i] = m.group
	}
	failed := make(map[string]*Error)
	f, err := l.call(context.Background(), request{Op: "group_add", Groups: names}, nil)
	var refused *Error
	if errors.As(err, &refused) { // the whole request: too fast, for example
		for _, g := range names {
			failed[g] = &Error{Code: refused.Code, Message: refused.Message, Group: g}
		}
		return failed, nil
	}
	if err != nil {
		return nil, err
	}
	replies, err := f.groupReplies()
	if err != nil {
		l.fail(&CloseError{Code: 1002, Err: err})
		return nil, err
	}
	for _, r := range replies {
		if r.Error != nil {
			failed[r.Group] = &Error{Code: r.Error.Code, Message: r.Error.Message, Group: r.Group}
		}
	}
	return failed, nil
}
