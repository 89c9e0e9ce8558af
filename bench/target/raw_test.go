//go:build linux

package target

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestRawComesBackOnItsAddress(t *testing.T) {
	in, err := Raw().Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, before := in.(*rawInstance), in.Addrs()[0]
	if err := r.Kill(0); err != nil {
		t.Fatal(err)
	}
	if err := r.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if after := in.Addrs()[0]; after != before {
		t.Errorf("it came back on %v, was on %v", after, before)
	}
	if err := in.Stop(); err != nil {
		t.Error(err)
	}
}

func TestRawSaysThatItsPortIsInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := &rawInstance{addr: netip.MustParseAddrPort(ln.Addr().String())}
	if err := r.Restart(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Restart on a port in use = %v", err)
	}
}
