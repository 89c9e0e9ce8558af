package gatecast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestConformance plays the transcripts that every client library plays; clients/conformance/README.md has the format.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob("../conformance/*.txt")
	if err != nil || len(files) < 12 {
		t.Fatalf("found %d transcripts (%v), want the whole set", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := newPlayer(t)
			for i, line := range strings.Split(string(script), "\n") {
				if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
					continue
				}
				if err := p.step(line); err != nil {
					t.Fatalf("%s:%d: %s\n%v", file, i+1, line, err)
				}
			}
			p.finish()
		})
	}
}

// player plays both sides of one transcript.
type player struct {
	t        *testing.T
	server   *fakeServer
	peer     *fakeConn
	conn     *Conn
	dialed   chan *Conn
	cancel   context.CancelFunc
	states   chan StateChange
	messages chan Message
	events   chan Event
	calls    map[string]chan error
	vars     map[string]any
}

func newPlayer(t *testing.T) *player {
	return &player{
		t:        t,
		server:   newFakeServer(t),
		dialed:   make(chan *Conn, 1),
		states:   make(chan StateChange, 100),
		messages: make(chan Message, 100),
		events:   make(chan Event, 100),
		calls:    make(map[string]chan error),
		vars:     make(map[string]any),
	}
}

// finish ends both sides and checks that nothing was left over.
func (p *player) finish() {
	if p.conn == nil { // Dial failed or nothing asked for it
		p.conn = <-p.dialed
	}
	if p.conn != nil {
		_ = p.conn.Close()
	}
	p.cancel()
	if n := len(p.messages); n > 0 {
		p.t.Errorf("%d messages were left over, the first is %+v", n, <-p.messages)
	}
	if n := len(p.events); n > 0 {
		p.t.Errorf("%d events were left over, the first is %+v", n, <-p.events)
	}
}

func (p *player) step(line string) error {
	side, rest, _ := strings.Cut(line, " ")
	verb, rest, _ := strings.Cut(rest, " ")
	switch side + " " + verb {
	case "client connect":
		return p.connect(rest)
	case "client state":
		return p.state(rest)
	case "client call":
		return p.call(rest)
	case "client ok":
		return p.result(rest, "")
	case "client error":
		label, code, _ := strings.Cut(rest, " ")
		return p.result(label, code)
	case "client message":
		m, err := next(p.messages)
		if err != nil {
			return err
		}
		return match(rest, map[string]any{"group": m.Group, "data": m.Data, "from": m.From, "format": m.Format, "seq": m.Seq})
	case "client event":
		e, err := next(p.events)
		if err != nil {
			return err
		}
		return match(rest, map[string]any{"op": e.Op, "group": e.Group, "user": e.User, "code": CodeOf(e.Err)})
	case "client close":
		closed := make(chan error, 1)
		c, err := p.client()
		if err != nil {
			return err
		}
		go func() { closed <- c.Close() }() // waits for the server's part, which the next step plays
		return nil
	case "server accept":
		return p.accept(rest)
	case "server send":
		return p.peer.send(p.substitute(rest))
	case "server recv":
		return p.recv(rest)
	case "server close":
		code, reason, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(code)
		if err != nil {
			return err
		}
		return p.peer.closeWith(n, reason)
	case "server drop":
		return p.peer.conn.Close()
	case "server closed":
		return p.peer.ended()
	}
	return errors.New("unknown step")
}

func (p *player) connect(options string) error {
	var o struct {
		Token   string
		Carrier Carrier
		Groups  []string
	}
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return err
	}
	var ctx context.Context
	ctx, p.cancel = context.WithTimeout(context.Background(), 2*patience)
	go func() {
		c, _ := Dial(ctx, p.server.url(), Options{ // a failure is seen as state closed
			Token: o.Token, Carrier: o.Carrier, Groups: o.Groups,
			RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond,
			OnMessage: func(m Message) { p.messages <- m },
			OnEvent:   func(e Event) { p.events <- e },
			OnState: func(s StateChange) {
				if s.State != StateConnecting {
					p.states <- s
				}
			},
		})
		p.dialed <- c
	}()
	return nil
}

func (p *player) client() (*Conn, error) {
	if p.conn == nil {
		select {
		case p.conn = <-p.dialed:
		case <-time.After(patience):
		}
	}
	if p.conn == nil {
		return nil, errors.New("there is no connection")
	}
	return p.conn, nil
}

