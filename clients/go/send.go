package gatecast

import (
	"context"
	"errors"
	"time"
)

// SendOption changes one GroupSend.
type SendOption func(*request, *sendMode)

type sendMode struct{ noReply bool }

// NoEcho leaves this Conn out of the receivers.
func NoEcho() SendOption {
	return func(r *request, _ *sendMode) { no := false; r.Echo = &no }
}

// MsgID makes a message of a durable group idempotent: the group keeps one message of an id.
func MsgID(id string) SendOption {
	return func(r *request, _ *sendMode) { r.MsgID = id }
}

// NoReply sends without asking for a reply: GroupSend returns when the message is queued for the socket, and a refusal comes as an
// EventError.
func NoReply() SendOption {
	return func(_ *request, m *sendMode) { m.noReply = true }
}

// GroupSend sends data, encoded as JSON, to every member of a group; a json.RawMessage goes out byte for byte. It needs the grant to
// publish, not membership. While the Conn is not connected GroupSend waits until ctx ends. If the connection breaks before the reply
// it returns ErrLost and does not send again.
func (c *Conn) GroupSend(ctx context.Context, group string, data any, options ...SendOption) error {
	text, err := encodeData(data)
	if err != nil {
		return err
	}
	r := request{Op: "group_send", Group: group, Data: text}
	var mode sendMode
	for _, o := range options {
		o(&r, &mode)
	}
	for {
		l, err := c.wait(ctx)
		if err != nil {
			return err
		}
		if mode.noReply {
			err = l.send(ctx, &r)
		} else {
			_, err = l.call(ctx, r, nil)
		}
		if !errors.Is(err, errNotSent) {
			return err
		}
	}
}

// Auth gives the server a new token: it refreshes a login before it expires (same user only), or logs in an anonymous Conn once.
// Later reconnects use it too, unless there is a TokenFunc.
func (c *Conn) Auth(ctx context.Context, token string) error {
	l, err := c.wait(ctx)
	if err != nil {
		return err
	}
	if _, err := l.call(ctx, request{Op: "auth", Token: token}, nil); err != nil {
		return err
	}
	c.mu.Lock()
	c.token = token
	c.mu.Unlock()
	return nil
}

// Ping returns how long the server took to answer.
func (c *Conn) Ping(ctx context.Context) (time.Duration, error) {
	l, err := c.wait(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := l.call(ctx, request{Op: "ping"}, nil); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}
