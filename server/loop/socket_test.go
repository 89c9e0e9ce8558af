package loop

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

func TestBytesComeBackInOrder(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		p, _ := r.connect()
		p.send("hello")
		p.expect("hello")
		for i := range 300 { // one byte at a time
			p.send(string(rune('a' + i%26)))
			p.expect(string(rune('a' + i%26)))
		}
		big := strings.Repeat("0123456789abcdef", 1<<14)
		go func() { _, _ = io.WriteString(p, big) }() // ends when all is echoed
		p.expect(big)
		p.Close()
		if c := await(t, r.closed, "Closed"); c.err != io.EOF {
			t.Errorf("Closed with %v, want EOF", c.err)
		}
	})
}

func TestPeerThatOnlyStoppedSendingGetsItsAnswer(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		p, _ := r.connect()
		p.send("last words")
		p.finish()
		p.expect("last words")
		p.expectEOF()
		if c := await(t, r.closed, "Closed"); c.err != io.EOF {
			t.Errorf("Closed with %v, want EOF", c.err)
		}
	})
}

func TestResetByPeerClosesWithAnError(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		p, _ := r.connect()
		p.send("x")
		p.expect("x")
		p.reset()
		if c := await(t, r.closed, "Closed"); c.err == nil {
			t.Error("Closed with nil, want an error")
		}
	})
}

func TestSlowReaderBuildsABacklogThatDrainsInOrder(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		p, id := r.connect()
		h, n, slot := r.probes[0], uint32(0), id.Slot()
		block := bytes.Repeat([]byte("-"), 4000)
		for blocked := false; !blocked; { // until the kernel takes no more, then a good deal beyond
			h.on(func(h *probe) {
				for range 64 {
					put(h, slot, &n, block)
				}
			})
			h.on(func(h *probe) {
				bytes, since := h.loop.Pending(slot)
				blocked = bytes > 1<<20 && h.loop.Blocked(slot)
				if bytes > 0 && (since == 0 || since > h.loop.Now()) {
					t.Errorf("Pending since %d at tick %d", since, h.loop.Now())
				}
			})
		}
		rest := make([]byte, len(block))
		for want := range n {
			var head [4]byte
			if _, err := io.ReadFull(p, head[:]); err != nil {
				t.Fatalf("message %d: %v", want, err)
			}
			if got := binary.BigEndian.Uint32(head[:]); got != want {
				t.Fatalf("message %d arrived, want %d", got, want)
			}
			if want%3 == 2 {
				if _, err := io.ReadFull(p, rest); err != nil || !bytes.Equal(rest, block) {
					t.Fatalf("message %d is damaged (%v)", want, err)
				}
			}
		}
		h.on(func(h *probe) {}) // the write that emptied the queue was before this turn or ends by the next
		until(t, "nothing pending", func() (empty bool) {
			h.on(func(h *probe) { b, _ := h.loop.Pending(slot); empty = b == 0 && h.loop.out.inUse == 0 })
			return empty
		})
		p.send("still here")
		p.expect("still here")
	})
}

// put sends a numbered message by each way in turn: bytes, a frame at once, a large frame queued.
func put(h *probe, slot uint32, n *uint32, block []byte) {
	head := binary.BigEndian.AppendUint32(nil, *n)
	switch *n % 3 {
	case 0:
		h.loop.SendBytes(slot, head)
	case 1:
		f := frameOf(string(head))
		h.loop.SendNow(slot, f)
		f.Release()
	case 2:
		f := NewFrame(4 + len(block))
		f.B = append(append(f.B, head...), block...)
		h.loop.Send(slot, f)
		f.Release()
	}
	*n++
}

