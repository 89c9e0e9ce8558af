//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/ledger"
)

// posts is what a publisher by HTTP keeps. Its requests go out one after the other on one connection, also before the ones before
// them are answered (RFC 9112 section 9.3.2), so that an open loop never waits, and a group's publications stay in order.
type posts struct {
	poster  codec.Poster
	flight  [][]byte // requests without an answer, oldest first
	answers responses
	heard   int64 // when the target answered last, or the last request was made
}

// answerTimeout is how long the target may be silent once all is published and not all is answered.
const answerTimeout = 10 * time.Second

// build returns the request that publishes the payload.
func (p *posts) build(group uint32, payload []byte) []byte {
	request := p.poster.Post(nil, group, payload)
	p.flight, p.heard = append(p.flight, request), ledger.Now()
	return request
}

// owed is how many requests have no answer yet.
func (p *Publisher) owed() int {
	if p.post == nil {
		return 0
	}
	return len(p.post.flight)
}

// overdue ends the wait for answers when all is published.
func (p *Publisher) overdue(all bool) error {
	if n := p.owed(); all && n > 0 && ledger.Now()-p.post.heard > int64(answerTimeout) {
		return fmt.Errorf("the target has left %d publications without an answer for %v", n, answerTimeout)
	}
	return nil
}

// answered takes what the target says to requests.
func (p *Publisher) answered(b []byte) error {
	var err error
	closing := false
	p.post.heard = ledger.Now()
	scanErr := p.post.answers.scan(b, func(r response) {
		if len(p.post.flight) == 0 {
			err = errors.Join(err, errors.New("the target answers what it was not asked"))
			return
		}
		p.post.flight = p.post.flight[1:]
		closing = closing || r.last
		if err == nil {
			err = r.err()
		}
	})
	if err := errors.Join(err, scanErr); err != nil {
		return err
	}
	if closing {
		return p.renew()
	}
	return nil
}

// renew opens another connection when the target has closed one in order, and sends again what it has not answered: requests after
// the one whose answer says "close" were not looked at.
func (p *Publisher) renew() error {
	old := p.fd
	if err := p.dial(context.Background()); err != nil {
		return err
	}
	p.post.answers = responses{}
	p.out = p.out[:0]
	for _, request := range p.post.flight {
		p.out = append(p.out, request...)
	}
	return unix.Close(old)
}
