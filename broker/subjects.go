package broker

import (
	"fmt"
	"strings"

	"github.com/gatecast/gatecast/broker/subject"
)

// routeUser is the user name that routes log in with; the cluster token is its password.
const routeUser = "gatecast"

// verbs are what services may ask on <ns>.ctl.<verb>.
var verbs = [...]string{"disconnect", "revalidate", "group_add", "group_discard"}

const queueServe = "ctl"

// subjects holds the node's own subjects, made once. Those under ctl, but for the verbs, are heard and spoken by nodes only.
type subjects struct {
	ns         string
	live       string // <ns>.g.
	ingress    string // <ns>.in.
	userIn     string // <ns>.uin.
	users      string // <ns>.g.*.user.>
	hello      string // a node meets the others; answered
	beat       string // heartbeat, every second
	bye        string // a node leaves
	sync       string // + token of the asked: answered when all before it is
	ask        string // + token of the asked: AskAll
	relayInbox string // + what: answers to the relay link
	inbox      string // + number: answers to the control link
}

func newSubjects(ns, name, instance string) subjects {
	return subjects{
		ns: ns, live: ns + ".g.", ingress: ns + ".in.", userIn: ns + ".uin.", users: ns + ".g.*.user.>",
		hello: ns + ".ctl.hello", beat: ns + ".ctl.beat", bye: ns + ".ctl.bye", sync: ns + ".ctl.sync.", ask: ns + ".ctl.ask.",
		relayInbox: ns + ".ctl.r." + nodeToken(name) + "." + instance + ".",
		inbox:      ns + ".ctl.c." + nodeToken(name) + "." + instance + ".",
	}
}

// nodeToken is a node's name as one subject token.
func nodeToken(name string) string { return subject.Escape(subject.Quote(name)) }

// userToken is a user's id as one subject token: <id> of <ns>.uin.<id>.<group> and _INBOX_<id>.
func userToken(id string) string { return subject.Escape(subject.Quote(id)) }

const (
	serviceInbox = "_INBOX."
	userInbox    = "_INBOX_" // + userToken + "."
)

// checkServicePublish refuses what only nodes or users may publish, so that no service forges a live message, a user's or a node's.
func checkServicePublish(ns, p string) error {
	if err := checkSubject(p); err != nil {
		return err
	}
	first, rest, _ := strings.Cut(p, ".")
	if first != ns {
		if first == "*" || first == ">" || strings.HasPrefix(first, "$") || strings.HasPrefix(first, "_") {
			return fmt.Errorf("begin with your own first token or %q; wildcards, $… and _… are not for services", ns)
		}
		return nil
	}
	second, verb, _ := strings.Cut(rest, ".")
	switch second {
	case "in", "ch", "pc", "asgi":
		return nil
	case "ctl":
		for _, v := range verbs {
			if verb == v {
				return nil
			}
		}
		return fmt.Errorf("of %s.ctl services may publish %s only", ns, strings.Join(verbs[:], ", "))
	}
	return fmt.Errorf("of %s services may publish %[1]s.in.…, ch, pc, asgi and ctl.{%[2]s}", ns, strings.Join(verbs[:], ","))
}

// checkServiceSubscribe refuses what would let a service overhear nodes, the ingress or others' answers.
func checkServiceSubscribe(ns, p string) error {
	if err := checkSubject(p); err != nil {
		return err
	}
	first, rest, _ := strings.Cut(p, ".")
	if first != ns {
		if first == "*" || first == ">" || strings.HasPrefix(first, "$") || strings.HasPrefix(first, "_") {
			return fmt.Errorf("begin with your own first token or %q; wildcards, $… and _… are not for services", ns)
		}
		return nil
	}
	switch second, _, _ := strings.Cut(rest, "."); second {
	case "g", "ch", "pc", "asgi":
		return nil
	}
	return fmt.Errorf("of %s services may hear %[1]s.g.*.<group>, ch, pc and asgi", ns)
}

// checkSubject accepts what nats-server would, for it skips a wrong permission with no more than a line in its log.
func checkSubject(p string) error {
	tokens := strings.Split(p, ".")
	for i, t := range tokens {
		switch {
		case t == "":
			return fmt.Errorf("a NATS subject has no empty token")
		case t == ">" && i < len(tokens)-1:
			return fmt.Errorf("> stands at the end only")
		case len(t) > 1 && strings.ContainsAny(t, "*>"):
			return fmt.Errorf("* and > stand for whole tokens only")
		case strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r == 0x7f }):
			return fmt.Errorf("a NATS subject has no spaces or control characters")
		}
	}
	return nil
}

// appendLive writes <ns>.g.NN.<escaped>.
func (b *Broker) appendLive(dst, escaped []byte) []byte {
	dst = append(dst, b.sub.live...)
	dst = subject.AppendShard(dst, subject.Shard(escaped, b.o.Shards))
	dst = append(dst, '.')
	return append(dst, escaped...)
}

// nodeName is the inverse of nodeToken.
func nodeName(token string) (string, error) {
	quoted, err := subject.Unescape(token)
	if err != nil {
		return "", err
	}
	return subject.Unquote(quoted)
}
