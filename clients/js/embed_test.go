package js

import (
	"regexp"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestModuleStandsAlone(t *testing.T) {
	if !regexp.MustCompile(`(?m)^export function connect\(`).Match(Module) {
		t.Error("gatecast.js does not export connect")
	}
	if imported := regexp.MustCompile(`(?m)^\s*import\b.*`).Find(Module); imported != nil {
		t.Errorf("gatecast.js imports something: %s", imported)
	}
}
