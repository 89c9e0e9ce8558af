//go:build linux && !race

package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/server/loop"
)

// forgetful is a broker that keeps nothing of the groups that are joined, so that the node's own memory is what is measured.
type forgetful struct{ *loopback }

func (forgetful) Join(_ string, ready func(error)) { ready(nil) }
func (forgetful) Leave(string)                     {}

// namedVerifier makes an identity of the cookie who.
type namedVerifier func(who string) *authn.Identity

func (v namedVerifier) CookieName() string { return "who" }

func (v namedVerifier) Verify(_ context.Context, c authn.Credential) (*authn.Identity, error) {
	who, ok := c.Cookie("who")
	if !ok {
		return nil, authn.ErrNotMine
	}
	return v(who), nil
}

// idleConns opens conns that are descriptors and nothing else, so that the client's half does not count: each logged in as who says, and in two
// groups beside its own, one of 100 and one of all.
func idleConns(t *testing.T, n *Node, from, to int, who func(i int) string) {
	t.Helper()
	addr := n.Addr().(*net.TCPAddr)
	to4 := syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}
	buf, fds := make([]byte, 0, 4096), make([]int, 0, to-from)
	t.Cleanup(func() {
		for _, fd := range fds {
			syscall.Close(fd)
		}
	})
	for i := from; i < to; i++ {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
		timeout := syscall.NsecToTimeval(patience.Nanoseconds())
		if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &timeout); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Connect(fd, &to4); err != nil {
			t.Fatal(err)
		}
		exchange := func(request, answer string) {
			if _, err := syscall.Write(fd, []byte(request)); err != nil {
				t.Fatal(err)
			}
			for buf = buf[:0]; !bytes.Contains(buf, []byte(answer)); {
				k, err := syscall.Read(fd, buf[len(buf):cap(buf)])
				if err != nil || k == 0 {
					t.Fatalf("conn %d: %v after %q", i, err, buf)
				}
				buf = buf[:len(buf)+k]
			}
		}
		exchange("GET /ws HTTP/1.1\r\nHost: gatecast\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+who(i)+"\r\n", `"op":"welcome"`)
		op := fmt.Appendf(make([]byte, 6), `{"op":"group_add","id":1,"groups":["chat.all","chat.room.%d"]}`, i/100)
		op[0], op[1] = 0x81, 0x80|byte(len(op)-6) // a whole text frame, masked with zeros
		exchange(string(op), `"op":"ok"`)
	}
}

// rest returns what lives after a collection.
func rest() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC() // sweeps what finalizers and cleanups of the first one let go
	runtime.ReadMemStats(&m)
	return m
}

// TestAnIdleConnIsSmall bounds what a conn in three groups keeps on the heap beside its broker, by kind of login. ADR 0017 has what it is made of.
func TestAnIdleConnIsSmall(t *testing.T) {
	const conns, warm = 4*1024 - 1, 1024 - 1 // tables grow by 1024 slots, of which the first is never used
	token := func(who string) *authn.Identity {
		return &authn.Identity{ID: "user" + who, Kind: authn.KindUser, Expires: time.Now().Add(time.Hour),
			Claimed: &authn.Patterns{Subscribe: []string{"chat.>"}, Publish: []string{"chat.>"}}}
	}
	ends := time.Now().Add(time.Hour)
	session := func(who string) *authn.Identity {
		key := fmt.Sprintf("%032s", who)
		sum := sha256.Sum256([]byte(key))
		return &authn.Identity{ID: "user" + who, Kind: authn.KindUser, Expires: ends, SessionHash: hex.EncodeToString(sum[:]), Ref: authn.Secret(key)}
	}
	cookie := func(every int) func(int) string {
		return func(i int) string { return fmt.Sprintf("Cookie: who=%d\r\n", i/every) }
	}
	for _, test := range []struct {
		name   string
		verify namedVerifier
		who    func(int) string
		most   float64 // bytes a conn
	}{
		{"a token each", token, cookie(1), 425},
		{"a session each", session, cookie(1), 490},
		{"100 conns a session", session, cookie(100), 300},
		{"anonymous", nil, func(int) string { return "" }, 265},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testConfig(t, loop.ModeEpoll)
			rules, err := authn.CompileRules([]authn.Rule{{To: "authenticated", Subscribe: []string{"chat.>"}}, {To: "anonymous", Subscribe: []string{"chat.>"}}})
			if err != nil {
				t.Fatal(err)
			}
			c.Authn.CacheTTL, c.Authn.Anonymous, c.Server.Loops = 0, true, 1
			if c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": test.verify}, rules, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			b := forgetful{&loopback{count: map[string]int{}}}
			n, err := open(t.Context(), c, func(n *Node) (Broker, error) {
				b.node = n
				return b, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			runNode(t, n)
			idleConns(t, n, 0, warm, test.who) // what is made once is there
			before, goroutines := rest(), runtime.NumGoroutine()
			idleConns(t, n, warm, conns, test.who)
			after := rest()
			bytes := (float64(after.HeapAlloc) - float64(before.HeapAlloc)) / (conns - warm)
			objects := (float64(after.HeapObjects) - float64(before.HeapObjects)) / (conns - warm) // below 0 if what was there before has gone
			t.Logf("%.0f bytes and %.2f objects a conn", bytes, objects)
			if bytes > test.most {
				t.Errorf("%.0f bytes a conn, want %.0f at most", bytes, test.most)
			}
			if objects > 0.2 { // large pieces that many share
				t.Errorf("%.2f objects a conn: something is allocated for each", objects)
			}
			if now := runtime.NumGoroutine(); now > goroutines+16 {
				t.Errorf("%d goroutines, %d before %d conns", now, goroutines, conns-warm)
			}
		})
	}
}
