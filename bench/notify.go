//go:build linux

package bench

import (
	"slices"

	"github.com/gatecast/gatecast/bench/result"
)

// notify publishes to one user at a time, by the group that each user has without joining it. Logins and users are not to be chosen:
// a personal group needs a login, and a connection of its own for each user.
func notify() *scenario {
	return &scenario{
		name: "notify", about: "one publisher, one user at a time: each message to one connection", run: fanout, personal: true,
		takes:    append([]string{"zipf"}, without(publishing, "login", "users")...),
		cost:     "server-ns/delivery",
		defaults: with(func(o *result.Options) { o.Conns, o.Rate = 5000, 2000 }),
		complete: func(o *result.Options) { o.Groups = o.Conns },
	}
}

// without are the flags that are not among those named.
func without(flags []string, named ...string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return slices.Contains(named, f) })
}
