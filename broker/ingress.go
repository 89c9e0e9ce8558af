package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatecast/gatecast/broker/subject"
)

// Subscriptions of the control link.
const (
	sidAnswers = iota + 1
	sidAsk
	sidIngress
	sidUserIngress
	sidServe // + index of the verb
)

const queueIngress = "ingress"

// ingressState is whether this node handles what services and native users publish.
//
// Embedded, every node handles what its own server's clients publish, for routes do not carry it: so one publisher's messages stay
// in order. With broker.url one node handles all, and keeps that while it serves; the lowest name decides when nobody does, or two do
// (server/docs/adr/0006):
//
//	off ── lowest, nobody holds ──► holding ── drained, or a lower one holds too ──► releasing ── all handled and on their way ──► off
//
// Others see the state in heartbeats, sent on the relay link behind the last message that was handled. The queue group only
// matters when two hold after a partition: nothing is handled twice.
type ingressState uint8

const (
	ingressOff ingressState = iota
	ingressHolding
	ingressReleasing
)

func (s ingressState) held() bool { return s != ingressOff }

func (s ingressState) String() string { return [...]string{"off", "holding", "releasing"}[s] }

// decideIngress runs every tick and when serving changes.
func (b *Broker) decideIngress() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.decideVerbs()
	may := b.serving && !b.deaf
	if b.embedded == nil {
		for _, p := range b.peers {
			if !p.Ready {
				continue
			}
			lower := p.Name < b.o.Name
			if b.ingress == ingressOff && (p.Ingress || lower) || p.Ingress && lower {
				may = false
			}
		}
	}
	switch {
	case may && b.ingress == ingressOff:
		b.ingress = ingressHolding
		b.subscribeIngress()
		b.beat(time.Now())
	case !may && b.ingress == ingressHolding:
		b.control.append(func(buf []byte) []byte { return appendUnsub(appendUnsub(buf, sidIngress), sidUserIngress) })
		if !b.serving {
			b.ingress = ingressOff
			return
		}
		b.ingress = ingressReleasing
		b.spawn(b.releaseIngress) // ends within 2 s; Close waits
	}
}

func (b *Broker) releaseIngress() {
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Second)
	defer cancel()
	b.control.flush(ctx) // what came before UNSUB has been handled
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ingress == ingressReleasing {
		b.ingress = ingressOff
		b.beat(time.Now())
	}
}

// subscribeIngress runs also when the control link is new. mu is held.
func (b *Broker) subscribeIngress() {
	queue := ""
	if b.embedded == nil {
		queue = queueIngress
	}
	b.control.append(func(buf []byte) []byte {
		buf = appendSub(buf, b.sub.ingress+">", queue, sidIngress)
		return appendSub(buf, b.sub.userIn+">", queue, sidUserIngress)
	})
}

// Codes of the ingress's answers, as in the native protocol.
const (
	codeBadGroup    = "bad_group"
	codeBadRequest  = "bad_request"
	codeForbidden   = "forbidden"
	codeTooLarge    = "too_large"
	codeUnavailable = "unavailable"
)

var ingressCodes = [...]string{codeBadGroup, codeBadRequest, codeForbidden, codeTooLarge, codeUnavailable}

// refusal is a no to a publisher.
type refusal struct{ code, message string }

// controlReader is what the control link's reader goroutine owns.
type controlReader struct {
	m       Message
	headers headerReader
	name    []byte
	from    []byte
}

// onServiceMessage takes a message for a group from a service.
func (b *Broker) onServiceMessage(f *frame) {
	if len(f.reply) > 0 && !replyTo(f.reply, serviceInbox) {
		b.count.refusedReplies.Add(1)
		return
	}
	group := f.subject[min(len(b.sub.ingress), len(f.subject)):]
	b.take(f, group, "")
}

