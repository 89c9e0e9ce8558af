package shape

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/server"
	"github.com/gatecast/gatecast/server/config"
	"github.com/gatecast/gatecast/server/wire"
)

func TestGoldenConfigIsWhatTheCodeWrites(t *testing.T) {
	var want bytes.Buffer
	if err := config.WriteTOML(&want); err != nil {
		t.Fatal(err)
	}
	if got := read(t, "config.toml"); got != want.String() {
		t.Errorf("config.toml is not what gatecast config init writes; run make docs")
	}
}

func TestEverySettingIsDocumented(t *testing.T) {
	golden, reference := read(t, "config.toml"), read(t, "server/docs/config.md")
	for _, s := range config.Sections() {
		if s.Repeats || strings.HasSuffix(s.Path, ".NAME") {
			continue // the keys of another section
		}
		if !strings.Contains(golden, s.Header) || !strings.Contains(reference, "`"+s.Header+"`") {
			t.Errorf("%s is missing in config.toml or server/docs/config.md; run make docs", s.Header)
		}
		if s.Doc == "" {
			t.Errorf("%s has no doc comment", s.Header)
		}
		for _, k := range s.Keys {
			if k.Doc == "" {
				t.Errorf("%s has no doc comment; say its unit and when to change it", k.Path)
			}
			if !strings.Contains(reference, k.Env) {
				t.Errorf("%s is not in server/docs/config.md; run make docs", k.Path)
			}
		}
	}
}

func TestEveryCodeIsDocumented(t *testing.T) {
	doc := read(t, "server/docs/codes.md")
	for _, c := range wire.Codes {
		if !strings.Contains(doc, "| `"+c.Code+"` | "+c.Meaning) {
			t.Errorf("error code %s is not in server/docs/codes.md; run make docs", c.Code)
		}
	}
	for _, c := range server.CloseCodes {
		if !strings.Contains(doc, fmt.Sprintf("| %d | `%s` |", c.Code, c.Name)) {
			t.Errorf("close code %d is not in server/docs/codes.md; run make docs", c.Code)
		}
	}
}

func TestEveryMetricIsDocumented(t *testing.T) {
	doc := read(t, "server/docs/metrics.md")
	var node *server.Node // its table has names and texts without a node
	for _, m := range node.Metrics() {
		if !strings.Contains(doc, "| `"+m.Name+"` |") {
			t.Errorf("metric %s is not in server/docs/metrics.md; run make docs", m.Name)
		}
	}
}
