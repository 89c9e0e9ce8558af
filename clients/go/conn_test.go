package gatecast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestDialSendsCredentialsByItsCarrier(t *testing.T) {
	for _, tt := range []struct {
		name  string
		o     Options
		check func(r *http.Request) string
		want  string
	}{
		{"a header by default", Options{Token: "a b"}, func(r *http.Request) string { return r.Header.Get("Authorization") }, "Bearer a b"},
		{"a subprotocol", Options{Token: "a b", Carrier: CarrierSubprotocol}, func(r *http.Request) string { return r.Header.Get("Sec-Websocket-Protocol") }, "gatecast.v1, bearer64.YSBi"},
		{"the query", Options{Token: "a b&", Carrier: CarrierQuery}, func(r *http.Request) string { return r.URL.Query().Get("token") }, "a b&"},
		{"a cookie", Options{Header: http.Header{"Cookie": {"sessionid=x"}}}, func(r *http.Request) string { return r.Header.Get("Cookie") }, "sessionid=x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, fc := newFakeServer(t).dial(tt.o)
			if got := tt.check(fc.req); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDialRefusesImpossibleOptions(t *testing.T) {
	for _, tt := range []struct {
		url string
		o   Options
	}{
		{"ftp://127.0.0.1/ws", Options{}},
		{"127.0.0.1:8080", Options{}},
		{"ws://127.0.0.1:1/ws", Options{Carrier: "pigeon"}},
		{"ws://127.0.0.1:1/ws", Options{Queue: -1}},
	} {
		if c, err := Dial(t.Context(), tt.url, tt.o); err == nil || c != nil {
			t.Errorf("Dial(%q, %+v) = %v, %v, want nil and an error", tt.url, tt.o, c, err)
		}
	}
}

func TestDialReturnsHTTPRefusals(t *testing.T) {
	s := newFakeServer(t)
	go func() {
		if fc, err := s.accept(); err == nil {
			_ = fc.answer("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 12\r\nConnection: close\r\n\r\ntoo many now")
		}
	}()
	_, err := Dial(t.Context(), s.url(), Options{})
	var refused *HandshakeError
	if !errors.As(err, &refused) || refused.Status != 503 || refused.Body != "too many now" || refused.RetryAfter != 3*time.Second {
		t.Errorf("Dial = %#v", err)
	}
}

func TestDialReturnsWhyTheLoginWasRefused(t *testing.T) {
	s := newFakeServer(t)
	go func() {
		fc, err := s.accept()
		if err != nil {
			return
		}
		_ = fc.upgrade(`{"op":"error","code":"unauthorized","message":"expired"}`)
		_ = fc.closeWith(4401, "expired")
	}()
	_, err := Dial(t.Context(), s.url(), Options{Token: "old"})
	var closed *CloseError
	if !errors.As(err, &closed) || closed.Code != 4401 || closed.Reason != "expired" || CodeOf(err) != CodeUnauthorized {
		t.Errorf("Dial = %v, want 4401 with code unauthorized", err)
	}
}

func TestDialFailsIfAGroupIsRefused(t *testing.T) {
	s := newFakeServer(t)
	go func() {
		fc, err := s.accept()
		if err != nil {
			return
		}
		_ = fc.upgrade(welcomeFrame)
		if _, err := fc.recv(); err == nil {
			_ = fc.send(`{"op":"ok","id":1,"groups":[{"group":"a"},{"group":"b","error":{"code":"forbidden","message":"no grant"}}]}`)
			_ = fc.ended()
		}
	}()
	_, err := Dial(t.Context(), s.url(), Options{Groups: []string{"a", "b"}})
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeForbidden || e.Group != "b" {
		t.Errorf("Dial = %v, want forbidden for b", err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	for name, answer := range map[string]func(*fakeConn){
		"before the handshake": func(*fakeConn) {},
		"before the welcome":   func(c *fakeConn) { _ = c.upgrade() },
		"before the groups":    func(c *fakeConn) { _ = c.upgrade(welcomeFrame); _, _ = c.recv() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer(t)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if fc, err := s.accept(); err == nil {
					answer(fc)
				}
				cancel()
			}()
			if _, err := Dial(ctx, s.url(), Options{Groups: []string{"a"}}); !errors.Is(err, context.Canceled) {
				t.Errorf("Dial = %v, want context.Canceled", err)
			}
		})
	}
}

func TestWelcomeIsKept(t *testing.T) {
	c, _ := newFakeServer(t).dial(Options{})
	if w := c.Welcome(); w.Conn != "c1" || w.User != "42" || len(w.Groups) != 1 || w.Node != "n1" || !w.Expires.IsZero() {
		t.Errorf("Welcome = %+v", w)
	}
	if c.State() != StateConnected {
		t.Errorf("State = %v", c.State())
	}
}

func TestHandlerHearsItsGroupInOrderAndMayCallBack(t *testing.T) {
	c, fc := newFakeServer(t).dial(Options{})
	const n = 100
	got := make(chan string, n)
	added := make(chan error, 1)
	go func() {
		added <- c.GroupAdd(t.Context(), "chat.7", func(m Message) {
			if string(m.Data) == "0" {
				if err := c.GroupSend(t.Context(), "chat.7", "from the handler"); err != nil {
					t.Error(err)
				}
			}
			got <- string(m.Data)
		})
	}()
	id := fc.want(t, `{"op":"group_add","id":$id,"group":"chat.7"}`)
	fc.mustSend(t, `{"op":"ok","id":%d,"group":"chat.7"}`, id)
	if err := await(t, added, "GroupAdd"); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		fc.mustSend(t, `{"op":"message","group":"chat.7","data":%d}`, i)
	}
	id = fc.want(t, `{"op":"group_send","id":$id,"group":"chat.7","data":"from the handler"}`)
	fc.mustSend(t, `{"op":"ok","id":%d}`, id)
	for i := range n {
		if g := await(t, got, "a message"); g != fmt.Sprint(i) {
			t.Fatalf("message %d has data %s", i, g)
		}
	}
}

func TestSlowHandlerDropsMessagesNotReplies(t *testing.T) {
	unblock := make(chan struct{})
	c, fc := newFakeServer(t).dial(Options{Queue: 3, OnMessage: func(Message) { <-unblock }})
	for i := range 10 {
		fc.mustSend(t, `{"op":"message","group":"user.42","data":%d}`, i)
	}
	pinged := make(chan error, 1)
	go func() { _, err := c.Ping(t.Context()); pinged <- err }()
	fc.mustSend(t, `{"op":"ok","id":%d}`, fc.want(t, `{"op":"ping","id":$id}`))
	if err := await(t, pinged, "Ping"); err != nil {
		t.Error(err)
	}
	if d := c.Dropped(); d < 6 || d > 7 { // one may be in the handler
		t.Errorf("Dropped = %d of 10 with a queue of 3", d)
	}
	close(unblock)
}

func TestReceiveReturnsWhatHasNoHandler(t *testing.T) {
	c, fc := newFakeServer(t).dial(Options{Queue: 2})
	for i := range 3 {
		fc.mustSend(t, `{"op":"message","group":"user.42","data":%d,"from":"7"}`, i)
	}
	fc.mustSend(t, `{"op":"ping"}`) // its pong tells that the messages were read
	fc.want(t, `{"op":"pong"}`)
	if d := c.Dropped(); d != 1 {
		t.Errorf("Dropped = %d, want 1", d)
	}
	go func() { _ = fc.ended() }()
	c.Close()
	for i := range 2 {
		m, err := c.Receive(t.Context())
		if err != nil || string(m.Data) != fmt.Sprint(i) || m.From != "7" {
			t.Errorf("Receive = %+v, %v", m, err)
		}
	}
	if _, err := c.Receive(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Receive after the last = %v, want ErrClosed", err)
	}
}

func TestReceiveHonoursItsContext(t *testing.T) {
	c, _ := newFakeServer(t).dial(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Receive = %v", err)
	}
}

func TestSendWithoutReplyReportsARefusalAsEvent(t *testing.T) {
	events := make(chan Event, 1)
	c, fc := newFakeServer(t).dial(Options{OnEvent: func(e Event) { events <- e }})
	if err := c.GroupSend(t.Context(), "a", json.RawMessage(`{"x":  1}`), NoReply()); err != nil {
		t.Fatal(err)
	}
	fc.want(t, `{"op":"group_send","group":"a","data":{"x":  1}}`)
	fc.mustSend(t, `{"op":"error","code":"forbidden","message":"no grant"}`)
	if e := await(t, events, "the event"); e.Op != EventError || CodeOf(e.Err) != CodeForbidden {
		t.Errorf("event = %+v", e)
	}
}

func TestTokenFuncRenewsARefusedToken(t *testing.T) {
	var asked atomic.Int32
	s := newFakeServer(t)
	c, fc := s.dial(Options{Carrier: CarrierMessage, TokenFunc: func(context.Context) (string, error) {
		return []string{"t1", "t2", "t2", "t2"}[asked.Add(1)-1], nil
	}})
	fc.want(t, `{"op":"auth","id":$id,"token":"t1"}`)
	_ = fc.closeWith(4401, "expired")
	fc2 := s.login()
	fc2.want(t, `{"op":"auth","id":$id,"token":"t2"}`)
	_ = fc2.closeWith(4401, "expired")
	await(t, c.Done(), "the end") // t2 again: nothing else to try
	var closed *CloseError
	if !errors.As(c.Err(), &closed) || closed.Code != 4401 {
		t.Errorf("Err = %v, want 4401", c.Err())
	}
	if _, err := c.Ping(t.Context()); !errors.Is(err, ErrClosed) || !errors.As(err, &closed) {
		t.Errorf("Ping = %v, want ErrClosed with its reason", err)
	}
}

func TestSilentServerIsDead(t *testing.T) {
	s := newFakeServer(t)
	states := make(chan StateChange, 10)
	go func() {
		if fc, err := s.accept(); err == nil {
			_ = fc.upgrade(`{"op":"welcome","conn":"c1","user":"42","groups":[],"ping":0.01,"node":"n1"}`)
		}
	}()
	c, err := Dial(t.Context(), s.url(), Options{grace: 10 * time.Millisecond, RetryMin: time.Hour, OnState: func(s StateChange) { states <- s }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for st := await(t, states, "state waiting"); st.State != StateWaiting; st = await(t, states, "state waiting") {
	}
}

func TestHostileFramesEndTheConnection(t *testing.T) {
	masked := ws.MaskFrame(ws.NewTextFrame([]byte(`{"op":"ping"}`)))
	for _, tt := range []struct {
		name  string
		frame ws.Frame
		want  int
	}{
		{"a masked frame", masked, 1002},
		{"a continuation of nothing", ws.NewFrame(ws.OpContinuation, true, []byte("x")), 1002},
		{"a reserved bit", ws.Frame{Header: ws.Header{Fin: true, Rsv: 4, OpCode: ws.OpText, Length: 2}, Payload: []byte("{}")}, 1002},
		{"a binary message", ws.NewBinaryFrame([]byte("{}")), 1003},
		{"bytes that are not UTF-8", ws.NewTextFrame([]byte("\"\xff\"")), 1007},
		{"a message above the limit", ws.NewTextFrame([]byte(strings.Repeat(" ", 1001))), 1009},
		{"what is no JSON", ws.NewTextFrame([]byte("}")), 1002},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, fc := newFakeServer(t).dial(Options{MaxMessage: 1000})
			if err := ws.WriteFrame(fc.conn, tt.frame); err != nil {
				t.Fatal(err)
			}
			await(t, c.Done(), "the end")
			var closed *CloseError
			if !errors.As(c.Err(), &closed) || closed.Code != tt.want {
				t.Errorf("Err = %v, want code %d", c.Err(), tt.want)
			}
			_, err := fc.recv()
			if !errors.As(err, &closed) || closed.Code != tt.want {
				t.Errorf("the server got %v, want a close frame with %d", err, tt.want)
			}
		})
	}
}

func TestFragmentsAndControlFramesBetweenThem(t *testing.T) {
	c, fc := newFakeServer(t).dial(Options{})
	for _, f := range []ws.Frame{
		ws.NewFrame(ws.OpText, false, []byte(`{"op":"message","gro`)),
		ws.NewPingFrame([]byte("now")),
		ws.NewFrame(ws.OpContinuation, false, []byte(`up":"user.42","data":"z`)),
		ws.NewFrame(ws.OpContinuation, true, []byte("\u00fc\"}")),
	} {
		if err := ws.WriteFrame(fc.conn, f); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := fc.recv(); err != nil || got != "pong frame now" {
		t.Errorf("got %q, %v, want the pong", got, err)
	}
	m, err := c.Receive(t.Context())
	if err != nil || string(m.Data) != `"zü"` {
		t.Errorf("Receive = %s, %v", m.Data, err)
	}
}

func TestReconnectOutlastsHTTPRefusals(t *testing.T) {
	s := newFakeServer(t)
	c, fc := s.dial(Options{})
	fc.conn.Close()
	for range 3 {
		refused, err := s.accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = refused.answer("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
	}
	fc2 := s.login()
	go func() { _, _ = c.Ping(t.Context()) }()
	fc2.want(t, `{"op":"ping","id":$id}`)
}

func TestCloseEndsAConnInEveryState(t *testing.T) {
	t.Run("connected, and the server does not answer", func(t *testing.T) {
		c, _ := newFakeServer(t).dial(Options{})
		began := time.Now()
		c.Close()
		if d := time.Since(began); d > patience {
			t.Errorf("Close took %v", d)
		}
		c.Close() // again does no harm
	})
	t.Run("waiting", func(t *testing.T) {
		s := newFakeServer(t)
		waiting := make(chan struct{}, 1)
		go func() {
			fc := s.login()
			_ = fc.closeWith(1012, "")
			_ = fc.ended()
		}()
		c, err := Dial(t.Context(), s.url(), Options{RetryMin: time.Hour, OnState: func(s StateChange) {
			if s.State == StateWaiting {
				waiting <- struct{}{}
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		await(t, waiting, "state waiting")
		c.Close()
		if c.Err() != nil || c.State() != StateClosed {
			t.Errorf("Err = %v, State = %v after Close", c.Err(), c.State())
		}
	})
	t.Run("from a callback", func(t *testing.T) {
		var c *Conn
		ready := make(chan struct{})
		c, fc := newFakeServer(t).dial(Options{OnMessage: func(Message) { <-ready; c.Close() }})
		close(ready)
		fc.mustSend(t, `{"op":"message","group":"user.42","data":1}`)
		if err := fc.ended(); err != nil {
			t.Error(err)
		}
		await(t, c.Done(), "the end")
	})
}

func TestEverythingAtOnce(t *testing.T) {
	s := newFakeServer(t)
	c, fc := s.dial(Options{OnMessage: func(Message) {}})
	server := make(chan struct{})
	go func() { // answers everything, breaks the connection every 40 frames
		defer close(server)
		for n := 1; ; n++ {
			text, err := fc.recv()
			if err != nil || n%40 == 0 {
				fc.conn.Close()
				if fc, err = s.accept(); err != nil {
					return
				}
				_ = fc.upgrade(welcomeFrame)
				continue
			}
			var f frame
			if json.Unmarshal([]byte(text), &f) == nil && f.ID != 0 {
				_ = fc.send(fmt.Sprintf(`{"op":"ok","id":%d,"groups":[]}`, f.ID))
			}
		}
	}()
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			group := fmt.Sprint("g", i%4)
			for range 20 {
				for _, err := range []error{
					c.GroupAdd(t.Context(), group, func(Message) {}),
					c.GroupSend(t.Context(), group, i),
					c.GroupDiscard(t.Context(), group),
				} {
					if err != nil && !errors.Is(err, ErrLost) {
						t.Error(err)
					}
				}
			}
		})
	}
	callers.Wait()
	s.ln.Close()
	c.Close()
	await(t, server, "the server's end")
}

func TestCloseDoesNotWaitForAPeerThatReadsNothing(t *testing.T) {
	c, fc := newFakeServer(t).dial(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	big := json.RawMessage(`"` + strings.Repeat("x", 1<<18) + `"`)
	full := make(chan struct{})
	go func() { // until the socket and the writer's queue take no more
		defer close(full)
		for {
			sent := make(chan error, 1)
			go func() { sent <- c.GroupSend(ctx, "a", big, NoReply()) }()
			select {
			case err := <-sent:
				if err != nil {
					return
				}
			case <-time.After(200 * time.Millisecond):
				return
			}
		}
	}()
	await(t, full, "a full queue")
	fc.mustSend(t, `{"op":"ping"}`) // its pong has no room either
	began := time.Now()
	c.Close()
	if d := time.Since(began); d > patience {
		t.Errorf("Close took %v", d)
	}
}
