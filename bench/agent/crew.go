//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/load"
)

// orderTimeout bounds orders that take no time of their own.
const orderTimeout = 30 * time.Second

// Crew is a crew spread over the agents of a host.
type Crew struct {
	// static
	host    *Host
	number  int
	members []int // of each group, in all
	shares  []share

	mu        sync.Mutex
	from      map[string]int // agent by its subject
	states    []crew.State   // by agent
	groups    []group        // by number
	completed int64
	tell      func(n int64) // may be nil
	receiving bool          // all guarded by mu
}

// share is an agent's part.
type share struct {
	agent *member
	opts  crew.Options
}

// group is how far the publications to a group are.
type group struct {
	done []int64 // by agent: publications that have reached all members there; less than 0 = none are there
	all  int64   // that have reached all
}

// none stands for an agent without members of a group.
const none = -1

// Open shares the clients of the options out among all agents.
func (h *Host) Open(o crew.Options) (crew.Crew, error) {
	if o.Count < len(h.agents) {
		return nil, fmt.Errorf("%d connections are too few for %d processes", o.Count, len(h.agents))
	}
	h.crews++
	c := &Crew{
		host: h, number: h.crews, from: make(map[string]int), states: make([]crew.State, len(h.agents)),
		groups: make([]group, o.Plan.Groups), members: make([]int, o.Plan.Groups),
	}
	n := len(h.agents)
	for i, m := range h.agents {
		part := o
		part.First = o.First + o.Count*i/n
		part.Count = o.First + o.Count*(i+1)/n - part.First
		part.Rate = o.Rate * float64(part.Count) / float64(o.Count)
		part.Inflight = max(o.Inflight*(i+1)/n-o.Inflight*i/n, 1)
		c.shares, c.from[m.Orders] = append(c.shares, share{m, part}), i
		for k := range part.Count {
			for _, g := range o.Plan.Of(part.First + k) {
				c.members[g]++
				if c.groups[g].done == nil {
					c.groups[g].done = make([]int64, n)
					for j := range n {
						c.groups[g].done[j] = none
					}
				}
				c.groups[g].done[i] = 0
			}
		}
	}
	h.crew.Store(c)
	ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
	defer cancel()
	_, err := c.order(ctx, func(s share) order { return order{Do: doOpen, Options: &s.opts} })
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// order gives all agents an order at once and waits for their answers; the first error ends it.
func (c *Crew) order(ctx context.Context, of func(s share) order) ([]answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.host.ctx, func() { cancel(c.host.lost()) })()
	answers, errs := make([]answer, len(c.shares)), make([]error, len(c.shares))
	var wg sync.WaitGroup
	for i, s := range c.shares {
		wg.Go(func() {
			o := of(s)
			o.Crew = c.number
			if answers[i], errs[i] = ask(ctx, c.host.conn, s.agent.Orders, o); errs[i] != nil {
				cancel(errOther)
				if ctx.Err() == nil || !errors.Is(errs[i], context.Cause(ctx)) {
					errs[i] = fmt.Errorf("%s: %w", s.agent, errs[i])
				}
			}
		})
	}
	wg.Wait()
	if err := c.host.lost(); err != nil {
		return nil, err
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, errOther) {
			return nil, err
		}
	}
	return answers, nil
}

// errOther is why an agent is not waited for when another one failed.
var errOther = errors.New("another agent failed")

// Connect implements [crew.Crew].
func (c *Crew) Connect(ctx context.Context) (crew.Logins, error) {
	logins := crew.Logins{Response: load.NewHistogram(), Service: load.NewHistogram()}
	answers, err := c.order(ctx, func(share) order { return order{Do: doConnect} })
	if err != nil {
		return logins, err
	}
	for _, a := range answers {
		for _, part := range []struct {
			b    []byte
			into *hdrhistogram.Histogram
		}{{a.Response, logins.Response}, {a.Service, logins.Service}} {
			h, err := hdrhistogram.Decode(part.b)
			if err != nil {
				return logins, fmt.Errorf("read an agent's histogram: %w", err)
			}
			part.into.Merge(h)
		}
	}
	return logins, nil
}

