package admin

import "context"

// Node is what the API acts on. All methods may be called concurrently; errors that a caller should see are an [*Error].
type Node interface {
	Inspector

	// GroupSend publishes one message to every group of m, or refuses all of them. seq is the message's number when there is one
	// group and it is durable, else 0. m and its slices stay the caller's.
	GroupSend(ctx context.Context, m *GroupSend) (seq uint64, err error)

	// Call runs a verb (see [CheckCall]) on every node of the cluster. The answer is {"ok":true,…} or
	// {"ok":false,"code":…,"message":…}, as on the subject <ns>.ctl.<verb>.
	Call(ctx context.Context, verb string, body []byte) []byte

	// Ready is nil while the node should get traffic, else the reason why not, for people.
	Ready() error

	// Drain starts to leave politely, as SIGTERM does, and returns at once.
	Drain()
}

// Inspector answers the GET routes and explain. Each list is a slice that encodes as a JSON array of flat objects; the admin page shows the
// objects' fields as columns.
type Inspector interface {
	Groups(ctx context.Context) (any, error)
	Connections(ctx context.Context, user string) (any, error) // user "" = all
	Nodes(ctx context.Context) (any, error)
	Info(ctx context.Context) (any, error) // one JSON object about this node
	Explain(ctx context.Context, q *Explain) (any, error)
}

// GroupSend is a decoded group_send.
type GroupSend struct {
	Groups  []string // at least one; names are not checked yet
	Data    []byte   // the body as it goes on a subject: JSON byte for byte, or what text, base64 stood for
	Format  string   // "json", "text", "binary" or "msgpack"
	Exclude []string // conn ids
	MsgID   string   // "" = none
}
