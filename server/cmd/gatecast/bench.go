package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// bench becomes gatecast-bench, a program of its own that shares no code with the server it measures. All words are passed on,
// -h too.
func bench(c *call) error {
	path, err := findBench()
	if err != nil {
		return err
	}
	words := append([]string{path}, c.words...)
	return fmt.Errorf("run %s: %w", path, syscall.Exec(path, words, os.Environ()))
}

// findBench returns the path of gatecast-bench: beside this program, or in PATH.
func findBench() (string, error) {
	const name = "gatecast-bench"
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", errors.New("no gatecast-bench beside this program or in PATH; build it with make build")
	}
	return path, nil
}
