package shape

import (
	"regexp"
	"strings"
	"testing"
)

// The threat model says which test shows what; a test that was renamed must be renamed there.
func TestThreatsNameTestsThatExist(t *testing.T) {
	var tests strings.Builder
	for _, path := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") {
			tests.WriteString(read(t, path))
		}
	}
	const least = 50
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(read(t, "server/docs/threats.md"), -1)
	if len(named) < least {
		t.Errorf("%d tests are named, want %d at least", len(named), least)
	}
	for _, n := range named {
		if !strings.Contains(tests.String(), "func "+n[1]+"(") {
			t.Errorf("server/docs/threats.md names %s, which is not there", n[1])
		}
	}
}
