//go:build !linux || 386 || s390x

package loop

import (
	"errors"
	"net"
)

// haveEpoll tells that this system cannot run raw descriptors: every socket is a net.Conn.
const haveEpoll = false

var errNoEpoll = errors.New("no epoll on this system")

func newEpoll(*Loop) (poller, transport, error) { return nil, nil, errNoEpoll }

func closeRaw(int) {}

func tuneConn(net.Conn, *Options) {}

func (e *Engine) serveRaw(*net.TCPListener) error { return errNoEpoll }
