package broker_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatecast/gatecast/broker/brokertest"
	"github.com/nats-io/nats.go"
)

// Services' requests ask other nodes in turn: a node full of requests must still answer questions, and more questions than it
// answers at once wait a little.
func TestManyRequestsDoNotStarveQuestions(t *testing.T) {
	const slots, questions = 256, 300
	busy := brokertest.NewRecorder()
	var serving, answering atomic.Int64
	release, answer := make(chan struct{}), make(chan struct{})
	busy.OnServe = func(context.Context, string, []byte) []byte {
		serving.Add(1)
		<-release
		return []byte("done")
	}
	busy.OnAsk = func(context.Context, string, []byte) ([]byte, error) {
		if answering.Add(1) == slots {
			close(answer)
		}
		<-answer
		return []byte("answer"), nil
	}
	first := brokertest.Open(t, brokertest.ClusterOptions(0), busy)
	second := brokertest.Open(t, brokertest.ClusterOptions(1, "nats://"+first.ClusterAddr()), brokertest.NewRecorder())
	brokertest.WaitCluster(t, first, second)
	nc := dialService(t, first.ClientURL())
	brokertest.Eventually(t, "full of requests", func() bool {
		for range slots - serving.Load() {
			nc.PublishRequest("gc.ctl.disconnect", nats.NewInbox(), nil) // some go to the other node
		}
		return serving.Load() == slots
	})
	var work sync.WaitGroup
	for range questions {
		work.Go(func() {
			answers, err := second.AskAll(context.Background(), "x", nil)
			if err != nil {
				t.Error(err)
			}
			for _, a := range answers {
				if a.Err != nil {
					t.Errorf("%s: %v", a.Node, a.Err)
				}
			}
		})
	}
	work.Wait()
	close(release)
}
