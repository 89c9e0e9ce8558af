//go:build linux

package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/gatecast/gatecast/bench/agent"
)

// gather starts the processes of receivers and waits for those from elsewhere, if the receivers are not all in this process.
func (o *settings) gather(ctx context.Context, tell io.Writer) (err error) {
	if o.Procs == 1 && o.Agents == 0 {
		return nil
	}
	a := agent.Options{Procs: o.Procs, Others: o.Agents, Tell: tell}
	if o.Agents > 0 {
		a.Listen = o.listen
	}
	if o.host, err = agent.Listen(a); err != nil {
		return err
	}
	if err := o.host.Gather(ctx); err != nil {
		return errors.Join(err, o.dismiss())
	}
	return nil
}

// dismiss ends them.
func (o *settings) dismiss() error {
	if o.host == nil {
		return nil
	}
	return o.host.Close()
}

// joinAgents is the command of an agent.
func joinAgents(ctx context.Context, args []string, stderr io.Writer) error {
	f := flag.NewFlagSet("gatecast bench "+agent.Command, flag.ContinueOnError)
	f.SetOutput(stderr)
	host, err := os.Hostname()
	if err != nil {
		host = "unnamed"
	}
	address := f.String("join", "", "`address` that the scenario printed: nats://TOKEN@HOST:PORT")
	name := f.String("name", host, "what this agent is called in messages")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &usageError{err.Error()}
	}
	switch {
	case f.NArg() > 0:
		return &usageError{fmt.Sprintf("unexpected argument %q; flags begin with -", f.Arg(0))}
	case *address == "":
		return &usageError{"which run? give -join with the address that the scenario printed"}
	}
	moreProcs()
	return agent.Join(ctx, *address, *name)
}
