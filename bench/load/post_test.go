//go:build linux

package load

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/plan"
)

// postCodec posts payloads to a path.
type postCodec struct {
	codec.Codec
	addr netip.AddrPort
}

func (c postCodec) PostAddr() netip.AddrPort { return c.addr }

func (c postCodec) Post(dst []byte, group uint32, payload []byte) []byte {
	return fmt.Appendf(dst, "POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", group, len(payload), payload)
}

// posted is a server that keeps the stamps it is sent, answers as told, and a publisher for it.
func posted(t *testing.T, answer func(n int, w http.ResponseWriter)) (*Publisher, func() []ledger.Stamp) {
	t.Helper()
	var mu sync.Mutex
	var stamps []ledger.Stamp
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s, _, ok := ledger.Find(body)
		if err != nil || !ok || r.URL.Path != fmt.Sprintf("/%d", s.Group) {
			t.Errorf("%s: %q, %v", r.URL.Path, body, err)
		}
		mu.Lock()
		stamps = append(stamps, s)
		n := len(stamps)
		mu.Unlock()
		answer(n, w)
	}))
	t.Cleanup(server.Close)
	p, err := Open(t.Context(), Options{
		Codec: postCodec{addr: netip.MustParseAddrPort(server.Listener.Addr().String())}, HTTP: true,
		Plan: plan.Plan{Conns: 2, Groups: 2, PerConn: 1}, Run: 3, Size: 80,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, func() []ledger.Stamp {
		mu.Lock()
		defer mu.Unlock()
		return stamps
	}
}

func fine() error { return nil }

func TestPublishByHTTP(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(n int, w http.ResponseWriter)
	}{
		{"answers with a length", func(_ int, w http.ResponseWriter) { _, _ = io.WriteString(w, `{"ok":true}`) }},
		{"answers in chunks", func(_ int, w http.ResponseWriter) {
			_, _ = io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "b")
		}},
		{"answers with nothing", func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }},
		{"closes every seventh time", func(n int, w http.ResponseWriter) {
			if n%7 == 0 {
				w.Header().Set("Connection", "close")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const count = 100
			p, stamps := posted(t, tt.answer)
			if err := p.Open(t.Context(), Schedule{Start: ledger.Now(), Rate: 5000}, count, fine); err != nil {
				t.Fatal(err)
			}
			got := stamps()
			if len(got) != count || p.Sent()[0] != count/2 || p.Sent()[1] != count/2 {
				t.Fatalf("%d publications of %d, sent %v", len(got), count, p.Sent())
			}
			for k, s := range got {
				if s.Group != uint32(k%2) || s.Seq != uint32(k/2) || s.Run != 3 {
					t.Fatalf("publication %d is %+v", k, s)
				}
			}
		})
	}
}

func TestPublishByHTTPInAWindow(t *testing.T) {
	p, stamps := posted(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) })
	if err := p.Window(t.Context(), 4, 200*time.Millisecond, func() int { return len(stamps()) }, fine); err != nil {
		t.Fatal(err)
	}
	if n := len(stamps()); n < 8 || n != int(p.Sent()[0]+p.Sent()[1]) {
		t.Errorf("%d publications arrived of %v", n, p.Sent())
	}
}

func TestRefusedPublicationIsNamed(t *testing.T) {
	p, _ := posted(t, func(n int, w http.ResponseWriter) {
		if n == 5 {
			http.Error(w, "no such key", http.StatusForbidden)
		}
	})
	err := p.Open(t.Context(), Schedule{Start: ledger.Now(), Rate: 1000}, 20, fine)
	if err == nil || !strings.Contains(err.Error(), "403: no such key") {
		t.Errorf("error = %v, want the status and the body", err)
	}
}

func TestTargetWithoutHTTPIsRefused(t *testing.T) {
	c, err := codec.Open(codec.Spec{Codec: "raw"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Codec: c, HTTP: true, Plan: plan.Plan{Conns: 1, Groups: 1, PerConn: 1}, Size: 80}); err == nil {
		t.Error("no error")
	}
}
