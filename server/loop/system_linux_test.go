package loop

import (
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// descriptors returns how many descriptors the process has open.
func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) - 1 // the one that reads the directory
}

func TestFiveThousandSocketsLeaveNothingBehind(t *testing.T) {
	const conns = 5000
	for _, m := range []mode{{name: "epoll", option: ModeEpoll}, {name: "portable", option: ModePortable}} {
		t.Run(m.name, func(t *testing.T) {
			r := newRig(t, m, func(o *Options) { o.Loops = 2 }, nil)
			first, _ := r.connect()
			first.Close()
			await(t, r.closed, "Closed")
			fds, routines := 0, 0
			until(t, "one socket is gone", func() bool {
				was := fds
				fds, routines = descriptors(t), runtime.NumGoroutine()
				return fds == was && r.engine.Conns() == 0
			})
			peers := make([]int, conns)
			for i := range peers {
				peers[i] = rawDial(t, r.addr)
			}
			for range peers {
				await(t, r.opened, "Open")
			}
			if n := runtime.NumGoroutine() - routines; m.option == ModeEpoll && n > 5 {
				t.Errorf("%d goroutines more with %d sockets, want none", n, conns)
			}
			a, b := r.engine.Loops()[0].conns.Load(), r.engine.Loops()[1].conns.Load()
			if a+b != conns || max(a, b)-min(a, b) > conns/50 {
				t.Errorf("loops have %d and %d sockets, want an even %d", a, b, conns)
			}
			for _, fd := range peers {
				syscall.Close(fd)
			}
			for range peers {
				if c := await(t, r.closed, "Closed"); c.err != io.EOF {
					t.Fatalf("Closed with %v, want EOF", c.err)
				}
			}
			until(t, "all descriptors closed", func() bool { return descriptors(t) <= fds && r.engine.Conns() == 0 })
			until(t, "all goroutines gone", func() bool { return runtime.NumGoroutine() <= routines })
			for _, h := range r.probes {
				h.on(func(h *probe) {
					if n := h.loop.out.inUse; n != 0 || len(h.live) != 0 {
						t.Errorf("%d pieces and %d slots in use, want none", n, len(h.live))
					}
				})
			}
		})
	}
}

// rawDial connects a descriptor without any Go object behind it.
func rawDial(t testing.TB, addr string) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var port int
	for _, c := range addr[len("127.0.0.1:"):] {
		port = port*10 + int(c-'0')
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestNoDescriptorLeft(t *testing.T) {
	for _, m := range []mode{{name: "epoll", option: ModeEpoll}, {name: "portable", option: ModePortable}} {
		t.Run(m.name, func(t *testing.T) {
			r := newRig(t, m, nil, nil)
			p, _ := r.connect()
			var was syscall.Rlimit
			if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
				t.Fatal(err)
			}
			low := was
			low.Cur = uint64(descriptors(t) + 20)
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
				t.Fatal(err)
			}
			var fill []int
			free := sync.OnceFunc(func() {
				_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)
				for _, fd := range fill {
					syscall.Close(fd)
				}
			})
			defer free()
			for {
				fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
				if err != nil {
					break
				}
				fill = append(fill, fd)
			}
			syscall.Close(fill[0])
			fill = fill[1:]
			fd := rawDial(t, r.addr)
			defer syscall.Close(fd)
			until(t, "the lack is counted", func() bool { return r.engine.Stats().Accept.Files > 0 })
			if m.option == ModeEpoll {
				if n, _ := syscall.Read(fd, make([]byte, 1)); n > 0 {
					t.Errorf("the refused peer read %d bytes", n)
				}
			}
			p.send("others go on")
			p.expect("others go on")
			free()
			if m.option == ModePortable {
				await(t, r.opened, "Open of the one that waited")
			}
			again, _ := r.connect()
			again.send("room")
			again.expect("room")
		})
	}
}
