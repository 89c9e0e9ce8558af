//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/gatecast/gatecast/bench/proc"
)

// endTimeout is how long a child may take to end.
const endTimeout = 10 * time.Second

// child is an agent that the host started.
type child struct {
	cmd  *exec.Cmd
	said *proc.Tail
	done chan struct{} // closed when it is gone
}

// startChild runs this program again as an agent.
func startChild(url, name string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, Command, "-join", url, "-name", name), said: &proc.Tail{}, done: make(chan struct{})}
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
