package admin

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve starts s on a free port and returns its address and the outcome of Serve.
func serve(t *testing.T, s *Server) (addr string, served <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }() // ends with Shutdown
	return ln.Addr().String(), done
}

func TestShutdownWaitsForRunningRequests(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := newTestServer(t, &fakeNode{}, func(_ *Options, d *Deps) {
		d.Reload = func(context.Context) error { close(entered); <-release; return nil }
	})
	addr, served := serve(t, s)
	answer := make(chan string, 1)
	go func() {
		r, _ := http.NewRequest("POST", "http://"+addr+"/api/v1/reload", nil)
		r.Header.Set("Authorization", "Bearer admin-key")
		tr := &http.Transport{DisableKeepAlives: true}
		resp, err := tr.RoundTrip(r)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(ctx) }()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	close(release)
	if got := <-answer; got != "{\"ok\":true}\n" {
		t.Errorf("the running request got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	entered := make(chan struct{})
	s := newTestServer(t, &fakeNode{}, func(_ *Options, d *Deps) {
		d.Reload = func(ctx context.Context) error { close(entered); <-ctx.Done(); return ctx.Err() }
	})
	addr, served := serve(t, s)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin-key\r\nContent-Length: 0\r\n\r\n")
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "still running") {
		t.Errorf("Shutdown = %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
		t.Error("the request was answered")
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	s := newTestServer(t, &fakeNode{})
	addr, served := serve(t, s)
	defer func() {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-served
	}()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	go func() {
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 64<<10))
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 431 {
		t.Errorf("status %d, want 431", resp.StatusCode)
	}
}