func TestMixedSendsKeepTheirOrder(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		p, id := r.connect()
		var want bytes.Buffer
		h := r.probes[0]
		for range 20 {
			h.on(func(h *probe) {
				for i := range 40 {
					s := fmt.Sprintf("<%d>", want.Len())
					if i%7 == 3 {
						s += strings.Repeat("x", i*2000)
					}
					want.WriteString(s)
					f := frameOf(s)
					switch i % 3 {
					case 0:
						h.loop.Send(id.Slot(), f)
					case 1:
						h.loop.SendNow(id.Slot(), f)
					case 2:
						h.loop.SendBytes(id.Slot(), f.B)
					}
					f.Release()
				}
			})
			p.expect(want.String())
			want.Reset()
		}
	})
}

func TestCloseWithFlushSendsWhatIsPending(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		p, id := r.connect()
		long := strings.Repeat("0123456789", 200_000)
		r.probes[0].on(func(h *probe) {
			f := frameOf(long)
			h.loop.Send(id.Slot(), f)
			f.Release()
			h.loop.SendBytes(id.Slot(), []byte("bye"))
			h.loop.Close(id.Slot(), true)
			h.loop.SendBytes(id.Slot(), []byte("too late"))
			h.loop.Close(id.Slot(), true)
			if h.loop.Live(id.Slot(), id.Gen()) {
				t.Error("Live after Close")
			}
		})
		p.send("thrown away")
		p.expect(long + "bye")
		p.expectEOF()
		p.Close()
		if c := await(t, r.closed, "Closed"); c.err != nil || c.id != id {
			t.Errorf("Closed(%v, %v), want (%v, nil)", c.id, c.err, id)
		}
	})
}

func TestCloseWithFlushEndsWhenThePeerDoesNot(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		for _, pending := range []int{10, 8 << 20} { // lingers; never gets so far
			r := newRig(t, m, fast, nil)
			_, id := r.connect()
			r.probes[0].on(func(h *probe) {
				h.loop.SendBytes(id.Slot(), make([]byte, pending))
				h.loop.Close(id.Slot(), true)
			})
			if c := await(t, r.closed, "Closed"); c.err != nil {
				t.Errorf("Closed with %v, want nil", c.err)
			}
		}
	})
}

func TestCloseWithoutFlushIsAtOnce(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		p, id := r.connect()
		p.send("x")
		p.expect("x")
		r.probes[0].on(func(h *probe) { h.loop.Close(id.Slot(), false) })
		if c := await(t, r.closed, "Closed"); c.err != nil {
			t.Errorf("Closed with %v, want nil", c.err)
		}
		p.expectEOF()
	})
}

func TestAbortResets(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		p, id := r.connect()
		r.probes[0].on(func(h *probe) { h.loop.Abort(id.Slot()) })
		if c := await(t, r.closed, "Closed"); c.err != nil {
			t.Errorf("Closed with %v, want nil", c.err)
		}
		if _, err := p.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("peer read: %v, want a reset", err)
		}
	})
}

func TestASlotUsedAgainHasAnotherGeneration(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		var stale int
		r := newRig(t, m, nil, func(h *probe) {
			h.task = func(h *probe, task Task) {
				if h.loop.Live(task.Slot, task.Gen) {
					h.loop.SendBytes(task.Slot, []byte("!"))
				} else {
					stale++
				}
			}
		})
		p, old := r.connect()
		p.reset()
		await(t, r.closed, "Closed")
		r.probes[0].on(func(*probe) {}) // reap is over: the slot is free
		p2, id := r.connect()
		if id.Slot() != old.Slot() || id == old {
			t.Fatalf("second socket is %v after %v, want the slot again with a new generation", id, old)
		}
		h := r.probes[0]
		h.loop.Post(Task{Slot: old.Slot(), Gen: old.Gen()})
		h.loop.Post(Task{Slot: id.Slot(), Gen: id.Gen()})
		h.loop.Post(Task{Slot: 1 << 23, Gen: 1})
		p2.expect("!")
		h.on(func(h *probe) {
			if stale != 2 {
				t.Errorf("%d stale tasks were told apart, want 2", stale)
			}
		})
	})
}

