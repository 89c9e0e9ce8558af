package django

import (
	"strings"
	"testing"
	"time"
)

func TestCells(t *testing.T) {
	long := strings.Repeat("x", maxValue+1)
	for _, tt := range []struct {
		src  any
		want cell
	}{
		{"a", "a"}, {[]byte("b"), "b"}, {int64(7), "7"}, {true, "true"}, {nil, ""}, {long, ""}, {[]byte(long), ""}, {long[1:], cell(long[1:])},
		{time.Unix(0, 0).UTC(), "1970-01-01T00:00:00Z"},
	} {
		c := cell("before")
		if err := c.Scan(tt.src); err != nil || c != tt.want {
			t.Errorf("Scan(%.20v) = %q, %v, want %q", tt.src, c, err, tt.want)
		}
	}
	c, blob := new(cell), any([]byte(strings.Repeat("x", 1<<20)))
	if n := testing.AllocsPerRun(10, func() { _ = c.Scan(blob); _ = unwanted{}.Scan(blob) }); n != 0 {
		t.Errorf("what is too long, or unwanted, is copied: %v allocations", n)
	}
}
