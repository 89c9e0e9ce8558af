//go:build linux

package target

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// rivalsDir returns the directory into which bench/rivals/install puts what is no package of the system.
func rivalsDir(o Options) (string, error) {
	if given := o.Binaries["rivals"]; given != "" {
		if info, err := os.Stat(given); err != nil || !info.IsDir() {
			return "", fmt.Errorf("no directory of rivals at %s; make bench-rivals installs them", given)
		}
		return filepath.Abs(given)
	}
	var tried []string
	if self, err := os.Executable(); err == nil {
		tried = append(tried, filepath.Join(filepath.Dir(self), "rivals"))
	}
	if dir, err := os.Getwd(); err == nil {
		for ; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				tried = append(tried, filepath.Join(dir, "bin", "rivals"))
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, dir := range tried {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no rivals at %s; make bench-rivals installs them, or give -rivals DIR", strings.Join(tried, " or "))
}

// findDebian returns the path of a program that Debian's package brings. Some are where only root looks.
func findDebian(program, debian string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s on this machine; make bench-rivals installs it, or apt-get install %s", program, debian)
}
