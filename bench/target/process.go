//go:build linux

package target

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/gatecast/gatecast/bench/proc"
)

// stopTimeout is how long a server may take to end after SIGTERM.
const stopTimeout = 10 * time.Second

// outputDelay is how long what a server leaves behind may keep its output open when it is gone.
const outputDelay = 2 * time.Second

// process is a child that ends with us, whatever happens.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it is gone
	said *proc.Tail
}

// start runs the command, and kills it if we die. Its standard output is the caller's to set before; standard error is kept for
// messages.
func start(cmd *exec.Cmd) (*process, error) { return startDyingBy(syscall.SIGKILL, cmd) }

// startDyingBy is start with another signal to end by if we die and cannot end it in order.
func startDyingBy(signal syscall.Signal, cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{}), said: &proc.Tail{}}
	cmd.Stderr = p.said
	if cmd.Stdout == nil {
		cmd.Stdout = p.said
	}
	cmd.WaitDelay = outputDelay
	// Its own group, so that Ctrl-C reaches us alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: signal}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() { // ends with the process
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// ended reports whether the process is gone, and what it said, as an error.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %s\n%s", p.cmd.Path, p.cmd.ProcessState, p.said)
	default:
		return nil
	}
}

// PIDs is the process.
func (p *process) PIDs() []int { return []int{p.cmd.Process.Pid} }

// kill ends the process at once and waits for it.
func (p *process) kill() error {
	if err := p.ended(); err != nil {
		return err
	}
	err := p.cmd.Process.Kill()
	<-p.done
	return err
}

// Stop asks the process to end and kills it when it does not.
func (p *process) Stop() error {
	if err := p.ended(); err != nil {
		return fmt.Errorf("before it was told to: %w", err)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		err := p.cmd.Process.Kill()
		<-p.done
		return errors.Join(fmt.Errorf("%s did not end within %v of SIGTERM", p.cmd.Path, stopTimeout), err)
	}
}
