//go:build linux

package flooder

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/gatecast/gatecast/bench/ledger"
)

// Command is the word on our own command line that makes a process a flooder; see [Serve].
const Command = "flooder"

const (
	answerWithin = 10 * time.Second // else a handshake has failed
	maxOpen      = 8192             // handshakes under way; above it the flood waits, and says so by what it took
)

// Serve is the process of a flooder: it reads an [Order], carries it out, and writes [Counts].
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	var o Order
	if err := json.NewDecoder(in).Decode(&o); errors.Is(err, io.EOF) {
		return nil // the harness has no use for a flood
	} else if err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	if len(o.Requests) == 0 || o.Rate <= 0 {
		return errors.New("a flood needs requests and a rate")
	}
	return json.NewEncoder(out).Encode(flood(ctx, o))
}

// tally counts answers.
type tally struct {
	mu sync.Mutex
	Counts
}

func (t *tally) add(status string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil:
		t.Failed++
		if t.Error == "" {
			t.Error = err.Error()
		}
	case status == "101":
		t.Accepted++
	default:
		t.Refused++
	}
}

func flood(ctx context.Context, o Order) Counts {
	var t tally
	var all sync.WaitGroup
	room := make(chan struct{}, maxOpen)
	for k := range o.due() {
		due := o.From + int64(float64(k)*1e9/o.Rate)
		if wait(ctx, time.Duration(due-ledger.Now())) != nil {
			break
		}
		room <- struct{}{}
		t.Due++
		all.Go(func() { // ends with the answer, within answerWithin
			t.add(handshake(ctx, o.Addr, o.Requests[k%len(o.Requests)]))
			<-room
		})
	}
	all.Wait()
	t.Took = time.Duration(ledger.Now() - o.From)
	return t.Counts
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handshake sends a request, and resets the connection once its answer has a status.
func handshake(ctx context.Context, addr netip.AddrPort, request []byte) (status string, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetLinger(0) // no port waits
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	line, err := bufio.NewReaderSize(conn, 512).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("wait for the answer to a handshake: %w", err)
	}
	version, rest, _ := strings.Cut(line, " ")
	status, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
	if !strings.HasPrefix(version, "HTTP/") || len(status) != 3 {
		return "", fmt.Errorf("a handshake was answered %q", line)
	}
	return status, nil
}
