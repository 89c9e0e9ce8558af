package admin

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// Options are the settings of section [admin].
type Options struct {
	// Listen is the address of the HTTP API, health, metrics and admin page. It speaks plain HTTP: keep it on loopback or a private
	// network. Default "127.0.0.1:8081"; empty serves none of them.
	Listen string `toml:"listen"`

	// BodyBytes is the most a request body may hold, in bytes. Default 2 MiB, room for a 1 MiB message in base64; 0 = no limit.
	BodyBytes int64 `toml:"body_bytes"`

	// Keys open the HTTP API. Without any key it answers 401, unless the node runs with -dev.
	Keys []Key `toml:"keys"`
}

// Key is one [[admin.keys]] entry: what a caller sends as "Authorization: Bearer KEY".
type Key struct {
	// Name tells the key's owner in logs. Default: the role.
	Name string `toml:"name"`

	// Key is the secret itself, printable ASCII without spaces. `openssl rand -hex 32` makes a good one.
	Key string `toml:"key" secret:"true"`

	// Role is what the key opens: "publish" (group_send), "read" (every GET) or "admin" (everything).
	Role string `toml:"role"`
}

// DefaultOptions returns the settings of an empty [admin] section.
func DefaultOptions() Options {
	return Options{Listen: "127.0.0.1:8081", BodyBytes: 2 << 20}
}

// Validate reports every impossible value, named by its key in config.toml.
func (o *Options) Validate() error {
	var errs []error
	if o.Listen != "" {
		if _, _, err := net.SplitHostPort(o.Listen); err != nil {
			errs = append(errs, fmt.Errorf("admin.listen = %q is no address: write host:port, for example \"127.0.0.1:8081\"", o.Listen))
		}
	}
	if o.BodyBytes < 0 {
		errs = append(errs, fmt.Errorf("admin.body_bytes = %d is negative: give the bytes a body may hold, 0 for no limit", o.BodyBytes))
	}
	return errors.Join(append(errs, validateKeys(o.Keys))...)
}

func validateKeys(keys []Key) error {
	var errs []error
	seen := make(map[string]int, len(keys))
	for i, k := range keys {
		at := fmt.Sprintf("admin.keys entry %d", i+1)
		if k.Name != "" {
			at += fmt.Sprintf(" (%q)", k.Name)
		}
		switch first, twice := seen[k.Key]; {
		case k.Key == "":
			errs = append(errs, fmt.Errorf("%s has no key: set key or key_file", at))
		case strings.ContainsFunc(k.Key, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
			errs = append(errs, fmt.Errorf("%s: key has spaces or other bytes no header can carry: use `openssl rand -hex 32`", at))
		case twice:
			errs = append(errs, fmt.Errorf("%s has the same key as entry %d: give every caller its own", at, first+1))
		}
		seen[k.Key] = i
		if _, err := parseRole(k.Role); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", at, err))
		}
	}
	return errors.Join(errs...)
}
