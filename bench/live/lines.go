//go:build linux

package live

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/gatecast/gatecast/bench/result"
)

// barWidth is how many letters the bar has.
const barWidth = 30

// lines are what is drawn now: none is longer than the width.
func (v *View) lines(now time.Time, width int) []string {
	r := v.run
	var lines []string
	if r.title != "" {
		lines = append(lines, r.title)
	}
	if r.target != "" {
		line := fmt.Sprintf("%s, repeat %d of %d", r.target, r.repeat, r.of)
		if r.phase != "" {
			line += ": " + r.phase
		}
		if p := r.progress; p.Of > 0 {
			line += fmt.Sprintf(", %s of %s", clock(p.Elapsed), clock(p.Of))
		}
		lines = append(lines, line)
		if counts := r.progress.counts(); counts != "" {
			lines = append(lines, counts)
		}
	}
	lines = append(lines, v.bar(now))
	for i, line := range lines {
		lines[i] = cut(plain(line), width)
	}
	return lines
}

// counts are the numbers that there are.
func (p Progress) counts() string {
	var parts []string
	count := func(n int64) string { return result.Human("", float64(n)) }
	if p.Conns > 0 {
		parts = append(parts, fmt.Sprintf("connected %s of %s", count(int64(p.Connected)), count(int64(p.Conns))))
	}
	switch {
	case p.Expected > 0:
		parts = append(parts, fmt.Sprintf("delivered %s of %s", count(p.Delivered), count(p.Expected)))
	case p.Delivered > 0:
		parts = append(parts, "delivered "+count(p.Delivered))
	}
	if p.P99 > 0 {
		parts = append(parts, "p99 "+result.Human("-ns", float64(p.P99)))
	}
	if p.CPU > 0 {
		parts = append(parts, fmt.Sprintf("CPU %.2f", p.CPU))
	}
	if p.RSS > 0 {
		parts = append(parts, "RSS "+result.Human("-B", float64(p.RSS)))
	}
	return strings.Join(parts, "  ")
}

// bar is how far the whole measurement is, and how long it may take yet: the runs that are left by what the others took.
func (v *View) bar(now time.Time) string {
	total := max(1, v.total)
	share := min(1, (float64(v.done)+v.run.progress.share())/float64(total))
	full := int(share * barWidth)
	line := fmt.Sprintf("[%s%s] %d of %d runs, %s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), v.done, v.total,
		clock(now.Sub(v.begun)))
	if v.done > 0 && v.done < v.total {
		left := v.lastDone.Sub(v.begun)/time.Duration(v.done)*time.Duration(v.total-v.done) - now.Sub(v.lastDone)
		line += ", about " + clock(max(0, left)) + " left"
	}
	return line
}

// share is how much of the run is done, as far as one can tell.
func (p Progress) share() float64 {
	switch {
	case p.Of > 0:
		return min(1, max(0, float64(p.Elapsed)/float64(p.Of)))
	case p.Expected > 0:
		return min(1, float64(p.Delivered)/float64(p.Expected))
	}
	return 0
}

// clock prints a time as 0:05, 12:34 or 1:02:03.
func clock(d time.Duration) string {
	s := int(d.Round(time.Second) / time.Second)
	const minute, hour = 60, 3600
	if s >= hour {
		return fmt.Sprintf("%d:%02d:%02d", s/hour, s/minute%minute, s%minute)
	}
	return fmt.Sprintf("%d:%02d", s/minute, s%minute)
}

// cut shortens a line to the width.
func cut(line string, width int) string {
	r := []rune(line)
	if len(r) <= width {
		return line
	}
	return string(r[:max(0, width-1)]) + "…"
}

// plain replaces what a terminal would obey: names and versions come from others.
func plain(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, line)
}
