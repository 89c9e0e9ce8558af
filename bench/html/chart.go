//go:build linux

package html

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gatecast/gatecast/bench/result"
)

// A chart is drawn for the width of half a page and for that of a phone: style.css makes its letters larger there, so labels keep
// a distance that suits both.
const (
	chartWidth  = 560
	chartHeight = 300
	plotLeft    = 84
	plotRight   = 442
	plotTop     = 12
	plotBottom  = 264
	labelGap    = 20  // between the baselines of labels beside lines
	labelLeft   = 458 // where they begin
	labelRunes  = 11  // of a name beside a line; the legend has all of it
	tickGapY    = 26
	glyph       = 10.5 // width of a digit where letters are largest
)

// chart is an SVG of lines, one a target.
type chart struct {
	Title  string
	About  string
	Width  int
	Height int
	Grid   string // path
	Frame  string // path
	Warmup string // path; "" = none
	YTicks []tick
	XTicks []tick
	Lines  []line
}

type tick struct {
	At   string
	Text string
}

// line is a target's.
type line struct {
	Mark   mark
	Path   string
	Shapes string // path
	Leader string // path from the line's end to its label
	LabelY string
	Short  string
}

// point of a line; a y that is no number is a gap.
type point struct{ x, y float64 }

// curve is what newChart draws.
type curve struct {
	mark   mark
	points []point
	shapes []int // indices of points with a shape
}

// xAxis says where x values are and what is written there.
type xAxis struct {
	lo, hi float64
	ticks  []float64
	text   func(float64) string
	warmup bool // what is below 0
}

// newChart draws curves whose y is a value of metric. ok is false if there is nothing to draw.
func newChart(title, about, metric string, x xAxis, curves []curve) (c chart, ok bool) {
	y, ok := newScale(metric, curves)
	if !ok || x.hi <= x.lo {
		return c, false
	}
	c = chart{Title: title, About: about, Width: chartWidth, Height: chartHeight}
	if y.log {
		c.About += ", logarithmic"
	}
	px := func(v float64) float64 { return plotLeft + (v-x.lo)/(x.hi-x.lo)*(plotRight-plotLeft) }
	py := func(v float64) float64 { return plotBottom - y.share(v)*(plotBottom-plotTop) }
	if x.warmup && x.lo < 0 {
		c.Warmup = "M" + short(plotLeft) + " " + short(plotTop) + "V" + short(plotBottom) +
			"H" + short(px(0)) + "V" + short(plotTop) + "z"
	}
	var grid strings.Builder
	for _, v := range y.ticks {
		grid.WriteString("M" + short(plotLeft) + " " + short(py(v)) + "H" + short(plotRight))
		c.YTicks = append(c.YTicks, tick{short(py(v)), tickText(metric, v)})
	}
	free := math.Inf(-1)
	for _, v := range x.ticks {
		if v < x.lo || v > x.hi {
			continue
		}
		grid.WriteString("M" + short(px(v)) + " " + short(plotTop) + "V" + short(plotBottom))
		text := x.text(v)
		half := float64(len(text)) * glyph / 2
		if px(v)-half < free {
			continue // its label would meet the one before
		}
		free = px(v) + half + glyph
		c.XTicks = append(c.XTicks, tick{short(px(v)), text})
	}
	c.Grid = grid.String()
	c.Frame = "M" + short(plotLeft) + " " + short(plotTop) + "V" + short(plotBottom) + "H" + short(plotRight)
	var ends []float64
	for _, cv := range curves {
		l := line{Mark: cv.mark, Short: cut(cv.mark.Name)}
		var end point
		l.Path, end = path(cv.points, px, py)
		if l.Path == "" {
			continue
		}
		for _, i := range cv.shapes {
			if p := cv.points[i]; !math.IsNaN(p.y) {
				l.Shapes += "M" + short(px(p.x)) + " " + short(py(p.y)) + cv.mark.shape()
			}
		}
		ends = append(ends, end.y)
		l.Leader = "M" + short(end.x) + " " + short(end.y)
		c.Lines = append(c.Lines, l)
	}
	for i, at := range spread(ends) {
		c.Lines[i].LabelY = short(at)
		c.Lines[i].Leader += "H" + short(plotRight+4) + "L" + short(labelLeft-3) + " " + short(at)
	}
	return c, true
}

// path joins the points; end is the last, in the chart's units.
func path(points []point, px, py func(float64) float64) (d string, end point) {
	var b strings.Builder
	for len(points) > 0 {
		n := slices.IndexFunc(points, func(p point) bool { return math.IsNaN(p.y) })
		if n < 0 {
			n = len(points)
		}
		if n == 0 {
			points = points[1:]
			continue
		}
		piece := make([]point, n)
		for i, p := range points[:n] {
			piece[i] = point{math.Round(px(p.x)), math.Round(py(p.y))}
		}
		points = points[n:]
		piece = thin(piece)
		at := piece[0]
		b.WriteString("M" + pair(at))
		for _, p := range piece[1:] {
			b.WriteString("l" + pair(point{p.x - at.x, p.y - at.y}))
			at = p
		}
		if len(piece) == 1 {
			b.WriteString("h0") // its round end makes a dot
		}
		end = at
	}
	return b.String(), end
}

// pair is two coordinates, with a space only where they would run together.
func pair(p point) string {
	y := short(p.y)
	if y[0] != '-' {
		y = " " + y
	}
	return short(p.x) + y
}

// thinBy is how far, in units of the chart, a point may be from the line without it. Nobody sees that.
const thinBy = 0.6

