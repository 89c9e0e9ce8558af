package broker_test

import (
	"testing"

	"github.com/gatecast/gatecast/broker/brokertest"
	"github.com/nats-io/nats.go"
)

// dialService connects like a backend.
func dialService(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.Token(brokertest.ServiceToken), nats.NoReconnect())
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// requester sends requests to each node's ingress.
func requester(t *testing.T, nodes []*brokertest.Node) func(testing.TB, int, string, []byte, map[string]string) []byte {
	var conns []*nats.Conn
	for _, n := range nodes {
		conns = append(conns, dialService(t, n.ClientURL()))
	}
	return func(t testing.TB, node int, subject string, data []byte, headers map[string]string) []byte {
		t.Helper()
		m := nats.NewMsg(subject)
		m.Data = data
		for k, v := range headers {
			if v != "" {
				m.Header.Set(k, v)
			}
		}
		answer, err := conns[node].RequestMsg(m, brokertest.Within)
		if err != nil {
			t.Fatalf("request %s: %v", subject, err)
		}
		return answer.Data
	}
}

func TestSuiteEmbedded(t *testing.T) {
	nodes := []*brokertest.Node{brokertest.Start(t)}
	brokertest.Suite(t, nodes, requester(t, nodes))
}

func TestSuiteCluster(t *testing.T) {
	nodes := brokertest.StartCluster(t, 3)
	brokertest.Suite(t, nodes, requester(t, nodes))
}

func TestSuiteExternal(t *testing.T) {
	s := brokertest.StartNATS(t, 0, nil)
	nodes := brokertest.StartExternal(t, s.ClientURL(), brokertest.ServiceToken, 3)
	brokertest.Suite(t, nodes, requester(t, nodes))
}
