// Command centrifuge is a small server on the Go library Centrifuge, for gatecast bench to compare ours with: anonymous clients
// that may subscribe and publish to any channel, a memory broker, no history, no presence. It prints the address it listens on.
//
//	/connection/websocket  Centrifuge's JSON protocol
//	/api/publish           POST {"channel":…,"data":…}, as Centrifugo has it
//	/metrics               Prometheus
//
// A module of its own, so that what it needs is not what Gatecast needs.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	queueBytes    = 64 << 20 // what may wait for a client; the library's 1 MiB would cut a burst short
	channelLimit  = 1 << 16  // channels of a client; the library's 128 would cut the scenario groups short
	bodyBytes     = 2 << 20  // of a publication by HTTP
	shutdownAfter = 5 * time.Second
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	version := flag.Bool("version", false, "print the library's version and end")
	flag.Parse()
	if *version {
		fmt.Println("centrifuge", libraryVersion())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "centrifuge:", err)
		os.Exit(1)
	}
}

// libraryVersion is that of the library this was built with.
func libraryVersion() string {
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, m := range info.Deps {
			if m.Path == "github.com/centrifugal/centrifuge" {
				return m.Version
			}
		}
	}
	return "of unknown version"
}

func serve(ctx context.Context, listen string) error {
	node, err := centrifuge.New(centrifuge.Config{
		LogLevel: centrifuge.LogLevelError,
		LogHandler: func(e centrifuge.LogEntry) {
			fmt.Fprintln(os.Stderr, e.Message, e.Fields)
		},
		ClientQueueMaxSize: queueBytes,
		ClientChannelLimit: channelLimit,
	})
	if err != nil {
		return err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, reply centrifuge.SubscribeCallback) {
			reply(centrifuge.SubscribeReply{}, nil)
		})
		client.OnPublish(func(_ centrifuge.PublishEvent, reply centrifuge.PublishCallback) {
			reply(centrifuge.PublishReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}))
	mux.Handle("GET /metrics", promhttp.Handler())
	mux.HandleFunc("POST /api/publish", func(w http.ResponseWriter, r *http.Request) { publish(node, w, r) })
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }() // ends with Close
	fmt.Println(ln.Addr())
	select {
	case err = <-ended:
	case <-ctx.Done():
		stopping, cancel := context.WithTimeout(context.Background(), shutdownAfter)
		defer cancel()
		err = errors.Join(node.Shutdown(stopping), server.Close())
		<-ended
	}
	return err
}

func publish(node *centrifuge.Node, w http.ResponseWriter, r *http.Request) {
	var req struct {
		Channel string          `json:"channel"`
		Data    json.RawMessage `json:"data"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytes))
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if err != nil || req.Channel == "" || len(req.Data) == 0 {
		http.Error(w, `want {"channel": a name, "data": any JSON}`, http.StatusBadRequest)
		return
	}
	if _, err := node.Publish(req.Channel, req.Data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"result":{}}`)
}