// onUserMessage takes one from a native user: the subject says who, the header cannot.
func (b *Broker) onUserMessage(f *frame) {
	token, group, _ := bytes.Cut(f.subject[min(len(b.sub.userIn), len(f.subject)):], []byte("."))
	if len(f.reply) > 0 && !replyTo(f.reply, userInbox+string(token)+".") {
		b.count.refusedReplies.Add(1)
		return
	}
	id, err := subject.Unescape(string(token))
	if err == nil {
		id, err = subject.Unquote(id)
	}
	if err != nil || subject.CheckUserID(id) != nil {
		b.answer(f, &refusal{codeBadRequest, "the subject's user id is wrong: use escape(quote(id))"})
		return
	}
	b.take(f, group, id)
}

// replyTo says whether reply is in the inbox. A node answers nowhere else: with its rights it would be anyone's deputy.
func replyTo(reply []byte, inbox string) bool {
	return len(reply) > len(inbox) && string(reply[:len(inbox)]) == inbox && !bytes.ContainsAny(reply, "*>")
}

// take checks, publishes on the live lane and answers. user is "" for a service.
func (b *Broker) take(f *frame, group []byte, user string) {
	no := b.relayMessage(f, group, user)
	if no != nil {
		b.count.refused(no.code)
	} else {
		b.count.ingressOK.Add(1)
	}
	b.answer(f, no)
}

func (b *Broker) relayMessage(f *frame, group []byte, user string) *refusal {
	r := &b.taking
	name, err := subject.AppendUnescaped(r.name[:0], group)
	if err != nil {
		return &refusal{codeBadGroup, err.Error()}
	}
	r.name = name
	if err := subject.CheckNameBytes(name); err != nil {
		return &refusal{codeBadGroup, err.Error()}
	}
	r.m = Message{Data: f.body}
	m := &r.m
	if f.header != nil {
		if bad := r.headers.read(f.header, m); bad != "" {
			return &refusal{codeBadRequest, bad}
		}
	}
	m.Group, m.Seq = name, 0
	if user != "" {
		if !b.userMayPublish(user, group, name) {
			return &refusal{codeForbidden, "no grant to publish to this group"}
		}
		r.from = append(r.from[:0], user...)
		m.From, m.Conn, m.Exclude = r.from, nil, nil
	} else if len(m.From) > 0 && subject.CheckUserID(string(m.From)) != nil {
		return &refusal{codeBadRequest, "Gc-From is no user id"}
	}
	if bad := badBody(m); bad != "" {
		return &refusal{codeBadRequest, bad}
	}
	switch err := b.Publish(m); {
	case err == nil:
		return nil
	case errors.Is(err, ErrTooLarge):
		return &refusal{codeTooLarge, err.Error()}
	case errors.Is(err, ErrBadHeader):
		return &refusal{codeBadRequest, err.Error()}
	case errors.Is(err, ErrBadGroup):
		return &refusal{codeBadGroup, err.Error()}
	default:
		return &refusal{codeUnavailable, err.Error()}
	}
}

// badBody says what is wrong with a body for its format, or "".
func badBody(m *Message) string {
	switch m.Format {
	case FormatJSON:
		if !json.Valid(m.Data) {
			return "the body is not JSON; set header Gc-Format to text, binary or msgpack if it should not be"
		}
	case FormatText:
		if !utf8.Valid(m.Data) {
			return "the body is not UTF-8; set header Gc-Format to binary if it should not be"
		}
	case FormatMsgpack:
		if !validMsgpack(m.Data) {
			return "the body is not one MessagePack value"
		}
	}
	return ""
}

var answerOK = []byte(`{"ok":true}`)

// answer replies to a request; the reply subject has been checked.
func (b *Broker) answer(f *frame, no *refusal) {
	if len(f.reply) == 0 {
		return
	}
	body := answerOK
	if no != nil {
		body, _ = json.Marshal(struct {
			OK      bool   `json:"ok"`
			Code    string `json:"code"`
			Message string `json:"message"`
		}{false, no.code, strings.ToValidUTF8(no.message, "?")})
	}
	b.control.append(func(buf []byte) []byte { return appendPub(buf, f.reply, nil, body) })
}
