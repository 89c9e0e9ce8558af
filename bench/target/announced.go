//go:build linux

package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// announced is a process that prints one line when it serves: where it listens.
type announced struct {
	*process
	out *os.File // owned by words
}

// startAnnounced runs the command; words must follow.
func startAnnounced(cmd *exec.Cmd) (*announced, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	p, err := start(cmd)
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return &announced{p, r}, nil
}

// words waits for the line and returns its words. If there is none, the process is stopped.
func (a *announced) words(ctx context.Context) ([]string, error) {
	defer a.out.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("%s was not ready within %v", a.cmd.Path, startTimeout))
	defer cancel()
	// The pipe ends with the process.
	cancelKill := context.AfterFunc(ctx, func() { _ = a.cmd.Process.Signal(syscall.SIGKILL) })
	defer cancelKill()
	line, err := bufio.NewReader(a.out).ReadString('\n')
	if words := strings.Fields(line); err == nil && len(words) > 0 {
		return words, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, fmt.Errorf("%s did not say where it listens: %w\n%s", a.cmd.Path, errors.Join(err, ignoreEnded(a.process)), a.said)
}

// address is words for a process that says where it listens first; more is what it says besides.
func (a *announced) address(ctx context.Context) (addr netip.AddrPort, more []string, err error) {
	words, err := a.words(ctx)
	if err != nil {
		return addr, nil, err
	}
	if addr, err = netip.ParseAddrPort(words[0]); err != nil {
		return addr, nil, errors.Join(fmt.Errorf("%s says it listens on %q: %w", a.cmd.Path, words[0], err), ignoreEnded(a.process))
	}
	return addr, words[1:], nil
}