func (p *player) state(rest string) error {
	name, want, _ := strings.Cut(rest, " ")
	s, err := next(p.states)
	if err != nil {
		return err
	}
	got := map[string]any{"code": 0, "error": CodeOf(s.Err)}
	var closed *CloseError
	if errors.As(s.Err, &closed) {
		got["code"] = closed.Code
	}
	if s.State.String() != name {
		return fmt.Errorf("state is %v (%v), want %s", s.State, s.Err, name)
	}
	return match(want, got)
}

func (p *player) call(rest string) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	label, rest, _ := strings.Cut(rest, " ")
	verb, args, _ := strings.Cut(rest, " ")
	var a struct {
		Group string
		Data  json.RawMessage
		Echo  *bool
		MsgID string `json:"msg_id"`
		Token string
	}
	if err := json.Unmarshal([]byte(args), &a); err != nil {
		return err
	}
	done := make(chan error, 1)
	p.calls[label] = done
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		switch verb {
		case "group_add":
			done <- c.GroupAdd(ctx, a.Group, nil)
		case "group_discard":
			done <- c.GroupDiscard(ctx, a.Group)
		case "group_send":
			var options []SendOption
			if a.Echo != nil && !*a.Echo {
				options = append(options, NoEcho())
			}
			if a.MsgID != "" {
				options = append(options, MsgID(a.MsgID))
			}
			done <- c.GroupSend(ctx, a.Group, a.Data, options...)
		case "auth":
			done <- c.Auth(ctx, a.Token)
		case "ping":
			_, err := c.Ping(ctx)
			done <- err
		default:
			done <- fmt.Errorf("unknown verb %q", verb)
		}
	}()
	return nil
}

func (p *player) result(label, code string) error {
	err, timeout := next(p.calls[label])
	if timeout != nil {
		return timeout
	}
	got := CodeOf(err)
	if errors.Is(err, ErrLost) {
		got = "lost"
	}
	if got != code || code == "" && err != nil {
		return fmt.Errorf("got %v, want %q", err, code)
	}
	return nil
}

func (p *player) accept(want string) (err error) {
	if p.peer, err = p.server.accept(); err != nil {
		return err
	}
	if err := match(want, map[string]any{"protocols": p.peer.protocols(), "authorization": p.peer.req.Header.Get("Authorization")}); err != nil {
		return err
	}
	return p.peer.upgrade()
}

func (p *player) recv(want string) error {
	text, err := p.peer.recv()
	if err != nil {
		return err
	}
	var w, g any
	if err := errors.Join(json.Unmarshal([]byte(want), &w), json.Unmarshal([]byte(text), &g)); err != nil {
		return err
	}
	if !p.bind(w, g) {
		return fmt.Errorf("got %s", text)
	}
	return nil
}

// bind compares want with got, giving values to the variables in want.
func (p *player) bind(want, got any) bool {
	if name, ok := want.(string); ok && strings.HasPrefix(name, "$") {
		if v, known := p.vars[name]; known {
			return reflect.DeepEqual(v, got)
		}
		p.vars[name] = got
		return true
	}
	w, ok := want.(map[string]any)
	g, ok2 := got.(map[string]any)
	if !ok || !ok2 {
		return reflect.DeepEqual(want, got)
	}
	if len(w) != len(g) {
		return false
	}
	for k := range w {
		if v, there := g[k]; !there || !p.bind(w[k], v) {
			return false
		}
	}
	return true
}

func (p *player) substitute(text string) string {
	for name, v := range p.vars {
		value, _ := json.Marshal(v)
		text = strings.ReplaceAll(text, `"`+name+`"`, string(value))
	}
	return text
}

func next[T any](ch <-chan T) (v T, err error) {
	select {
	case v = <-ch:
		return v, nil
	case <-time.After(patience):
		return v, errors.New("waited too long")
	}
}

// match checks that every field of the JSON object want is equal in got.
func match(want string, got map[string]any) error {
	if want == "" {
		return nil
	}
	var w, g map[string]any
	text, err := json.Marshal(got)
	if err != nil {
		return err
	}
	if err := errors.Join(json.Unmarshal([]byte(want), &w), json.Unmarshal(text, &g)); err != nil {
		return err
	}
	for k := range w {
		if !reflect.DeepEqual(w[k], g[k]) {
			return fmt.Errorf("got %s", text)
		}
	}
	return nil
}