func TestPauseHoldsBytesBackUntilResume(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		p, id := r.connect()
		h, slot := r.probes[0], id.Slot()
		for range 3 {
			var paused bool
			h.on(func(h *probe) {
				h.loop.Pause(slot)
				h.read = func(h *probe, slot uint32, b []byte) {
					if paused {
						t.Error("Read while paused")
					}
					h.loop.SendBytes(slot, b)
				}
				paused = true
			})
			p.send("held")
			for range 20 {
				h.on(func(*probe) {})
			}
			h.on(func(h *probe) { paused = false; h.loop.Resume(slot) })
			p.expect("held")
		}
	})
}

func TestThePeersEndIsNoticedWhilePaused(t *testing.T) {
	ends := map[string]func(p *peer){
		"FIN":                   func(p *peer) { p.finish() },
		"close":                 func(p *peer) { p.Close() },
		"RST":                   func(p *peer) { p.reset() },
		"bytes, FIN and Resume": func(p *peer) { p.send("tail"); p.finish() },
	}
	eachMode(t, func(t *testing.T, m mode) {
		for name, end := range ends {
			t.Run(name, func(t *testing.T) {
				var got []byte
				r := newRig(t, m, nil, func(h *probe) {
					h.read = func(_ *probe, _ uint32, b []byte) { got = append(got, b...) }
				})
				p, id := r.connect()
				h := r.probes[0]
				h.on(func(h *probe) { h.loop.Pause(id.Slot()) })
				end(p)
				if name == "bytes, FIN and Resume" {
					before := r.engine.Stats().Loops[0].Turns
					for range 20 {
						h.on(func(*probe) {})
					}
					if turns := r.engine.Stats().Loops[0].Turns - before; turns > 60 {
						t.Errorf("%d turns for 20 tasks: the loop spins", turns)
					}
					if len(r.closed) != 0 {
						t.Fatal("Closed before the bytes were read")
					}
					h.on(func(h *probe) { h.loop.Resume(id.Slot()) })
				}
				c := await(t, r.closed, "Closed")
				if c.err == nil {
					t.Error("Closed with nil, want the peer's reason")
				}
				if name == "bytes, FIN and Resume" {
					h.on(func(*probe) {
						if string(got) != "tail" {
							t.Errorf("read %q before the end, want %q", got, "tail")
						}
					})
				}
			})
		}
	})
}

func TestTasksKeepTheOrderOfEachPoster(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		const posters, each = 16, 2000
		seen := make([]uint64, posters)
		r := newRig(t, m, nil, func(h *probe) {
			h.task = func(_ *probe, task Task) {
				if seen[task.Kind] != task.N {
					t.Errorf("poster %d: task %d, want %d", task.Kind, task.N, seen[task.Kind])
				}
				seen[task.Kind]++
			}
		})
		f := frameOf("shared")
		var wg sync.WaitGroup
		for k := range posters {
			wg.Go(func() {
				for n := range each {
					f.Retain()
					r.probes[0].loop.Post(Task{Kind: uint32(k), N: uint64(n), F: f})
				}
			})
		}
		wg.Wait()
		r.probes[0].on(func(*probe) {
			for k, n := range seen {
				if n != each {
					t.Errorf("poster %d: %d tasks ran, want %d", k, n, each)
				}
			}
		})
		if n := f.refs.Load(); n != 1 {
			t.Errorf("%d references after all tasks, want 1", n)
		}
		f.Release()
		if n := r.engine.Loops()[0].Queue(); n != 0 {
			t.Errorf("Queue() = %d, want 0", n)
		}
	})
}

