//go:build linux

package html

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// browser is a headless Chromium, spoken to by the DevTools protocol over two pipes: JSON messages, each ended by a zero byte.
type browser struct {
	t      testing.TB // the subtest that looks
	parent testing.TB // the test that opened it
	cmd    *exec.Cmd
	in     *os.File
	page   string // session of the page

	mu     sync.Mutex
	next   int
	calls  map[int]chan answer
	events []event
	wake   chan struct{} // closed and renewed at each event
	ended  error
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

type event struct {
	Method string
	Params json.RawMessage
}

// patience is how long the browser may take for anything, on a busy machine.
const patience = time.Minute

// findChromium skips the test without a Chromium, or fails it where skipping is forbidden.
func findChromium(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		const text = "Chromium is not installed: apt-get install chromium"
		if os.Getenv("GATECAST_TEST_NO_SKIP") == "1" {
			t.Fatalf("GATECAST_TEST_NO_SKIP=1 forbids skipping: %s", text)
		}
		t.Skip("SKIPPED: " + text)
	}
	return path
}

// openBrowser starts a Chromium with an empty page; it ends with the test.
func openBrowser(t testing.TB) *browser {
	t.Helper()
	path := findChromium(t)
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, parent: t, in: in, calls: make(map[int]chan answer), wake: make(chan struct{})}
	b.cmd = exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe",
		"--user-data-dir="+t.TempDir())
	b.cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	read := make(chan struct{})
	go func() { // ends when the browser does
		defer close(read)
		b.read(out)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) // with all its children
		_ = b.cmd.Wait()
		_ = in.Close()
		<-read
		_ = out.Close()
	})
	var made struct{ TargetID string }
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &made)
	var attached struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &attached)
	b.page = attached.SessionID
	for _, domain := range []string{"Page", "Network", "Runtime", "Log"} {
		b.do(domain+".enable", nil, nil)
	}
	return b
}

func (b *browser) read(out *os.File) {
	r := bufio.NewReader(out)
	for {
		raw, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			b.ended = fmt.Errorf("the browser ended: %w", err)
			for _, c := range b.calls {
				close(c)
			}
			b.calls = nil
			b.mu.Unlock()
			return
		}
		var m struct {
			ID int
			answer
			event
		}
		if json.Unmarshal(bytes.TrimSuffix(raw, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.calls[m.ID]; m.ID > 0 && c != nil {
			c <- m.answer
			delete(b.calls, m.ID)
		} else if m.Method != "" {
			b.events = append(b.events, m.event)
			close(b.wake)
			b.wake = make(chan struct{})
		}
		b.mu.Unlock()
	}
}

// do calls a method of the page.
func (b *browser) do(method string, params, result any) {
	b.t.Helper()
	b.call(b.page, method, params, result)
}

func (b *browser) call(session, method string, params, result any) {
	b.t.Helper()
	c := make(chan answer, 1)
	b.mu.Lock()
	if b.ended != nil {
		b.mu.Unlock()
		b.t.Fatal(b.ended)
	}
	b.next++
	id := b.next
	b.calls[id] = c
	b.mu.Unlock()
	m := map[string]any{"id": id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if session != "" {
		m["sessionId"] = session
	}
	raw, err := json.Marshal(m)
	if err == nil {
		_, err = b.in.Write(append(raw, 0))
	}
	if err != nil {
		b.t.Fatal(method, err)
	}
	select {
	case a, ok := <-c:
		switch {
		case !ok:
			b.t.Fatal(method, errors.New("the browser ended"))
		case a.Error != nil:
			b.t.Fatal(method, a.Error.Message)
		case result != nil:
			if err := json.Unmarshal(a.Result, result); err != nil {
				b.t.Fatal(method, err)
			}
		}
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer in %v", method, patience)
	}
}

// open loads an address in a theme and width, and waits until it is there. Events from before are forgotten.
func (b *browser) open(url, theme string, width int) {
	b.t.Helper()
	features := []map[string]string{{"name": "prefers-color-scheme", "value": theme}}
	b.do("Emulation.setEmulatedMedia", map[string]any{"features": features}, nil)
	screen := map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
	b.do("Emulation.setDeviceMetricsOverride", screen, nil)
	b.mu.Lock()
	b.events = nil
	b.mu.Unlock()
	b.do("Page.navigate", map[string]any{"url": url}, nil)
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		wake := b.wake
		for _, e := range b.events {
			if e.Method == "Page.loadEventFired" {
				b.mu.Unlock()
				return
			}
		}
		b.mu.Unlock()
		select {
		case <-wake:
		case <-deadline:
			b.t.Fatalf("%s is not loaded after %v", url, patience)
		}
	}
}

// seen are the events since the page was opened, by method.
func (b *browser) seen(method string) (params []json.RawMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e.Method == method {
			params = append(params, e.Params)
		}
	}
	return params
}

// eval runs a script in the page and decodes its JSON value.
func (b *browser) eval(script string, value any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.do("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("script: %s %s", r.ExceptionDetails.Text, r.ExceptionDetails.Exception.Description)
	}
	if err := json.Unmarshal(r.Result.Value, value); err != nil {
		b.t.Fatalf("script returned %s: %v", r.Result.Value, err)
	}
}

// shoot writes a picture of the whole page.
func (b *browser) shoot(path string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.do("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	b.keep(path, shot.Data)
}

// print writes the page as a PDF on A4.
func (b *browser) print(path string) {
	b.t.Helper()
	var pdf struct{ Data string }
	b.do("Page.printToPDF", map[string]any{"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": true}, &pdf)
	b.keep(path, pdf.Data)
}

func (b *browser) keep(path, data string) {
	b.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(data)
	if err == nil {
		err = os.WriteFile(path, raw, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
