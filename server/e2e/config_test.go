package e2e

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/pelletier/go-toml/v2"
)

// Credentials of every test node. They guard loopback ports of a test's own processes only.
const (
	jwtSecret    = "e2e-jwt-secret-0123456789abcdefghij"
	serviceToken = "e2e-service-token-0123456789"
	spyToken     = "e2e-spy-token-0123456789"
	clusterToken = "e2e-cluster-token-0123456789"
	adminKey     = "e2e-admin-key-0123456789"
	readKey      = "e2e-read-key-0123456789"
	publishKey   = "e2e-publish-key-0123456789"
)

// conf is a config.toml by dotted keys: conf{"server.ping": "1s", "grants": []conf{{"to": "authenticated"}}}.
// A nil value takes the key out of what it is laid over.
type conf map[string]any

// over returns base with c's keys laid over it.
func (c conf) over(base conf) conf {
	all := maps.Clone(base)
	for k, v := range c {
		if v == nil {
			delete(all, k)
			continue
		}
		all[k] = v
	}
	return all
}

// tree turns dotted keys into nested tables, also inside lists of tables.
func (c conf) tree() map[string]any {
	root := map[string]any{}
	for key, v := range c {
		if list, ok := v.([]conf); ok {
			tables := make([]map[string]any, len(list))
			for i, item := range list {
				tables[i] = item.tree()
			}
			v = tables
		}
		parts := strings.Split(key, ".")
		at := root
		for _, p := range parts[:len(parts)-1] {
			next, ok := at[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = v
	}
	return root
}

// write stores c as config.toml in dir and returns its path.
func (c conf) write(t testing.TB, dir string) string {
	t.Helper()
	b, err := toml.Marshal(c.tree())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// baseConf is what every test node starts from: users by JWT, grants for chat and room, one service, three
// API keys, and a log the tests can read.
func baseConf() conf {
	return conf{
		"server.ping":    "25s",
		"server.mode":    cmp.Or(os.Getenv("GATECAST_TEST_MODE"), "auto"),
		"server.loops":   2, // 0 would leave the few conns of a test on one of them
		"drain.delay":    "10ms",
		"drain.window":   "200ms",
		"broker.shards":  8,
		"authn.chain":    []string{"jwt"},
		"authn.carriers": []string{"cookie", "header", "subprotocol", "message"},
		// One address plays all the clients of a test.
		"server.limits.conns_per_address":     0,
		"server.limits.handshakes_per_second": 0,
		"authn.jwt.secret":                    jwtSecret,
		"broker.services": []conf{
			{"name": "app", "token": serviceToken},
			{"name": "spy", "token": spyToken, "publish": []string{"gc.in.>"}, "subscribe": []string{"gc.g.*.>"}},
		},
		"grants": []conf{{
			"to":        "authenticated",
			"subscribe": []string{"chat.>", "room.>", "shared"},
			"publish":   []string{"chat.>", "room.>", "shared"},
			"deny":      []string{"chat.private.>"},
		}},
		"admin.keys": []conf{
			{"key": adminKey, "role": "admin"},
			{"key": readKey, "role": "read"},
			{"key": publishKey, "role": "publish"},
		},
		"log.level":  "debug",
		"log.format": "json",
	}
}

// token signs a JWT for a user; extra claims are laid over sub and an hour's exp.
func token(t testing.TB, user string, extra ...jwt.MapClaims) string {
	t.Helper()
	s, err := sign(user, extra...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(user string, extra ...jwt.MapClaims) (string, error) {
	claims := jwt.MapClaims{"sub": user, "exp": time.Now().Add(time.Hour).Unix()}
	for _, e := range extra {
		maps.Copy(claims, e)
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
}
