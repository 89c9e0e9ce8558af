//go:build linux

package proc

import (
	"net"
	"os"
	"testing"
)

func TestParseSlab(t *testing.T) {
	const in = `slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables
TCP                   10     48   2368   13    8 : tunables    0    0    0 : slabdata      1      1      0
kmalloc-256         9999  10000    256   16    1 : tunables    0    0    0 : slabdata      1      1      0
filp                   2     32    192   21    1 : tunables    0    0    0 : slabdata      1      1      0
`
	if got, err := parseSlab([]byte(in)); got != 10*2368+2*192 || err != nil {
		t.Errorf("parseSlab = %d, %v, want %d", got, err, 10*2368+2*192)
	}
	for _, bad := range []string{"", "slabinfo - version: 2.1\n", "TCP x 48 2368\n", "TCP 1 48 x\n"} {
		if _, err := parseSlab([]byte(bad)); err == nil {
			t.Errorf("parseSlab(%q) gives no error", bad)
		}
	}
}

func TestParseSockstat(t *testing.T) {
	const in = "sockets: used 13\nTCP: inuse 1 orphan 0 tw 16 alloc 1 mem 17\nUDP: inuse 0 mem 256\n"
	if got, err := parseSockstat([]byte(in)); got != 17 || err != nil {
		t.Errorf("parseSockstat = %d, %v, want 17", got, err)
	}
	for _, bad := range []string{"", "UDP: inuse 0 mem 256\n", "TCP: inuse 1\n", "TCP: mem x\n"} {
		if _, err := parseSockstat([]byte(bad)); err == nil {
			t.Errorf("parseSockstat(%q) gives no error", bad)
		}
	}
}

func TestReadSocketsSeesConnections(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may read /proc/slabinfo")
	}
	before, err := ReadSockets()
	if err != nil {
		t.Skip(err) // a container may hide it
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const conns = 500
	for range conns {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
	}
	after, err := ReadSockets()
	if err != nil {
		t.Fatal(err)
	}
	// Other programs of the machine may close some meanwhile.
	if grown := after.Slab - before.Slab; grown < conns*1000 {
		t.Errorf("%d connections took %d bytes, want more than 1,000 each", conns, grown)
	}
}
