//go:build linux

package target

import "errors"

// nodes are the processes of a server or of a cluster.
type nodes struct{ processes []*process }

// PIDs are all of them, the first node first.
func (n *nodes) PIDs() (pids []int) {
	for _, p := range n.processes {
		pids = append(pids, p.PIDs()...)
	}
	return pids
}

// Stop ends them all at once and waits: a node that is the last of its cluster may take longer.
func (n *nodes) Stop() error {
	errs := make([]error, len(n.processes))
	done := make(chan struct{})
	for i, p := range n.processes {
		go func() { // ends with the process
			errs[i] = p.Stop()
			done <- struct{}{}
		}()
	}
	for range n.processes {
		<-done
	}
	return errors.Join(errs...)
}

// abandon stops what was started of a server that cannot be started; those that have ended already have been told of.
func (n *nodes) abandon() (err error) {
	for _, p := range n.processes {
		err = errors.Join(err, ignoreEnded(p))
	}
	return err
}
