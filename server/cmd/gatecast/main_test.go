package main

import (
	"go/parser"
	"go/token"
	"testing"
)

// Without zone files in the system (a container from scratch), authn.django.time_zone is looked up in the binary.
// Tests run where there are some, so only the import can be asked for.
func TestTimeZonesAreInTheBinary(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "main.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range f.Imports {
		if i.Path.Value == `"time/tzdata"` {
			return
		}
	}
	t.Error("main.go does not import time/tzdata")
}
