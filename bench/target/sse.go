//go:build linux

package target

import (
	"context"
	"errors"
)

// sseTarget will be Gatecast spoken to by Server-Sent Events. TODO(lead): when server serves SSE.
type sseTarget struct{}

const noSSE = "gatecast does not serve SSE yet"

// Name is gatecast-sse.
func (sseTarget) Name() string { return "gatecast-sse" }

// About says that it is not there yet.
func (sseTarget) About() string { return "Gatecast by Server-Sent Events: " + noSSE }

// Cannot is everything.
func (sseTarget) Cannot(Options) string { return noSSE }

// Start fails.
func (sseTarget) Start(context.Context, Options) (Instance, error) { return nil, errors.New(noSSE) }
