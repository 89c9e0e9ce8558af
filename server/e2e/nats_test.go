package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// service connects to a node's client port with the credentials of a backend.
func service(t testing.TB, n *node, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return natsConn(t, n, append([]nats.Option{nats.Token(serviceToken)}, opts...)...)
}

// spy may hear every group, as far as a service may: it proves what was not sent.
func spy(t testing.TB, n *node) *nats.Conn {
	t.Helper()
	return natsConn(t, n, nats.Token(spyToken))
}

// native connects as a user would: with a token of the authn chain, and the inbox prefix the grants allow.
func native(t testing.TB, n *node, user, token string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return natsConn(t, n, append([]nats.Option{nats.Token(token), nats.CustomInboxPrefix("_INBOX_" + user)}, opts...)...)
}

func natsConn(t testing.TB, n *node, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://"+n.nats, append([]nats.Option{
		nats.Timeout(patience), nats.MaxReconnects(0), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, opts...)...)
	if err != nil {
		t.Fatalf("NATS client at node %s: %v", n.name, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// ingress makes a request to the services' ingress and returns the decoded answer.
func ingress(t testing.TB, nc *nats.Conn, subject string, body []byte, headers ...string) map[string]any {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = body
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		m.Header.Add(k, v)
	}
	res, err := nc.RequestMsg(m, patience)
	if err != nil {
		t.Fatalf("request to %s: %v", subject, err)
	}
	var answer map[string]any
	if err := json.Unmarshal(res.Data, &answer); err != nil {
		t.Fatalf("request to %s answered %q: %v", subject, res.Data, err)
	}
	return answer
}

// subscribe hears a subject and makes sure the server has the subscription.
func subscribe(t testing.TB, nc *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	return sub
}
