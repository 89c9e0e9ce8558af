//go:build linux

package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// endTimeout is how long a child may take to end.
const endTimeout = 10 * time.Second

// child is an agent that the host started.
type child struct {
	cmd  *exec.Cmd
	said *tail
	done chan struct{} // closed when it is gone
}

// startChild runs this program again as an agent.
func startChild(url, name string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, Command, "-join", url, "-name", name), said: &tail{}, done: make(chan struct{})}
	c.cmd.Stderr = c.said
	// Its own group, so that Ctrl-C reaches us alone and we end it in order; Pdeathsig for when we cannot.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start an agent: %w", err)
	}
	go func() { // ends with the process
		_ = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// ended says how it ended.
func (c *child) ended() error {
	return fmt.Errorf("process %d of receivers ended: %s %s", c.cmd.Process.Pid, c.cmd.ProcessState, c.said)
}

// stop waits for a child that has been told to end, or ends it.
func (c *child) stop() error {
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case <-c.done:
		return nil
	case <-timer.C:
		err := c.cmd.Process.Kill()
		<-c.done
		return errors.Join(fmt.Errorf("process %d of receivers did not end within %v", c.cmd.Process.Pid, endTimeout), err)
	}
}

// tailBytes is how much of what a child says is kept.
const tailBytes = 2 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte // guarded by mu
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-tailBytes):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
