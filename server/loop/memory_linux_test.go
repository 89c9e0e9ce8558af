//go:build !386 && !s390x

package loop

import (
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// Of seccomp(2) and prctl(2), what the syscall package does not name.
const (
	prSetNoNewPrivs   = 38
	prSetSeccomp      = 22
	seccompModeFilter = 2
	seccompErrno      = 0x00050000
	seccompAllow      = 0x7fff0000
)

// sockFilter is one instruction of BPF, sockProgram a program.
type sockFilter struct {
	code  uint16
	jt, _ uint8 // no program here jumps if false
	k     uint32
}

type sockProgram struct {
	n      uint16
	filter *sockFilter
}

// failing makes system calls of this thread fail with errno, for as long as it lives.
func failing(errno syscall.Errno, calls ...uint32) error {
	const loadNumber, jumpIfEqual, ret = 0x20, 0x15, 0x06
	program := []sockFilter{{code: loadNumber}}
	for i, call := range calls {
		program = append(program, sockFilter{code: jumpIfEqual, jt: uint8(len(calls) - i), k: call})
	}
	program = append(program, sockFilter{code: ret, k: seccompAllow}, sockFilter{code: ret, k: seccompErrno | uint32(errno)})
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return os.NewSyscallError("prctl", e)
	}
	p := sockProgram{uint16(len(program)), &program[0]}
	_, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, prSetSeccomp, seccompModeFilter, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(program)
	if e != 0 {
		return os.NewSyscallError("prctl", e)
	}
	return nil
}

// starved runs f on a thread for whose sockets the kernel has no memory.
func starved(f func()) <-chan error {
	done := make(chan error, 1)
	go func() { // ends with f, and so does the thread, which is never unlocked
		runtime.LockOSThread()
		err := failing(syscall.ENOBUFS, syscall.SYS_SENDTO, syscall.SYS_ACCEPT4)
		if err == nil {
			f()
		}
		done <- err
	}()
	return done
}

func TestNoKernelMemoryToAccept(t *testing.T) {
	for _, m := range []mode{{name: "epoll", option: ModeEpoll}, {name: "portable", option: ModePortable}} {
		t.Run(m.name, func(t *testing.T) {
			r := newRig(t, m, nil, nil)
			p, _ := r.connect()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			done := starved(func() { served <- r.engine.Serve(ln) })
			waits, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer waits.Close()
			until(t, "the lack is counted, and accept tried again", func() bool {
				select {
				case err := <-done:
					t.Fatalf("Serve ended: %v, %v", err, r.engine.Stats().Accept)
				default:
				}
				return r.engine.Stats().Accept.Memory > 2
			})
			p.send("others go on")
			p.expect("others go on")
			ln.Close()
			if err := await(t, done, "the end of the starved thread"); err != nil {
				t.Fatal(err)
			}
			if err := await(t, served, "Serve"); err != nil {
				t.Errorf("Serve = %v", err)
			}
			again, _ := r.connect()
			again.send("room")
			again.expect("room")
		})
	}
}

func TestNoKernelMemoryToSendIsABacklog(t *testing.T) {
	r := newRig(t, mode{name: "epoll", option: ModeEpoll}, nil, nil)
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	epoll := r.engine.Loops()[0].raw.(*epoll)
	write := func() (int, error) { return epoll.write(1, &sock{ref: uint32(fds[0])}, []byte("x")) }
	if n, err := write(); n != 1 || err != nil {
		t.Fatalf("write = %d, %v, want 1 byte", n, err)
	}
	var n int
	var writeErr error
	if err := <-starved(func() { n, writeErr = write() }); err != nil {
		t.Fatal(err)
	}
	if n != 0 || writeErr != nil {
		t.Errorf("without kernel memory write = %d, %v, want 0 bytes and no reason to close the socket", n, writeErr)
	}
}
