package django

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatecast/gatecast/authn/django/pgtest"
)

// pgbouncer refuses startup parameters that it does not know, in these words, unless they are in ignore_startup_parameters (pgbouncer 1.x, client.c).
func TestPgbouncerTakesNoStatementTimeout(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	u, err := url.Parse(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	var refused, passed atomic.Int32
	wg.Go(func() { // ends with the listener
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { // ends with the connection
				defer in.Close()
				var head [4]byte
				if _, err := io.ReadFull(in, head[:]); err != nil {
					return
				}
				startup := make([]byte, binary.BigEndian.Uint32(head[:])-4)
				if _, err := io.ReadFull(in, startup); err != nil {
					return
				}
				if strings.Contains(string(startup), "statement_timeout") {
					refused.Add(1)
					body := "SFATAL\x00C08P01\x00Munsupported startup parameter: statement_timeout\x00\x00"
					in.Write(append(binary.BigEndian.AppendUint32([]byte{'E'}, uint32(len(body)+4)), body...))
					return
				}
				passed.Add(1)
				out, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				defer out.Close()
				out.Write(append(head[:], startup...))
				wg.Go(func() { io.Copy(in, out); in.Close() }) // ends with either connection
				io.Copy(out, in)
			})
		}
	})
	o := s.options()
	o.Database = u.String()
	v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Verify(t.Context(), cookie(aliceKey)); err != nil {
		t.Error(err)
	}
	if refused.Load() != 1 || passed.Load() == 0 {
		t.Errorf("%d connections refused, %d passed, want 1 refused", refused.Load(), passed.Load())
	}
}
