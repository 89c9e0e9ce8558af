//go:build linux

package target

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gatecast/gatecast/bench/codec"
)

// findRival returns the path of a file that a part of bench/rivals/install brings into [rivalsDir].
func findRival(o Options, path, part string) (string, error) {
	dir, err := rivalsDir(o)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, path)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no %s; make bench-rivals installs it, or bench/rivals/install %s", path, part)
	}
	return path, nil
}

// noLogin is why a target without logins cannot run it.
func noLogin(o Options) string {
	if o.Login == "" || o.Login == codec.LoginAnonymous {
		return ""
	}
	return fmt.Sprintf("its clients are anonymous, there is no login %q", o.Login)
}

// noUsers is why a target without users cannot run it.
func noUsers(o Options) string {
	if o.Personal {
		return "its users have no groups by themselves"
	}
	return noLogin(o)
}