func TestAPanicClosesOneSocketOnly(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, fast, func(h *probe) {
			h.read = func(h *probe, slot uint32, b []byte) {
				if string(b) == "boom" {
					panic("on purpose: read")
				}
				h.loop.SendBytes(slot, b)
			}
			h.task = func(h *probe, task Task) {
				if task.N == 1 {
					h.loop.Blame(uint32(task.Kind))
				}
				panic("on purpose: task")
			}
		})
		bystander, _ := r.connect()
		h := r.probes[0]

		p, id := r.connect()
		p.send("boom")
		expectPanic(t, r, id)
		_, id = r.connect()
		h.loop.Post(Task{Slot: id.Slot(), Gen: id.Gen()})
		expectPanic(t, r, id)
		_, id = r.connect()
		h.loop.Post(Task{Kind: id.Slot(), N: 1})
		expectPanic(t, r, id)
		h.loop.Post(Task{}) // nobody to blame

		h.on(func(h *probe) {
			h.turn = func(h *probe) { h.turn = nil; panic("on purpose: turn") }
			h.tick = func(h *probe, _ uint32) { h.tick = nil; panic("on purpose: tick") }
			h.closed = func(h *probe, _ uint32) { h.closed = nil; panic("on purpose: closed") }
			h.open = func(h *probe, _ uint32) { h.open = nil; panic("on purpose: open") }
		})
		r.dial()
		expectPanic(t, r, await(t, r.opened, "Open"))
		until(t, "8 panics", func() bool { return r.engine.Stats().Loops[0].Panics == 8 })
		bystander.send("alive")
		bystander.expect("alive")
		if text := r.log.String(); !strings.Contains(text, "on purpose: read") || !strings.Contains(text, "socket_test.go") {
			t.Errorf("log lacks the panic or its stack:\n%s", text)
		}
	})
}

func expectPanic(t *testing.T, r *rig, id ID) {
	t.Helper()
	if c := await(t, r.closed, "Closed"); c.id != id || !errors.Is(c.err, ErrPanic) {
		t.Errorf("Closed(%v, %v), want (%v, %v)", c.id, c.err, id, ErrPanic)
	}
}

func TestCloseFromEveryCall(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		for _, flush := range []bool{true, false} {
			r := newRig(t, m, nil, func(h *probe) {
				h.open = func(h *probe, slot uint32) { h.loop.Close(slot, flush) }
			})
			p := r.dial()
			_, _ = p.Read(make([]byte, 1)) // EOF or a failed handshake
			p.Close()
			await(t, r.opened, "Open")
			await(t, r.closed, "Closed")
			r.probes[0].on(func(h *probe) {
				h.open = nil
				h.read = func(h *probe, slot uint32, b []byte) { h.loop.SendBytes(slot, b); h.loop.Close(slot, flush) }
			})
			p, _ = r.connect()
			p.send("x")
			if flush {
				p.expect("x")
			}
			_, _ = p.Read(make([]byte, 1))
			p.Close()
			await(t, r.closed, "Closed")
		}
	})
}

func TestEngineClosesUnderLoad(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, func(o *Options) { o.Loops = 2 }, nil)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 20 {
			p, _ := r.connect()
			wg.Go(func() { // ends when the engine closes the socket
				for {
					if _, err := p.Write(make([]byte, 1000)); err != nil {
						return
					}
				}
			})
			wg.Go(func() { _, _ = io.Copy(io.Discard, p) })
		}
		f := frameOf("task")
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f.Retain()
					r.engine.Loops()[0].Post(Task{F: f})
				}
			}
		})
		until(t, "traffic", func() bool { return r.engine.Stats().Loops[0].BytesOut > 100_000 })
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.engine.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		close(stop)
		wg.Wait()
		if n := f.refs.Load(); n != 1 {
			t.Errorf("%d references after Close, want 1", n)
		}
		if n := len(r.closed); n != 20 {
			t.Errorf("%d Closed calls, want 20", n)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.engine.Serve(ln); err == nil {
			t.Error("Serve after Close gave no error")
		}
	})
}

func TestAListenerMayBeClosedByItsMaker(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- r.engine.Serve(ln) }()
		r.addr, r.mode.tls = ln.Addr().String(), false
		p, _ := r.connect()
		ln.Close()
		if err := await(t, served, "end of Serve"); err != nil {
			t.Errorf("Serve: %v", err)
		}
		p.send("sockets stay")
		p.expect("sockets stay")
	})
}

