package brokertest

import (
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuiteOnItsOwnNode(t *testing.T) {
	n := Start(t)
	nc, err := nats.Connect(n.ClientURL(), nats.UserInfo(ServiceName, ServiceToken), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	Suite(t, []*Node{n}, func(t testing.TB, _ int, subject string, data []byte, headers map[string]string) []byte {
		t.Helper()
		m := nats.NewMsg(subject)
		m.Data = data
		for k, v := range headers {
			if v != "" {
				m.Header.Set(k, v)
			}
		}
		answer, err := nc.RequestMsg(m, Within)
		if err != nil {
			t.Fatalf("request %s: %v", subject, err)
		}
		return answer.Data
	})
	if states := n.States(); len(states) != 0 {
		t.Errorf("the link changed: %v", states)
	}
}