// thin leaves out points that a straight line passes through anyway (Ramer, Douglas, Peucker).
func thin(points []point) []point {
	if len(points) < 3 {
		return points
	}
	a, b := points[0], points[len(points)-1]
	length := math.Hypot(b.x-a.x, b.y-a.y)
	far, at := 0.0, 0
	for i, p := range points[1 : len(points)-1] {
		off := math.Hypot(p.x-a.x, p.y-a.y)
		if length > 0 {
			off = math.Abs((b.x-a.x)*(p.y-a.y)-(b.y-a.y)*(p.x-a.x)) / length
		}
		if off > far {
			far, at = off, i+1
		}
	}
	if far <= thinBy {
		return []point{a, b}
	}
	left := thin(points[:at+1])
	return append(left[:len(left)-1:len(left)-1], thin(points[at:])...)
}

// spread moves labels apart that are to stand at the heights given, and keeps them within the plot.
func spread(at []float64) []float64 {
	order := make([]int, len(at))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case at[a] < at[b]:
			return -1
		case at[a] > at[b]:
			return 1
		}
		return a - b
	})
	gap := float64(labelGap)
	if n := len(at); n > 1 {
		gap = min(gap, float64(plotBottom-plotTop)/float64(n-1))
	}
	out := slices.Clone(at)
	for k, low := 0, float64(plotTop); k < len(order); k++ {
		out[order[k]] = max(low, at[order[k]])
		low = out[order[k]] + gap
	}
	for k, high := len(order)-1, float64(plotBottom); k >= 0; k-- {
		out[order[k]] = min(high, out[order[k]])
		high = out[order[k]] - gap
	}
	return out
}

// scale maps values to the height of a plot.
type scale struct {
	log    bool
	lo, hi float64
	ticks  []float64
}

// logFrom is the ratio of largest to least value from which a scale is logarithmic, if the metric is a time.
const logFrom = 8

func newScale(metric string, curves []curve) (s scale, ok bool) {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		for _, p := range c.points {
			if !math.IsNaN(p.y) && !math.IsInf(p.y, 0) {
				lo, hi = min(lo, p.y), max(hi, p.y)
			}
		}
	}
	if hi < lo || hi <= 0 {
		return s, false
	}
	if strings.HasSuffix(metric, "-ns") && lo > 0 && hi/lo >= logFrom {
		s = scale{log: true, lo: roundTo(lo, math.Floor), hi: roundTo(hi, math.Ceil)}
		s.ticks = logTicks(s.lo, s.hi)
		return s, true
	}
	step := niceStep(hi, metric)
	s.hi = math.Ceil(hi/step-1e-9) * step
	for v := 0.0; v <= s.hi+step/2; v += step {
		s.ticks = append(s.ticks, v)
	}
	return s, true
}

func (s scale) share(v float64) float64 {
	if s.log {
		return math.Log(v/s.lo) / math.Log(s.hi/s.lo)
	}
	return v / s.hi
}

// roundTo rounds to 1, 2 or 5 times a power of ten, down with Floor and up with Ceil.
func roundTo(v float64, round func(float64) float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	steps := []float64{1, 2, 5, 10}
	best := steps[0]
	for i, step := range steps {
		if round(0.5) == 0 && v/power >= step*(1-1e-9) {
			best = step
		}
		if round(0.5) == 1 && v/power <= step*(1+1e-9) {
			return steps[i] * power
		}
	}
	return best * power
}

// logTicks are 1, 2, 5 times the powers of ten, or those alone, or fewer, as many as have room.
func logTicks(lo, hi float64) (ticks []float64) {
	most := int(plotBottom-plotTop) / tickGapY
	for _, steps := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
		ticks = nil
		gap := math.Inf(1)
		for power := math.Pow(10, math.Floor(math.Log10(lo)+1e-9)); power <= hi*(1+1e-9); power *= 10 {
			for _, s := range steps {
				if v := s * power; v >= lo*(1-1e-9) && v <= hi*(1+1e-9) {
					if n := len(ticks); n > 0 {
						gap = min(gap, math.Log(v/ticks[n-1])/math.Log(hi/lo)*(plotBottom-plotTop))
					}
					ticks = append(ticks, v)
				}
			}
		}
		if gap >= tickGapY {
			return ticks
		}
	}
	for len(ticks) > most { // every other decade
		kept := ticks[:0]
		for i, v := range ticks {
			if i%2 == 0 {
				kept = append(kept, v)
			}
		}
		ticks = kept
	}
	return ticks
}

// niceStep is a step of ticks from 0 to hi: 1, 2, 5 times a power of ten, or of two for bytes.
func niceStep(hi float64, metric string) float64 {
	const about = 5
	raw := hi / about
	if strings.HasSuffix(metric, "-B") && raw > 1 {
		unit := math.Pow(1024, math.Floor(math.Log(raw)/math.Log(1024)))
		return roundTo(raw/unit, math.Ceil) * unit
	}
	return roundTo(raw, math.Ceil)
}

// niceTicks are those of an axis from lo to hi.
func niceTicks(lo, hi float64) (ticks []float64) {
	step := roundTo((hi-lo)/6, math.Ceil)
	for k := math.Ceil(lo/step - 1e-9); k*step <= hi+step*1e-9; k++ {
		ticks = append(ticks, k*step+0) // + 0: Ceil makes a negative zero
	}
	return ticks
}

// tickText is a value on an axis: no zeros that say nothing, for room is scarce.
func tickText(metric string, v float64) string {
	number, unit, _ := strings.Cut(result.Human(metric, v), " ")
	if strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return strings.TrimSpace(number + " " + unit)
}

// short is a coordinate. Whole numbers will do: a unit is less than a point of a screen.
func short(v float64) string { return strconv.Itoa(int(math.Round(v))) }

func cut(name string) string {
	if r := []rune(name); len(r) > labelRunes {
		return string(r[:labelRunes-1]) + "…"
	}
	return name
}
