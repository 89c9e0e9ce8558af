package broker

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	answerWithin  = 2 * time.Second
	maxConcurrent = 256 // questions answered at once, and services' requests
)

// onControlUp tells a new control link what this node hears there.
func (b *Broker) onControlUp(serverInfo) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.control.append(func(buf []byte) []byte {
		buf = appendSub(buf, b.sub.inbox+">", "", sidAnswers)
		return appendSub(buf, b.sub.ask+nodeToken(b.o.Name), "", sidAsk)
	})
	if b.answering {
		b.subscribeVerbs()
	}
	if b.ingress == ingressHolding {
		b.subscribeIngress()
	}
}

// decideVerbs takes services' requests only while this node serves: else it would ask itself alone and call that all. mu is held.
func (b *Broker) decideVerbs() {
	may := b.serving && !b.draining
	if may == b.answering {
		return
	}
	b.answering = may
	if may {
		b.subscribeVerbs()
		return
	}
	b.control.append(func(buf []byte) []byte {
		for i := range verbs {
			buf = appendUnsub(buf, sidServe+uint64(i))
		}
		return buf
	})
}

// subscribeVerbs runs also when the control link is new. mu is held.
func (b *Broker) subscribeVerbs() {
	b.control.append(func(buf []byte) []byte {
		for i, v := range verbs {
			buf = appendSub(buf, b.sub.ns+".ctl."+v, queueServe, sidServe+uint64(i))
		}
		return buf
	})
}

// onControl handles one message of the control link, on its reader goroutine.
func (b *Broker) onControl(f *frame) {
	switch f.sid {
	case sidAnswers:
		b.onAnswer(f)
	case sidAsk:
		b.onAsk(f)
	case sidIngress:
		b.onServiceMessage(f)
	case sidUserIngress:
		b.onUserMessage(f)
	default:
		if i := f.sid - sidServe; i < uint64(len(verbs)) {
			b.onServe(f, verbs[i])
		}
	}
}

// questions are the AskAlls under way.
type questions struct {
	mu   sync.Mutex
	next uint64
	open map[uint64]chan Answer // capacity for its one answer; never closed
}

// AskAll asks every live node, this one included, and returns after 2 s at the latest: who did not answer has ErrTimeout, who
// left meanwhile ErrUnavailable. Answers are in no order. While this node does not serve it knows no others: ErrUnavailable.
func (b *Broker) AskAll(ctx context.Context, verb string, body []byte) ([]Answer, error) {
	if strings.ContainsAny(verb, "\n") {
		return nil, errors.New("broker: a verb is one word")
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	b.mu.Lock()
	names := make([]string, 0, len(b.peers))
	for name := range b.peers {
		names = append(names, name)
	}
	serving := b.serving
	b.mu.Unlock()
	if !serving {
		return nil, ErrUnavailable
	}
	question := append(append(append(make([]byte, 0, len(verb)+1+len(body)), verb...), '\n'), body...)
	answers := make(chan Answer, len(names)+1)
	missing := map[string]bool{}
	var ids []uint64
	for _, name := range names {
		missing[name] = true
		ids = append(ids, b.questions.ask(b, name, question, answers))
	}
	defer b.questions.forget(ids)
	missing[b.o.Name] = true
	b.spawn(func() { // the handler's own limit ends it; Close waits
		out, err := b.h.Ask(ctx, verb, body)
		select {
		case answers <- Answer{Node: b.o.Name, Body: out, Err: err}:
		case <-ctx.Done():
		}
	})
	var all []Answer
	for len(missing) > 0 {
		select {
		case a := <-answers:
			if missing[a.Node] {
				delete(missing, a.Node)
				all = append(all, a)
			}
		case <-ctx.Done():
			for name := range missing {
				all = append(all, Answer{Node: name, Err: ErrTimeout})
			}
			return all, nil
		}
	}
	return all, nil
}

func (q *questions) ask(b *Broker, node string, question []byte, to chan Answer) uint64 {
	token := nodeToken(node)
	q.mu.Lock()
	q.next++
	id := q.next
	q.open[id] = to
	q.mu.Unlock()
	reply := b.sub.inbox + strconv.FormatUint(id, 10) + "." + token
	limit := b.control.maxPayload.Load()
	if int64(len(question)) > limit {
		to <- Answer{Node: node, Err: ErrTooLarge}
	} else if !b.control.request(b.sub.ask+token, reply, question) {
		to <- Answer{Node: node, Err: ErrUnavailable}
	}
	return id
}

func (q *questions) forget(ids []uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		delete(q.open, id)
	}
}

