package rivals

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A version that moves by itself makes results of different days incomparable.
func TestRequirementsArePinned(t *testing.T) {
	b, err := os.ReadFile("channels/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	pinned := regexp.MustCompile(`^[A-Za-z_]+==[0-9][0-9.]*$`)
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !pinned.MatchString(line) {
			t.Errorf("%q is not pinned", line)
		}
	}
}

func TestTheDjangoProjectIsEmbeddedWhole(t *testing.T) {
	onDisk, err := fs.Glob(os.DirFS("."), "channels/gatechannels/*.py")
	if err != nil || len(onDisk) < 5 {
		t.Fatalf("files on disk are %v, %v", onDisk, err)
	}
	for _, path := range onDisk {
		if _, err := fs.Stat(Channels, path); err != nil {
			t.Error(err)
		}
	}
}

func TestTheTemplateOfNginxParses(t *testing.T) {
	if _, err := template.New("nginx.conf").Parse(Nchan); err != nil {
		t.Error(err)
	}
}
