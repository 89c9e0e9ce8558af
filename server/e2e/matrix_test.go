package e2e

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// cell is one way to keep sessions.
type cell struct {
	release  release
	database string // of the users, and of engine db and a cache's table
	engine   string
	pickle   bool   // the PickleSerializer
	cache    string // of the engines cache and cached_db
}

func (c *cell) String() string {
	s := c.release.name + " " + c.database + " " + c.engine
	if c.pickle {
		s += " pickle"
	}
	if c.cache != "" {
		s += " in " + c.cache
	}
	return s
}

var (
	matrixDatabases = []string{"postgres", "mariadb", "sqlite"}
	matrixEngines   = []string{"db", "cached_db", "cache", "file", "signed_cookies"}
	matrixCaches    = []string{"redis", "django-redis", "django-redis-json", "pymemcache", "pylibmc", "table", "files"}
)

// exists tells whether a release has what the cell is made of.
func (c *cell) exists() bool {
	cached := c.engine == "cache" || c.engine == "cached_db"
	switch {
	case cached != (c.cache != ""):
		return false
	case c.pickle:
		return !cached && !c.release.from(5.0)
	case c.cache == "redis":
		return c.release.from(4.0)
	case c.cache == "pylibmc":
		return c.release.max <= 11
	}
	return true
}

// matrix is every cell there is.
func matrix() []*cell {
	var all []*cell
	for _, r := range djangos {
		for _, database := range matrixDatabases {
			for _, engine := range matrixEngines {
				for _, cache := range append([]string{""}, matrixCaches...) {
					for _, pickle := range []bool{false, true} {
						if c := (cell{r, database, engine, pickle, cache}); c.exists() {
							all = append(all, &c)
						}
					}
				}
			}
		}
	}
	return all
}

// pairs are what the normal run leaves nothing out of: each release with each engine, and each engine with each backend it can have. A release
// that comes with a database and cache of its own is not among them: neither knows the other's version.
func (c *cell) pairs() []string {
	return []string{
		c.release.name + " " + c.engine,
		c.engine + " " + c.database,
		c.engine + " " + c.cache,
		fmt.Sprintf("%s pickle %t", c.engine, c.pickle),
	}
}

// world is what the cell shares with others: a database with the tables of a release.
func (c *cell) world() string { return c.release.name + " on " + c.database }

// pairwise chooses cells of all until each pair is there, one after the other whichever brings the most new ones; among those, one of a world that is
// there already.
func pairwise(all []*cell) []*cell {
	var chosen []*cell
	seen, worlds := map[string]bool{}, map[string]bool{}
	worth := func(c *cell) int {
		n := 0
		for _, p := range c.pairs() {
			if !seen[p] {
				n += 10
			}
		}
		if n > 0 && worlds[c.world()] {
			n++
		}
		return n
	}
	for {
		best := slices.MaxFunc(all, func(a, b *cell) int { return cmp.Compare(worth(a), worth(b)) })
		if worth(best) == 0 {
			return chosen
		}
		chosen = append(chosen, best)
		worlds[best.world()] = true
		for _, p := range best.pairs() {
			seen[p] = true
		}
	}
}

func TestPairwiseLeavesNoPairOut(t *testing.T) {
	all := matrix()
	chosen := pairwise(all)
	have := map[string]bool{}
	for _, c := range chosen {
		for _, p := range c.pairs() {
			have[p] = true
		}
	}
	worlds := map[string]bool{}
	for _, c := range all {
		for _, p := range c.pairs() {
			if !have[p] {
				t.Errorf("no cell has the pair %q", p)
			}
		}
		worlds[c.world()] = true
	}
	if len(chosen) > 40 || len(worlds) != len(djangos)*len(matrixDatabases) {
		t.Errorf("%d of %d cells in %d worlds are chosen; that is no choice", len(chosen), len(all), len(worlds))
	}
	t.Logf("%d of %d cells", len(chosen), len(all))
}

// backends are the servers of all cells.
type backends struct {
	postgres         *pgtest.Server
	mariadb          *servertest.Maria
	redis, memcached string
}

// cacheSetting is CACHES["default"] of a cell, as JSON; name is not in use by another.
func (b *backends) cacheSetting(t testing.TB, c *cell, name string) string {
	const core, json = "django.core.cache.backends.", `, "SERIALIZER": "django_redis.serializers.json.JSONSerializer", "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"`
	entry := func(backend, location, options string) string {
		return fmt.Sprintf(`{"BACKEND": %q, "LOCATION": %q, "KEY_PREFIX": %q, "OPTIONS": {%s}}`, backend, location, name, strings.TrimPrefix(options, ", "))
	}
	switch c.cache {
	case "redis":
		return entry(core+"redis.RedisCache", "redis://"+b.redis+"/1", "")
	case "django-redis":
		return entry("django_redis.cache.RedisCache", "redis://"+b.redis+"/2", "")
	case "django-redis-json":
		return entry("django_redis.cache.RedisCache", "redis://"+b.redis+"/2", json)
	case "pymemcache":
		return entry(core+"memcached.PyMemcacheCache", b.memcached, "")
	case "pylibmc":
		return entry(core+"memcached.PyLibMCCache", b.memcached, "")
	case "table":
		return entry(core+"db.DatabaseCache", "cache_table", "")
	case "files":
		return entry(core+"filebased.FileBasedCache", scratch(t), "")
	}
	return ""
}

// TestMatrix: real Djangos, every engine, every place where it can keep sessions. The normal run takes a pairwise choice; GATECAST_TEST_MATRIX=all (make
// matrix) takes every cell, and GATECAST_TEST_MATRIX="4.2 on" those whose world begins like that.
func TestMatrix(t *testing.T) {
	heavy(t)
	t.Parallel()
	cells := matrix()
	if which := os.Getenv("GATECAST_TEST_MATRIX"); which == "" {
		cells = pairwise(cells)
	} else if which != "all" {
		cells = slices.DeleteFunc(cells, func(c *cell) bool { return !strings.HasPrefix(c.world(), which) })
	}
	t.Logf("%d cells", len(cells))
	b := &backends{postgres: pgtest.Start(t), mariadb: servertest.MariaDB(t), redis: servertest.Redis(t), memcached: servertest.Memcached(t)}
	var worlds []string
	of := map[string][]*cell{}
	for _, c := range cells {
		if of[c.world()] == nil {
			worlds = append(worlds, c.world())
		}
		of[c.world()] = append(of[c.world()], c)
	}
	for _, name := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testWorld(t, b, of[name])
		})
	}
}
