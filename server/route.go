package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/subject"
	"github.com/gatecast/gatecast/server/ws"
)

// route is a compiled [[routes]] entry: a path that raw conns connect to.
type route struct {
	segments []string // of the path; "{name}" stands for any one segment
	params   []string // names, in the order of the path
	groups   []string // templates
	publish  string   // template; "" = members may not send
	data     bool     // deliver = "data"
}

// compileRoute checks a route and its templates.
func compileRoute(r Route) (*route, error) {
	c := &route{groups: r.Groups, publish: r.Publish}
	if !strings.HasPrefix(r.Path, "/") {
		return nil, fmt.Errorf(`path %q must begin with "/", such as "/ws/chat/{room}/"`, r.Path)
	}
	c.segments = strings.Split(r.Path, "/")
	known := map[string]bool{"id": true, "kind": true, "conn": true}
	for _, s := range c.segments {
		name, isParam, err := paramName(s)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", r.Path, err)
		}
		if isParam {
			if known[name] {
				return nil, fmt.Errorf("path %q: {%s} is taken; choose another name", r.Path, name)
			}
			known[name] = true
			c.params = append(c.params, name)
		}
	}
	templates := r.Groups
	if r.Publish != "" {
		templates = append(templates[:len(templates):len(templates)], r.Publish)
	}
	if len(templates) == 0 {
		return nil, fmt.Errorf("path %q: set groups, publish, or both", r.Path)
	}
	for _, t := range templates {
		name, err := expand(t, func(v string) (string, error) {
			if !known[v] {
				return "", fmt.Errorf("{%s} is neither in the path nor one of {id}, {kind}, {conn}", v)
			}
			return "x", nil
		})
		if err == nil {
			err = subject.CheckName(name)
		}
		if err != nil {
			return nil, fmt.Errorf("path %q: group %q: %w", r.Path, t, err)
		}
	}
	switch r.Deliver {
	case "", "data":
		c.data = true
	case "envelope":
	default:
		return nil, fmt.Errorf(`path %q: deliver = %q is unknown; use "data" or "envelope"`, r.Path, r.Deliver)
	}
	return c, nil
}

func paramName(segment string) (name string, ok bool, err error) {
	if !strings.ContainsAny(segment, "{}") {
		return "", false, nil
	}
	name = strings.TrimSuffix(strings.TrimPrefix(segment, "{"), "}")
	if len(name) != len(segment)-2 || name == "" || strings.ContainsAny(name, "{}") {
		return "", false, fmt.Errorf("a parameter is a whole segment, such as {room}, not %q", segment)
	}
	return name, true, nil
}

// expand replaces each {name} of a template.
func expand(template string, value func(name string) (string, error)) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", errors.New("a { is not closed")
		}
		v, err := value(name)
		if err != nil {
			return "", err
		}
		b.WriteString(v)
		template = after
	}
}

// match tells whether a request's path is the route's, with its parameters.
func (r *route) match(path string) (params []string, ok bool) {
	for i, want := range r.segments {
		got, rest, more := strings.Cut(path, "/")
		if last := i == len(r.segments)-1; more == last {
			return nil, false
		}
		if strings.HasPrefix(want, "{") {
			value, valid := ws.Unescape(got)
			if !valid || value == "" {
				return nil, false
			}
			params = append(params, value)
		} else if got != want {
			return nil, false
		}
		path = rest
	}
	return params, true
}

// route finds what a path leads to: 0 the native protocol, i+1 a raw route, -1 nothing.
func (n *Node) route(path string) (index int, params []string) {
	if path == n.opts.Path {
		return 0, nil
	}
	for i, r := range n.routes {
		if params, ok := r.match(path); ok {
			return i + 1, params
		}
	}
	return -1, nil
}

// fill puts the path's parameters and the identity into a template. Parameters go in as they are, for the name
// that comes out is checked against the grants; what comes from the identity is quoted.
func (r *route) fill(template string, params []string, id *authn.Identity, conn uuid.UUID) (string, error) {
	name, err := expand(template, func(v string) (string, error) {
		switch v {
		case "id":
			if id.ID == "" {
				return "", errors.New("an anonymous conn has no {id}")
			}
			return subject.Quote(id.ID), nil
		case "kind":
			return subject.Quote(id.Kind), nil
		case "conn":
			return conn.String(), nil
		}
		for i, p := range r.params {
			if p == v {
				return params[i], nil
			}
		}
		return "", errors.New("no such parameter")
	})
	if err != nil {
		return "", err
	}
	return name, subject.CheckName(name)
}

// groupsFor returns the groups a conn of the route is in, and the one its messages go to.
func (r *route) groupsFor(params []string, id *authn.Identity, conn uuid.UUID) (groups []string, publish string, err error) {
	for _, t := range r.groups {
		name, err := r.fill(t, params, id, conn)
		if err != nil {
			return nil, "", err
		}
		groups = append(groups, name)
	}
	if r.publish != "" {
		publish, err = r.fill(r.publish, params, id, conn)
	}
	return groups, publish, err
}

// rawSend publishes what a raw conn sent to the group of its route.
func (o *owner) rawSend(slot uint32, c *conn, ev ws.Event) {
	if !o.ratedBytes(c, len(ev.Payload)) || !o.ratedMessage(c) {
		o.refused(slot, nil, errRate)
		o.limited(slot, c)
		return
	}
	group := o.rawGroups[slot]
	if group == "" {
		o.end(slot, ending{code: closeForbidden, reason: "this route takes no messages", word: "route_receives_only"})
		return
	}
	if grants := o.grants(c); !grants.CanPublish([]byte(group)) {
		o.end(slot, ending{code: closeForbidden, reason: errMayNotSend.text, word: "forbidden"})
		return
	}
	m := &o.msg
	*m = broker.Message{Group: append(o.name[:0], group...), Data: ev.Payload, Format: broker.FormatBinary}
	o.name = m.Group
	if ev.Op == ws.OpText {
		m.Format = broker.FormatText
	}
	if err := o.publish(slot, c, m, o.node.rule(m.Group).echo); err != nil {
		if errors.Is(err, broker.ErrTooLarge) {
			o.breach(slot, c, ending{code: closeTooLarge, reason: "the message is larger than the broker carries", word: "too_large"})
			return
		}
		o.refused(slot, m.Group, refuseOp(err))
		o.end(slot, ending{code: closeOverloaded, reason: "the message cannot be sent now; reconnect and retry", word: "publish_failed",
			retryMin: retryMinMS, retryMax: retryMaxMS})
	}
}

// rawData is a message as a raw route with deliver = "data" gets it: json and text as text, binary and msgpack
// as binary. A message that was made for a Channels consumer, {"type":"websocket.send","text":…}, is its text.
func rawData(m *broker.Message) (ws.Op, []byte) {
	switch m.Format {
	case broker.FormatText:
		return ws.OpText, m.Data
	case broker.FormatJSON:
		if text, ok := channelsText(m.Data); ok {
			return ws.OpText, text
		}
		return ws.OpText, m.Data
	}
	return ws.OpBinary, m.Data
}

// channelsText is the text of a message made for a Channels consumer's send handler.
func channelsText(data []byte) ([]byte, bool) {
	if !bytes.Contains(data, []byte(`"websocket.send"`)) {
		return nil, false
	}
	var m struct {
		Type string
		Text *string
	}
	if json.Unmarshal(data, &m) != nil || m.Type != "websocket.send" || m.Text == nil {
		return nil, false
	}
	return []byte(*m.Text), true
}
