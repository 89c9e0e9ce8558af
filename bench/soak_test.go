//go:build linux

package bench

import (
	"net"
	"strings"
	"testing"
)

func TestSoakEndsWhenNobodyCanCome(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	o := quick()
	o.Churn = 10
	p, err := (&site{o: o, in: elsewhere{addr}}).openPassers()
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	stop := p.start(t.Context(), func(err error) { told <- err })
	if err := <-told; !strings.Contains(err.Error(), "come and go") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("told %v, want who could not connect, and why", err)
	}
	if err := stop(); err == nil {
		t.Error("stop gives no error")
	}
}
