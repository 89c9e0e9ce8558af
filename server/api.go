package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/subject"
	"github.com/gatecast/gatecast/server/admin"
	"github.com/gatecast/gatecast/server/wire"
)

// What the admin listener asks of a node; see admin.Node. Control verbs are in control.go.

// GroupSend publishes a backend's message to every group of m, or refuses all of them.
func (n *Node) GroupSend(ctx context.Context, m *admin.GroupSend) (seq uint64, err error) {
	format, ok := broker.ParseFormat(m.Format)
	if !ok {
		return 0, &admin.Error{Code: wire.CodeBadRequest, Message: `format must be "json", "text", "binary" or "msgpack"`}
	}
	for _, g := range m.Groups {
		if err := subject.CheckName(g); err != nil {
			return 0, &admin.Error{Code: wire.CodeBadGroup, Message: err.Error()}
		}
	}
	msg := broker.Message{Data: m.Data, Format: format, ID: []byte(m.MsgID), Exclude: []byte(strings.Join(m.Exclude, ","))}
	for _, g := range m.Groups {
		msg.Group = []byte(g)
		if err := n.broker.Publish(&msg); err != nil {
			e := refuseOp(err)
			return 0, &admin.Error{Code: e.code, Message: e.text}
		}
		n.counters.published.Add(1)
	}
	return 0, nil
}

// GroupInfo is one group and how many conns are in it.
type GroupInfo struct {
	Group   string `json:"group"`
	Members int    `json:"members"`
}

// ConnInfo is one conn as operators see it.
type ConnInfo struct {
	Conn   string    `json:"conn"`
	User   string    `json:"user"`
	Kind   string    `json:"kind"`
	Node   string    `json:"node"`
	Addr   string    `json:"addr"`
	State  string    `json:"state"`
	Since  time.Time `json:"since"`
	Groups []string  `json:"groups"`
}

// maxListed bounds the rows that one node answers a list with.
const maxListed = 1000

// Groups lists the groups of the cluster with their members, the largest first.
func (n *Node) Groups(ctx context.Context) (any, error) {
	members := make(map[string]int)
	err := gather(ctx, n, "groups", control{}, func(rows []GroupInfo) {
		for _, r := range rows {
			members[r.Group] += r.Members
		}
	})
	if err != nil {
		return nil, err
	}
	return sortGroups(members), nil
}

// Connections lists the conns of a user, or of all, over the cluster: 1,000 a node at most.
func (n *Node) Connections(ctx context.Context, user string) (any, error) {
	all := []ConnInfo{}
	err := gather(ctx, n, "connections", control{User: user}, func(rows []ConnInfo) { all = append(all, rows...) })
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b ConnInfo) int { return a.Since.Compare(b.Since) })
	return all, nil
}

// gather asks every node for rows.
func gather[T any](ctx context.Context, n *Node, verb string, c control, take func([]T)) error {
	body, _ := json.Marshal(c)
	answers, err := n.broker.AskAll(ctx, verb, body)
	if err != nil {
		e := refuseOp(err)
		return &admin.Error{Code: e.code, Message: e.text}
	}
	for _, a := range answers {
		var rows []T
		if err := cmp.Or(a.Err, json.Unmarshal(a.Body, &rows)); err != nil {
			return notTold(a.Node, err)
		}
		take(rows)
	}
	return nil
}

// notTold is the error for a node that gave no rows.
func notTold(node string, err error) *admin.Error {
	if errors.Is(err, broker.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
		return &admin.Error{Code: wire.CodeTimeout, Message: "node " + node + " did not answer in time"}
	}
	return &admin.Error{Code: wire.CodeUnavailable, Message: "node " + node + " cannot tell: " + err.Error()}
}

// Nodes lists the live nodes.
func (n *Node) Nodes(context.Context) (any, error) { return n.broker.Nodes(), nil }

// Info describes this node.
func (n *Node) Info(context.Context) (any, error) {
	var link string
	if reason := n.link.Load(); reason != nil {
		link = *reason
	}
	groups, memberships := n.sizes()
	return map[string]any{
		"node": n.broker.Name(), "version": n.version, "go": runtime.Version(), "started": n.started,
		"uptime_seconds": int(time.Since(n.started).Seconds()), "conns": n.conns.Load(), "groups": groups,
		"memberships": memberships, "mode": n.opts.Mode, "loops": len(n.owners), "listen": n.Addr().String(),
		"broker": n.broker.ClientURL(), "broker_down": link,
	}, nil
}

// localGroups is this node's part of Groups.
func (n *Node) localGroups() []GroupInfo {
	members := make(map[string]int)
	parts := make([]map[string]int, len(n.owners))
	ok := n.onLoops(func(o *owner) {
		m := make(map[string]int)
		for name, count := range o.hub.Groups() {
			m[string(name)] = count
		}
		parts[o.loop.Index()] = m
	})
	if !ok {
		return nil
	}
	for _, m := range parts {
		for name, count := range m {
			members[name] += count
		}
	}
	return sortGroups(members)
}

func sortGroups(members map[string]int) []GroupInfo {
	rows := make([]GroupInfo, 0, len(members))
	for name, count := range members {
		rows = append(rows, GroupInfo{name, count})
	}
	slices.SortFunc(rows, func(a, b GroupInfo) int {
		return cmp.Or(cmp.Compare(b.Members, a.Members), cmp.Compare(a.Group, b.Group))
	})
	return rows[:min(len(rows), maxListed)]
}

// localConnections is this node's part of Connections.
func (n *Node) localConnections(user string) []ConnInfo {
	parts := make([][]ConnInfo, len(n.owners))
	ok := n.onLoops(func(o *owner) {
		var rows []ConnInfo
		for slot, c := range o.loggedIn() {
			if user != "" && string(o.logins.user(c.login)) != user {
				continue
			}
			if len(rows) >= maxListed {
				break
			}
			row := ConnInfo{
				Conn: c.id.String(), User: o.user(slot), Kind: o.logins.identity(c.login).Kind, Node: n.broker.Name(), Addr: c.address().String(),
				State: c.state.String(), Since: n.started.Add(time.Duration(c.opened) * time.Second).Truncate(time.Second),
				Groups: []string{},
			}
			for name := range o.hub.GroupsOf(slot) {
				row.Groups = append(row.Groups, string(name))
			}
			rows = append(rows, row)
		}
		parts[o.loop.Index()] = rows
	})
	if !ok {
		return nil
	}
	rows := slices.Concat(parts...)
	if rows == nil {
		rows = []ConnInfo{}
	}
	return rows[:min(len(rows), maxListed)]
}

// sizes returns the groups and memberships of this node. A group with members on two loops counts twice.
func (n *Node) sizes() (groups, memberships int) {
	parts := make([][2]int, len(n.owners))
	ok := n.onLoops(func(o *owner) {
		g, m := o.hub.Len()
		parts[o.loop.Index()] = [2]int{g, m}
	})
	if !ok {
		return 0, 0
	}
	for _, p := range parts {
		groups, memberships = groups+p[0], memberships+p[1]
	}
	return groups, memberships
}

var _ admin.Node = (*Node)(nil)
var _ broker.Handler = (*Node)(nil)