// Receive implements [crew.Crew].
func (c *Crew) Receive(from int64, completed func(n int64)) {
	c.mu.Lock()
	c.tell, c.receiving = completed, true
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
	defer cancel()
	_, err := c.order(ctx, func(share) order { return order{Do: doReceive, From: from, Tell: completed != nil} })
	if err != nil {
		c.host.lose(err)
	}
}

// hear takes an agent's news.
func (c *Crew) hear(n news) {
	c.mu.Lock()
	i, known := c.from[n.Agent]
	if !known {
		c.mu.Unlock()
		return
	}
	s := &c.states[i]
	s.Connected, s.Delivered, s.Last, s.Quiet = n.Connected, n.Delivered, n.Last, n.Quiet
	if n.Error != "" && s.Err == nil {
		s.Err = fmt.Errorf("%s: %s", c.shares[i].agent, n.Error)
	}
	before := c.completed
	for g, more := range n.Completed {
		if int(g) < len(c.groups) {
			c.completed += c.groups[g].add(i, more)
		}
	}
	now, tell := c.completed, c.tell
	c.mu.Unlock()
	if n.Usage != nil {
		m := c.shares[i].agent
		m.mu.Lock()
		m.usage = *n.Usage
		m.mu.Unlock()
	}
	if now > before && tell != nil {
		tell(now)
	}
}

// add enters that more publications have reached all members at agent i, and returns how many more have reached all there are.
// Agents that receive in order complete them in order, so those that all agents have completed are the first so many.
func (g *group) add(i int, more int64) int64 {
	if g.done == nil || g.done[i] == none {
		return 0
	}
	g.done[i] += more
	least := int64(math.MaxInt64)
	for _, n := range g.done {
		if n != none {
			least = min(least, n)
		}
	}
	grown := least - g.all
	g.all = least
	return grown
}

// State implements [crew.Crew].
func (c *Crew) State() (sum crew.State) {
	sum.Err = c.host.lost()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.states {
		if i == 0 || s.Quiet < sum.Quiet {
			sum.Quiet = s.Quiet
		}
		sum.Connected += s.Connected
		sum.Delivered += s.Delivered
		sum.Last = max(sum.Last, s.Last)
		if sum.Err == nil {
			sum.Err = s.Err
		}
	}
	sum.Completed = c.completed
	return sum
}

// Stop implements [crew.Crew].
func (c *Crew) Stop() error {
	c.mu.Lock()
	receiving := c.receiving
	c.receiving = false
	c.mu.Unlock()
	if !receiving {
		return nil
	}
	return c.brief(doStop)
}

func (c *Crew) brief(do string) error {
	ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
	defer cancel()
	answers, err := c.order(ctx, func(share) order { return order{Do: do} })
	for _, a := range answers {
		if a.News != nil {
			c.hear(*a.News)
		}
	}
	return err
}

// Balance implements [crew.Crew].
func (c *Crew) Balance(sent []uint32) (crew.Tally, error) {
	ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
	defer cancel()
	answers, err := c.order(ctx, func(share) order { return order{Do: doReport, Sent: sent} })
	if err != nil {
		return crew.Tally{}, err
	}
	reports := make([]crew.Report, len(answers))
	for i, a := range answers {
		if reports[i], err = decodeReport(a.Report); err != nil {
			return crew.Tally{}, err
		}
	}
	return crew.Merge(c.members, reports...), nil
}

// Close implements [crew.Crew]. The agents stay.
func (c *Crew) Close() error {
	if c.host.lost() != nil {
		return nil // told already
	}
	err := errors.Join(c.Stop(), c.brief(doClose))
	c.host.crew.CompareAndSwap(c, nil)
	return err
}
