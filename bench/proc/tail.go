package proc

import (
	"bytes"
	"sync"
)

// tailBytes is how much a Tail keeps.
const tailBytes = 4 << 10

// Tail keeps the end of what a child writes, for the message when it fails. Its zero value is ready; it may be used concurrently.
type Tail struct {
	mu sync.Mutex
	b  []byte // guarded by mu
}

// Write implements io.Writer.
func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-tailBytes):]
	return len(b), nil
}

// String is what is kept, without space around it.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
