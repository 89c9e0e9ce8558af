//go:build linux

package crew

// Send gives frames that client i publishes to the kernel, or keeps them until it takes them. It is for one goroutine beside the one
// that receives.
func (l *Local) Send(i int, frames []byte) error { return l.sw.Send(i, frames) }
