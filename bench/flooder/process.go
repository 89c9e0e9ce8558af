//go:build linux

package flooder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/gatecast/gatecast/bench/proc"
)

// Flooder is a process that floods once. Its methods are called in this order: Flood, Wait, Close; Close at any time.
type Flooder struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  bytes.Buffer // read when done is closed
	said *proc.Tail
	done chan struct{} // closed when the process is gone
	err  error         // how it ended; read when done is closed
}

// Start runs this program again as a flooder, which waits for its order.
func Start() (*Flooder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &Flooder{cmd: exec.Command(self, Command), said: &proc.Tail{}, done: make(chan struct{})}
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	f.cmd.Stdout, f.cmd.Stderr = &f.out, f.said
	// Its own group, so that Ctrl-C reaches us alone and we end it in order; Pdeathsig for when we cannot.
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := f.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a flooder: %w", err)
	}
	go func() { // ends with the process
		f.err = f.cmd.Wait()
		close(f.done)
	}()
	return f, nil
}

// Flood gives the order. It does not wait for anything.
func (f *Flooder) Flood(o Order) error {
	return errors.Join(json.NewEncoder(f.in).Encode(o), f.in.Close())
}

// Wait returns what became of the flood, once its last handshake is answered.
func (f *Flooder) Wait(ctx context.Context) (Counts, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return Counts{}, context.Cause(ctx)
	}
	var c Counts
	if f.err != nil {
		return c, fmt.Errorf("the flooder ended: %w %s", f.err, f.said)
	}
	if err := json.Unmarshal(f.out.Bytes(), &c); err != nil {
		return c, fmt.Errorf("the flooder's answer: %w %s", err, f.said)
	}
	c.CPU = f.cmd.ProcessState.UserTime() + f.cmd.ProcessState.SystemTime()
	return c, nil
}

// Close ends the process if it is there still.
func (f *Flooder) Close() error {
	select {
	case <-f.done:
		return nil
	default:
	}
	err := f.cmd.Process.Kill()
	<-f.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
