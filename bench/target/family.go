//go:build linux

package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// family is a server that has children of its own, all in one process group.
type family struct{ *process }

// outputDelay is how long children may keep the output of a server open that is gone.
const outputDelay = 2 * time.Second

// startFamily runs the command as start does, but if we die it is asked to end, not killed: it must end its children.
func startFamily(cmd *exec.Cmd) (family, error) {
	p := &process{cmd: cmd, done: make(chan struct{}), said: &tail{}}
	cmd.Stderr = p.said
	if cmd.Stdout == nil {
		cmd.Stdout = p.said
	}
	cmd.WaitDelay = outputDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return family{}, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() { // ends with the process
		_ = cmd.Wait()
		close(p.done)
	}()
	return family{p}, nil
}

// PIDs are the server and its children, as they are now.
func (f family) PIDs() []int {
	group := f.cmd.Process.Pid
	pids := []int{group}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // ended since
		}
		// PID (NAME) STATE PPID PGRP …; the name may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && pid != group && len(fields) > 2 && fields[2] == strconv.Itoa(group) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids[1:])
	return pids
}

// reapTimeout is how long the end of a family's orphans is waited for: a child that the server did not wait for, such as
// Python's resource tracker, stays a zombie until process 1 gets round to it. Some never do, and that is no fault of a run.
const reapTimeout = 3 * time.Second

// Stop asks the server to end, which ends its children, and kills what is left.
func (f family) Stop() error {
	err := f.process.Stop()
	// Nobody else gets the number of a group as long as it has a process.
	group := -f.cmd.Process.Pid
	if killErr := syscall.Kill(group, syscall.SIGKILL); errors.Is(killErr, syscall.ESRCH) {
		return err
	} else if killErr != nil {
		return errors.Join(err, fmt.Errorf("end the children of %s: %w", f.cmd.Path, killErr))
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(reapTimeout); time.Now().Before(deadline); <-tick.C {
		if errors.Is(syscall.Kill(group, 0), syscall.ESRCH) {
			break
		}
	}
	return err
}

// rival is a running server of others: families that are stopped one stage after the other, in a directory of their own.
type rival struct {
	dir     string
	addrs   []netip.AddrPort
	version string
	pids    []int
	stages  [][]family // in the order of their start; of one stage all stop at once
}

// Addrs is where clients connect.
func (r *rival) Addrs() []netip.AddrPort { return r.addrs }

// PIDs are all processes there were when it became ready.
func (r *rival) PIDs() []int { return r.pids }

// Version names what runs.
func (r *rival) Version() string { return r.version }

// Stop ends the last stage first: it needs those before.
func (r *rival) Stop() (err error) {
	for _, stage := range slices.Backward(r.stages) {
		errs := make(chan error)
		for _, f := range stage {
			go func() { errs <- f.Stop() }() // ends with the family
		}
		for range stage {
			err = errors.Join(err, <-errs)
		}
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// abandon stops what was started of a server that cannot be started; what ended by itself has been told of.
func (r *rival) abandon() error {
	for i, stage := range r.stages {
		r.stages[i] = slices.DeleteFunc(stage, func(f family) bool {
			if f.ended() == nil {
				return false
			}
			_ = syscall.Kill(-f.cmd.Process.Pid, syscall.SIGKILL)
			return true
		})
	}
	return r.Stop()
}

// ready notes which processes there are.
func (r *rival) ready() {
	r.pids = nil
	for _, stage := range r.stages {
		for _, f := range stage {
			r.pids = append(r.pids, f.PIDs()...)
		}
	}
}

// awaits waits until ask succeeds. It fails if a family of the rival ends before, or with what who says after startTimeout.
func (r *rival) awaits(ctx context.Context, who family, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("%s was not ready within %v", who.cmd.Path, startTimeout))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		for _, stage := range r.stages {
			for _, f := range stage {
				if ended := f.ended(); ended != nil {
					return ended
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w\n%s", context.Cause(ctx), err, who.said)
		}
	}
}

// answers asks for a page; any answer is a sign of life.
func answers(ctx context.Context, addr netip.AddrPort) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String()+"/", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// lines counts the lines written to it that begin with a word.
type lines struct {
	word string
	n    atomic.Int32
	held []byte // a line that is not whole; only the writer uses it
}

func (l *lines) Write(b []byte) (int, error) {
	l.held = append(l.held, b...)
	for {
		i := bytes.IndexByte(l.held, '\n')
		if i < 0 {
			return len(b), nil
		}
		if bytes.HasPrefix(l.held[:i], []byte(l.word)) {
			l.n.Add(1)
		}
		l.held = l.held[i+1:]
	}
}