func (q *questions) get(id uint64) chan Answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open[id]
}

// onAnswer takes <number>.<node token>; the body begins with + or, for an error, with -.
func (b *Broker) onAnswer(f *frame) {
	rest, ok := strings.CutPrefix(string(f.subject), b.sub.inbox)
	number, token, _ := strings.Cut(rest, ".")
	id, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return
	}
	to := b.questions.get(id)
	if to == nil {
		return // too late
	}
	a := Answer{Node: b.nodeOf(token)}
	switch {
	case noResponders(f.header) || len(f.body) == 0:
		a.Err = ErrUnavailable
	case f.body[0] == '+':
		a.Body = bytes.Clone(f.body[1:])
	default:
		a.Err = errors.New(string(f.body[1:]))
	}
	select {
	case to <- a:
	default: // answered twice
	}
}

// nodeOf gives the name behind a token; of a node that has just left the token itself would be no name.
func (b *Broker) nodeOf(token string) string {
	name, err := nodeName(token)
	if err != nil {
		return token
	}
	return name
}

// onAsk answers another node's AskAll.
func (b *Broker) onAsk(f *frame) {
	if !bytes.HasPrefix(f.reply, []byte(b.sub.ns+".ctl.c.")) {
		return
	}
	reply := string(f.reply)
	verb, body, _ := bytes.Cut(f.body, []byte("\n"))
	name, question := string(verb), bytes.Clone(body)
	b.concurrently(b.asked, true, func(ctx context.Context) {
		out, err := b.h.Ask(ctx, name, question)
		answer := append([]byte("+"), out...)
		if err != nil {
			answer = append([]byte("-"), err.Error()...)
		} else if int64(len(answer)) > b.control.maxPayload.Load() {
			answer = []byte("-the answer is larger than broker.max_payload")
		}
		b.control.publish(reply, answer)
	}, func() { b.control.publish(reply, []byte("-too many questions at once")) })
}

// onServe answers a service.
func (b *Broker) onServe(f *frame, verb string) {
	if len(f.reply) > 0 && !replyTo(f.reply, serviceInbox) {
		b.count.refusedReplies.Add(1)
		return
	}
	reply, body := string(f.reply), bytes.Clone(f.body)
	say := func(answer []byte) {
		if reply == "" {
			return
		}
		if int64(len(answer)) > b.control.maxPayload.Load() {
			answer = []byte(`{"error":{"code":"too_large","message":"the answer is larger than broker.max_payload"}}`)
		}
		b.control.publish(reply, answer)
	}
	b.concurrently(b.requested, false, func(ctx context.Context) { say(b.h.Serve(ctx, verb, body)) },
		func() { say([]byte(`{"error":{"code":"unavailable","message":"too many requests at once"}}`)) })
}

// concurrently runs f on its own goroutine, at most as many at once as slots holds. If there is no slot left it runs busy, at once or,
// if f can wait, when none has become free in time.
func (b *Broker) concurrently(slots chan struct{}, wait bool, f func(ctx context.Context), busy func()) {
	taken := false
	select {
	case slots <- struct{}{}:
		taken = true
	default:
		if !wait {
			busy()
			return
		}
	}
	b.spawn(func() { // the handler's limit of 2 s ends it; Close waits
		ctx, cancel := context.WithTimeout(b.ctx, answerWithin)
		defer cancel()
		if !taken {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				busy()
				return
			}
		}
		defer func() { <-slots }()
		f(ctx)
	})
}