func TestStopAcceptingKeepsSockets(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		p, _ := r.connect()
		r.engine.StopAccepting()
		r.engine.StopAccepting()
		if c, err := net.Dial("tcp", r.addr); err == nil {
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a socket was served after StopAccepting")
			}
			c.Close()
		}
		p.send("still here")
		p.expect("still here")
	})
}

// pipes is a listener of in-memory conns.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func TestAnyNetConnIsServed(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, nil, nil)
		ln := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- r.engine.Serve(ln) }()
		here, there := net.Pipe()
		ln.conns <- there
		id := await(t, r.opened, "Open")
		p := &peer{Conn: here, t: t}
		_ = p.SetDeadline(time.Now().Add(patience))
		p.send("through memory")
		p.expect("through memory")
		r.probes[0].loop.Post(Task{Kind: taskCall, P: func(h *probe) {
			h.loop.SendBytes(id.Slot(), []byte("bye"))
			h.loop.Close(id.Slot(), true)
		}})
		p.expect("bye")
		p.expectEOF()
		if c := await(t, r.closed, "Closed"); c.err != nil {
			t.Errorf("Closed with %v, want nil", c.err)
		}
		r.engine.StopAccepting()
		if err := await(t, served, "end of Serve"); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestAnIdleLoopSleeps(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, fast, nil)
		p, id := r.connect()
		p.send("x")
		p.expect("x")
		h := r.probes[0]
		h.on(func(h *probe) { h.loop.Pause(id.Slot()) })
		p.send("unread")
		var first uint32
		h.on(func(h *probe) { first = h.loop.Now() })
		before := r.engine.Stats().Loops[0].Turns
		reached := make(chan struct{})
		h.on(func(h *probe) {
			h.tick = func(h *probe, now uint32) {
				if now >= first+10 {
					h.tick = nil
					close(reached)
				}
			}
		})
		await(t, reached, "ten ticks")
		if turns := r.engine.Stats().Loops[0].Turns - before; turns > 30 {
			t.Errorf("%d turns in ten ticks with nothing to do", turns)
		}
	})
}

func TestALongFanOutLetsOthersIn(t *testing.T) {
	if !haveEpoll {
		return
	}
	const conns = 2000
	r := newRig(t, mode{option: ModeEpoll}, nil, nil)
	for range conns {
		r.dial()
	}
	for range conns {
		await(t, r.opened, "Open")
	}
	f := NewFrame(1000)
	f.B = f.B[:1000]
	defer f.Release()
	ran := make(chan uint64, 1)
	h := r.probes[0]
	h.on(func(h *probe) {
		for slot := range h.live {
			h.loop.Send(slot, f)
		}
		first := h.loop.stats.Sends
		h.loop.Post(Task{Kind: taskCall, P: func(h *probe) { ran <- h.loop.stats.Sends - first }})
	})
	if n := await(t, ran, "task"); n > turnBytes/1000+clockEvery {
		t.Errorf("%d writes before a task in between, want at most a turn's share", n)
	}
	until(t, "all is sent", func() bool { return r.engine.Stats().Loops[0].Sends == conns })
}

func TestABurstsMemoryIsGivenBack(t *testing.T) {
	r := newRig(t, mode{option: ModePortable}, func(o *Options) { o.tick = time.Millisecond }, nil)
	p, id := r.connect()
	const n = 3 * keepPieces
	h := r.probes[0]
	h.on(func(h *probe) {
		f := frameOf("ab")
		for range n {
			h.loop.Send(id.Slot(), f) // the same frame again: a piece each
		}
		f.Release()
	})
	p.expect(strings.Repeat("ab", n))
	until(t, "the slab is small again", func() (small bool) {
		h.on(func(h *probe) { small = len(h.loop.out.pieces) == 1 })
		return small
	})
	p.send("and works")
	p.expect("and works")
}

func TestASocketFillsHalfACacheLineAtMost(t *testing.T) {
	if n := unsafe.Sizeof(sock{}); n > 32 {
		t.Errorf("a sock is %d bytes, want at most 32", n)
	}
}
