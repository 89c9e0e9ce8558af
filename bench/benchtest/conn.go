//go:build linux

package benchtest

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/gatecast/gatecast/bench/frame"
)

// serve is one connection, of a member or of a publisher.
func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	if !s.admitted(conn) {
		return
	}
	path := ""
	m := &member{conn: conn, out: make(chan frames, cmp.Or(s.faults.Queue, queued)), gone: make(chan struct{})}
	defer close(m.gone)
	upgrader := ws.Upgrader{
		OnRequest:       func(uri []byte) error { path = string(uri); return nil },
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) { return nil, s.admit(m, path) },
	}
	if _, err := upgrader.Upgrade(conn); err != nil {
		return
	}
	s.wg.Go(func() { s.send(m) }) // ends with gone
	if path == native {
		m.say(`{"op":"welcome"}`)
	}
	for {
		payload, err := wsutil.ReadClientText(conn)
		if err != nil {
			return
		}
		switch path {
		case "/publish":
			s.queue <- published{payload, time.Now(), nil}
		case "/echo":
			s.queue <- published{payload, time.Now(), m}
		case native:
			if err := s.obey(m, payload); err != nil {
				return
			}
		}
	}
}

// admitted counts a handshake, and tells whether it is to be served. One that is not is over.
func (s *Server) admitted(conn net.Conn) bool {
	s.mu.Lock()
	s.asked++
	refused := s.faults.Admit > 0 && s.asked > s.faults.Admit
	s.mu.Unlock()
	if !refused {
		return true
	}
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil && s.faults.Otherwise == Refuse {
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n")
	}
	return false
}

// native is the path of Gatecast's own protocol.
const native = "/ws"

// admit makes a member of who asks for one of the paths of members. It is one before it is told so.
func (s *Server) admit(m *member, path string) error {
	if list, ok := strings.CutPrefix(path, "/group/"); ok {
		for name := range strings.SplitSeq(list, ",") {
			group, err := strconv.ParseUint(name, 10, 32)
			if err != nil {
				return ws.RejectConnectionError(ws.RejectionStatus(http.StatusBadRequest))
			}
			m.groups = append(m.groups, uint32(group))
		}
	} else if path != "/echo" && path != native {
		return nil
	}
	s.mu.Lock()
	s.members = append(s.members, m)
	s.mu.Unlock()
	return nil
}

// send writes what is queued for the member, until it is gone.
func (s *Server) send(m *member) {
	for {
		select {
		case f := <-m.out:
			s.pause(time.Until(f.due))
			_, _ = m.conn.Write(f.b) // a member that left is no fault
		case <-m.gone:
			return
		}
	}
}

// say queues a message of the protocol.
func (m *member) say(text string) {
	m.out <- frames{b: frame.AppendServer(nil, frame.Text, []byte(text))}
}

// obey does what a client of the native protocol asks for.
func (s *Server) obey(m *member, payload []byte) error {
	var ask struct {
		Op, Group, Data string
		ID              int
		Groups          []string
	}
	if err := json.Unmarshal(payload, &ask); err != nil {
		return err
	}
	if ask.Op == "group_send" {
		s.queue <- published{[]byte(ask.Data), time.Now(), nil}
		return nil
	}
	if ask.Group != "" {
		ask.Groups = append(ask.Groups, ask.Group)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range ask.Groups {
		n, err := strconv.ParseUint(strings.TrimPrefix(name, "bench."), 10, 32)
		if err != nil {
			return err
		}
		s.move(m, ask.Op, uint32(n))
	}
	m.say(fmt.Sprintf(`{"op":"ok","id":%d,"group":%q}`, ask.ID, ask.Group))
	return nil
}

// move lets a member join or leave a group, rightly or not.
func (s *Server) move(m *member, op string, group uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch op {
	case "group_add":
		m.groups = append(m.groups, group)
		if s.joins++; every(s.joins, s.faults.DeafEvery) {
			m.deaf = append(m.deaf, group)
		}
	case "group_discard":
		m.groups = slices.DeleteFunc(m.groups, func(g uint32) bool { return g == group })
		if s.leaves++; every(s.leaves, s.faults.GhostEvery) {
			m.ghost = append(m.ghost, group)
		}
	}
}
