package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the Makefile with -ldflags; without it the module's own is used.
var version = ""

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func printVersion(c *call) error {
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.stdout, "gatecast %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
