package server

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker/subject"
	"github.com/gatecast/gatecast/server/admin"
	"github.com/gatecast/gatecast/server/hub"
	"github.com/gatecast/gatecast/server/wire"
)

// Explained is what one login may do with a group, and why.
type Explained struct {
	User     string   `json:"user"`
	Kind     string   `json:"kind"`
	Verifier string   `json:"verifier,omitempty"`
	Carrier  string   `json:"carrier,omitempty"`
	Node     string   `json:"node,omitempty"`
	Conns    []string `json:"conns,omitempty"`  // that have this login on the node; of a native NATS client there is none
	Member   []string `json:"member,omitempty"` // how conns of it came into the group, if they are in it
	authn.Why
	Routes []string `json:"routes,omitempty"` // paths that have to do with the group
	Error  string   `json:"error,omitempty"`  // why the rest cannot be told of this login; then nothing is allowed
}

// Explain implements admin.Inspector: for logins that are open anywhere in the cluster, or for a credential.
func (n *Node) Explain(ctx context.Context, q *admin.Explain) (any, error) {
	if err := subject.CheckName(q.Group); err != nil {
		return nil, &admin.Error{Code: wire.CodeBadGroup, Message: err.Error()}
	}
	if q.Cookie != "" || q.Token != "" {
		return n.explainCredential(ctx, q)
	}
	logins := []Explained{}
	if err := gather(ctx, n, "explain", control{Conn: q.Conn, User: q.User, Group: q.Group}, func(rows []Explained) { logins = append(logins, rows...) }); err != nil {
		return nil, err
	}
	if len(logins) == 0 {
		return nil, &admin.Error{Code: admin.CodeNotFound, Message: "no such conn is open, and no conn of such a user; a login that is not open is explained by its cookie or token"}
	}
	return map[string]any{"logins": logins}, nil
}

// explainCredential verifies a cookie or token past the cache; a ticket is not used up.
func (n *Node) explainCredential(ctx context.Context, q *admin.Explain) (any, error) {
	var steps []authn.Step
	if q.Token != "" {
		steps = n.chain.ExplainToken(ctx, q.Token)
	} else {
		steps = n.chain.Explain(ctx, &authn.Request{Cookie: q.Cookie, Path: n.opts.Path})
	}
	last := steps[len(steps)-1]
	switch {
	case last.Outcome == authn.OutcomeUnavailable:
		return nil, &admin.Error{Code: wire.CodeUnavailable, Message: "the login cannot be verified now: " + last.Detail}
	case last.Identity == nil:
		reason := last.Reason
		if reason == "" {
			reason = string(last.Outcome)
		}
		detail := last.Detail
		if last.Carrier == "" && last.Outcome == authn.OutcomeNoLogin { // the chain waits for a message, which will not come
			detail = "nothing in it is a credential that a verifier of authn.chain knows; is the cookie's name right?"
		}
		return map[string]any{"logins": []Explained{}, "refused": map[string]string{"reason": reason, "detail": detail}}, nil
	}
	one := n.explain(last.Identity, q.Group, uuid.Nil)
	if one.Error != "" {
		return nil, &admin.Error{Code: wire.CodeUnavailable, Message: one.Error}
	}
	return map[string]any{"logins": []Explained{one}}, nil
}

func (n *Node) explain(id *authn.Identity, group string, conn uuid.UUID) Explained {
	one := Explained{User: id.ID, Kind: id.Kind, Verifier: id.Verifier, Carrier: string(id.Carrier)}
	why, err := n.chain.Why(id, group, conn.String())
	if err != nil { // of this login alone: others have their rows
		nothing := authn.Verdict{Reasons: []authn.Reason{}}
		one.Why, one.Error = authn.Why{Group: group, Subscribe: nothing, Publish: nothing, Join: nothing}, err.Error()
		return one
	}
	one.Why, one.Routes = *why, routesOf(n.routes, id, group)
	return one
}

