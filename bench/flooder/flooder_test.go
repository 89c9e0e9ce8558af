//go:build linux

package flooder

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/bench/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers each request with what its path says.
func server(t *testing.T) netip.AddrPort {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		all.Wait()
	})
	all.Go(func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { // ends with the answer
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.WriteString(conn, map[string]string{
						"/ok": "HTTP/1.1 101 Switching Protocols\r\n\r\n", "/no": "HTTP/1.1 503 Service Unavailable\r\n\r\n", "/odd": "SSH-2.0-x\r\n",
					}[r.URL.Path])
				}
			})
		}
	})
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func TestServeCountsAnswers(t *testing.T) {
	o := Order{Addr: server(t), Rate: 200, From: ledger.Now(), For: 100 * time.Millisecond}
	for _, path := range []string{"/ok", "/no", "/no", "/odd", "/silent"} {
		o.Requests = append(o.Requests, []byte("GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"))
	}
	in, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Serve(t.Context(), bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var c Counts
	if err := json.Unmarshal(out.Bytes(), &c); err != nil {
		t.Fatal(err)
	}
	if c.Due != 20 || c.Accepted != 4 || c.Refused != 8 || c.Failed != 8 || c.Error == "" || c.Took < 90*time.Millisecond {
		t.Errorf("counts %+v, want 4 of 20 accepted, 8 refused and 8 failed", c)
	}
}

func TestServeRefusesWhatIsNoOrder(t *testing.T) {
	for in, want := range map[string]string{"{": "read the order", `{"rate":1}`: "needs requests", `{"requests":["eA=="]}`: "needs requests"} {
		if err := Serve(t.Context(), strings.NewReader(in), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve(%s) = %v, want %q", in, err, want)
		}
	}
	if err := Serve(t.Context(), strings.NewReader(""), io.Discard); err != nil {
		t.Errorf("a harness that has no order: %v", err)
	}
}
