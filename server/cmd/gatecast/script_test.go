package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// leakChecked fails the tests on goroutines they leave behind.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"gatecast": main})
}

// TestScripts runs testdata/script. Beside testscript's own commands there are:
//
//	ports NAME…          sets each variable to a free port
//	taken NAME           listens on a port until the script ends and sets the variable to it
//	ready PORT           waits until the node with this admin port is ready
//	post PORT KEY PATH   calls the API and fails unless it answers 200
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ports": ports, "taken": taken, "ready": ready, "post": post,
		},
	})
}

// ports leaves each port in TIME_WAIT, from which the kernel hands it to nobody who asks for any port, but lets a server
// that asks for this one listen (SO_REUSEADDR). Merely closing the listener would let another test have it first.
func ports(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		peer, err := net.Dial("tcp", ln.Addr().String())
		ts.Check(err)
		conn, err := ln.Accept()
		ts.Check(err)
		ts.Check(conn.Close()) // the side that closes first is the one that waits
		_, _ = peer.Read(make([]byte, 1))
		ts.Check(peer.Close())
		ts.Check(ln.Close())
		ts.Setenv(name, portOf(ln))
	}
}

func taken(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	ts.Setenv(args[0], portOf(ln))
}

func portOf(ln net.Listener) string { return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port) }

var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func ready(ts *testscript.TestScript, _ bool, args []string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("not asked")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		res, err := client.Get("http://127.0.0.1:" + args[0] + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("/readyz answers %d", res.StatusCode)
		}
		last = err
	}
	ts.Fatalf("not ready: %v", last)
}

func post(ts *testscript.TestScript, neg bool, args []string) {
	req, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:"+args[0]+"/api/v1/"+args[2], nil)
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+args[1])
	res, err := client.Do(req)
	ts.Check(err)
	res.Body.Close()
	if ok := res.StatusCode == http.StatusOK; ok == neg {
		ts.Fatalf("%s answers %d", args[2], res.StatusCode)
	}
}