// localExplain is this node's part of Explain: one answer for each login, by its first conn.
func (n *Node) localExplain(c *control) []Explained {
	type open struct {
		login held
		conn  uuid.UUID
		ids   []string
		how   []string
	}
	parts := make([]map[loginKey]*open, len(n.owners))
	ok := n.onLoops(func(o *owner) {
		found := make(map[loginKey]*open)
		for _, slot := range o.matching(c) {
			conn := o.conns.at(slot)
			key := o.logins.key(conn.login)
			one := found[key]
			if one == nil {
				one = &open{login: o.logins.hold(conn.login), conn: conn.id}
				found[key] = one
			}
			if len(one.ids) < maxListed {
				one.ids = append(one.ids, conn.id.String())
			}
			if how, member := o.hub.Has([]byte(c.Group), slot); member {
				one.how = appendNew(one.how, howText[how])
			}
		}
		parts[o.loop.Index()] = found
	})
	if !ok {
		return nil
	}
	all := make(map[loginKey]*open)
	for _, part := range parts {
		for key, one := range part {
			if before := all[key]; before != nil {
				before.ids = append(before.ids, one.ids...)
				before.how = appendNew(before.how, one.how...)
				continue
			}
			all[key] = one
		}
	}
	var rows []Explained
	for _, one := range all {
		row := n.explain(one.login.id, c.Group, one.conn)
		row.Node, row.Conns, row.Member = n.broker.Name(), one.ids, one.how
		rows = append(rows, row)
	}
	if c.User == "" {
		return rows
	}
	for _, h := range n.nativeLogins(func(id *authn.Identity) bool { return id.ID == c.User }) {
		row := n.explain(h.id, c.Group, uuid.Nil)
		row.Node = n.broker.Name()
		rows = append(rows, row)
	}
	return rows
}

// howText says who put a conn into a group.
var howText = map[hub.How]string{
	hub.ByClient:  "its own group_add",
	hub.ByRule:    "join of [[grants]], or the own group",
	hub.ByBackend: "the backend's group_add, which needs no grant",
}

func appendNew(list []string, texts ...string) []string {
	for _, text := range texts {
		known := false
		for _, have := range list {
			known = known || have == text
		}
		if !known {
			list = append(list, text)
		}
	}
	return list
}

// RoutesOf tells what the entries of [[routes]] have to do with a group for an identity. They are to be valid.
func RoutesOf(routes []Route, id *authn.Identity, group string) []string {
	var compiled []*route
	for _, r := range routes {
		if c, err := compileRoute(r); err == nil {
			compiled = append(compiled, c)
		}
	}
	return routesOf(compiled, id, group)
}

func routesOf(routes []*route, id *authn.Identity, group string) (texts []string) {
	for i, r := range routes {
		path := strings.Join(r.segments, "/")
		for _, t := range r.groups {
			if r.reaches(t, id, group) {
				texts = append(texts, fmt.Sprintf("[[routes]] %d, %s: groups %q puts its sockets into it, if they may hear it", i+1, path, t))
			}
		}
		if r.publish != "" && r.reaches(r.publish, id, group) {
			texts = append(texts, fmt.Sprintf("[[routes]] %d, %s: publish %q sends there what its sockets say, if they may speak to it", i+1, path, r.publish))
		}
	}
	return texts
}

// reaches tells whether a template of the route can name the group, with some parameters in the path.
func (r *route) reaches(template string, id *authn.Identity, group string) bool {
	var b strings.Builder
	rest := template
	for {
		before, after, found := strings.Cut(rest, "{")
		b.WriteString(regexp.QuoteMeta(before))
		if !found {
			break
		}
		name, behind, _ := strings.Cut(after, "}")
		switch name {
		case "id":
			b.WriteString(regexp.QuoteMeta(subject.Quote(id.ID)))
		case "kind":
			b.WriteString(regexp.QuoteMeta(subject.Quote(id.Kind)))
		default:
			b.WriteString(".+")
		}
		rest = behind
	}
	ok, err := regexp.MatchString(`\A`+b.String()+`\z`, group)
	return ok && err == nil
}
