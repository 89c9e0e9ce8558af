//go:build linux

package live

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// interval is how often the lines are drawn.
const interval = 500 * time.Millisecond

// Progress is how far the running one is. What is zero is not shown.
type Progress struct {
	Connected, Conns    int
	Delivered, Expected int64
	P99                 time.Duration // of the response, in the last second
	CPU                 float64       // of the server, cores
	RSS                 int64         // of the server, bytes
	Elapsed, Of         time.Duration // of the time that the run takes by its options, warm-up included
}

// View shows a measurement. Its methods may be called concurrently, and in any order that makes sense: Begin, then for each run
// Run, Phase and Progress as often as there is something new, and Done; End at last, on errors too, for it gives the cursor back.
type View struct {
	// static
	w        io.Writer
	terminal bool

	mu       sync.Mutex
	total    int // runs
	done     int
	begun    time.Time
	lastDone time.Time
	run      run
	stop     chan struct{}
	stopped  chan struct{}
}

// run is the one that is made.
type run struct {
	title, target string
	repeat, of    int
	phase         string
	progress      Progress
}

// New returns a view on w. terminal is whether w is one, see [IsTerminal].
func New(w io.Writer, terminal bool) *View { return &View{w: w, terminal: terminal} }

// Begin starts a measurement of so many runs.
func (v *View) Begin(total int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.total, v.done = total, 0
	v.begun = time.Now()
	v.lastDone = v.begun
	if !v.terminal || v.stop != nil {
		return
	}
	v.stop, v.stopped = make(chan struct{}), make(chan struct{})
	_, _ = io.WriteString(v.w, hideCursor)
	go v.redraw(v.stop, v.stopped)
}

// redraw draws until stop is closed.
func (v *View) redraw(stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			v.mu.Lock()
			v.draw("")
			v.mu.Unlock()
		case <-stop:
			return
		}
	}
}

// Run says that a run begins: the title of its scenario, its target, and which repeat of how many it is.
func (v *View) Run(title, target string, repeat, of int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.run = run{title: title, target: target, repeat: repeat, of: of}
}

// Phase says what the run does now: start, connect, warm-up, measure, drain.
func (v *View) Phase(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.run.phase = name
}

// Progress says how far the run is.
func (v *View) Progress(p Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.run.progress = p
}

// Done says that a run is finished, with its line.
func (v *View) Done(line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done++
	v.lastDone = time.Now()
	v.run = run{title: v.run.title}
	v.print(line)
}

// Note prints a line that finishes nothing: a run that is made again, a warning.
func (v *View) Note(line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.print(line)
}

// End takes the lines away that are drawn anew, and gives the cursor back. It may be called again.
func (v *View) End() {
	v.mu.Lock()
	stop, stopped := v.stop, v.stopped
	v.stop, v.stopped = nil, nil
	v.mu.Unlock()
	if stop == nil {
		return
	}
	close(stop)
	<-stopped
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = io.WriteString(v.w, clearLine+"\n"+clearBelow+fmt.Sprintf(up, 1)+showCursor)
}

// print writes a plain line, above those that are drawn.
func (v *View) print(line string) {
	if v.stop == nil {
		fmt.Fprintln(v.w, plain(line))
		return
	}
	v.draw(plain(line))
}

// What terminals are told: ECMA-48, and DEC's private modes 7 and 25.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	noWrap     = "\x1b[?7l" // a line that does not fit is cut, also if the window got smaller since it was made
	wrap       = "\x1b[?7h"
	clearLine  = "\x1b[2K"
	clearRest  = "\x1b[K"
	clearBelow = "\x1b[J" // never at the top: some terminals would keep the screen as text to scroll back to
	up         = "\x1b[%dA"
)

// draw replaces the lines by new ones, below the text. It is one write, so nothing flickers. The cursor, which is hidden, is left
// where the lines begin: if the window gets another width and the terminal breaks lines anew, it is still there.
func (v *View) draw(text string) {
	width := columns(v.w)
	lines := v.lines(time.Now(), width)
	var b bytes.Buffer
	b.WriteString(clearLine)
	if text != "" {
		b.WriteString(text)
		if utf8.RuneCountInString(text)%width > 0 { // else the cursor is still on its last letter
			b.WriteString(clearRest)
		}
		b.WriteString("\n" + clearLine)
	}
	b.WriteString(noWrap + strings.Join(lines, "\n"+clearLine) + "\n" + clearBelow + wrap)
	fmt.Fprintf(&b, up, len(lines))
	_, _ = v.w.Write(b.Bytes()) // a terminal that is gone is no reason to stop measuring
}
