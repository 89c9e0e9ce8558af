package loop

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// The values of [Options.Mode].
const (
	ModeAuto     = "auto"     // epoll on Linux for plain TCP listeners, portable for all else
	ModeEpoll    = "epoll"    // as auto, but New refuses where there is no epoll
	ModePortable = "portable" // net.Conn for every socket, on any system
)

// maxLoops is what the 8 loop bits of an [ID] can name.
const maxLoops = 256

// Options are the settings of an [Engine]; they stand in section [server].
type Options struct {
	// Mode is how sockets are driven: "auto", "epoll" or "portable". Default "auto". "portable" helps to tell a fault of the
	// engine from one above it.
	Mode string `toml:"mode"`
	// Loops is the number of event loops, 0 to 256. Default 0: one for each CPU the process may use (GOMAXPROCS).
	Loops int `toml:"loops"`
	// Together is how many sockets a loop is given before the next one gets any. Default 0: they are spread evenly from the first on.
	// What concerns few sockets costs less if no other loop has to be woken for it.
	Together int
	// WriteBuffer is how many bytes not yet on the wire the kernel may hold for a socket (TCP_NOTSENT_LOWAT; Linux only, 0 =
	// the system's own limit, often 4 MB). Default 32768. What exceeds it waits as references to shared messages, so a slow
	// conn is noticed early and costs little; raise it for few conns over long fast links.
	WriteBuffer int `toml:"write_buffer"`
	// UserTimeout is how long sent bytes may stay unacknowledged before the kernel gives the peer up (TCP_USER_TIMEOUT; Linux
	// only, 0 = the system's own limit, about 15 minutes). Default 30s. Raise it for mobile networks with long gaps.
	UserTimeout time.Duration `toml:"user_timeout"`

	tick time.Duration // length of one tick, 0 = one second; tests shorten it
}

// DefaultOptions returns the settings of a server that has no reason for others.
func DefaultOptions() Options {
	return Options{Mode: ModeAuto, WriteBuffer: 32 << 10, UserTimeout: 30 * time.Second}
}

// Validate reports every setting that cannot work, with the value that would.
func (o *Options) Validate() error {
	var errs []error
	switch o.Mode {
	case "", ModeAuto, ModePortable:
	case ModeEpoll:
		if !haveEpoll {
			errs = append(errs, fmt.Errorf(`mode "epoll" needs Linux, not %s; use "auto"`, runtime.GOOS))
		}
	default:
		errs = append(errs, fmt.Errorf(`mode %q is unknown; use "auto", "epoll" or "portable"`, o.Mode))
	}
	if o.Loops < 0 || o.Loops > maxLoops {
		errs = append(errs, fmt.Errorf("loops = %d is impossible; use 1 to %d, or 0 for one per CPU", o.Loops, maxLoops))
	}
	if o.Together < 0 {
		errs = append(errs, fmt.Errorf("together = %d is impossible; use 0 or more", o.Together))
	}
	if o.WriteBuffer < 0 || o.WriteBuffer > 1<<30 {
		errs = append(errs, fmt.Errorf("write_buffer = %d is impossible; use 4096 to 1073741824 bytes, or 0 for the system's limit", o.WriteBuffer))
	}
	if o.UserTimeout < 0 || o.UserTimeout > 24*time.Hour {
		errs = append(errs, fmt.Errorf(`user_timeout = %q is impossible; use "1s" to "24h", or 0 for the system's limit`, o.UserTimeout))
	}
	return errors.Join(errs...)
}
