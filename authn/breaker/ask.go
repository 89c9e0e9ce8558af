package breaker

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// Ask asks a question with leave. ctx bounds the question; within it the question may have less time, of its own.
func (b *Breaker) Ask(ctx context.Context, question func() error) error {
	pass, err := b.Enter()
	if err != nil {
		return err
	}
	how := Unknown
	defer func() { b.Leave(pass, how) }() // also if it panics
	deadline, limited := ctx.Deadline()
	hurried := limited && time.Until(deadline) < leastTime
	err = question()
	how = b.outcome(ctx, err, hurried)
	return err
}

// leastTime is what a caller must have to spare for it to be the other side's fault that there was no answer in time: one that waited in a queue of ours has
// nearly none left.
const leastTime = 500 * time.Millisecond

// outcome tells silence from what the other side said, which is an answer also if it is an error, and from a caller that gave up.
func (b *Breaker) outcome(ctx context.Context, err error, hurried bool) Outcome {
	var network net.Error // a deadline is one too
	switch {
	case err == nil:
		return Answered
	case ctx.Err() != nil && (hurried || !errors.Is(context.Cause(ctx), context.DeadlineExceeded)):
		return Unknown
	case ctx.Err() != nil, errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), b.Silent != nil && b.Silent(err):
		return Failed
	case errors.Is(err, context.Canceled):
		return Unknown
	}
	return Answered
}
