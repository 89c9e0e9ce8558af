package config

import (
	"fmt"
	"slices"

	"github.com/gatecast/gatecast/authn"
)

// VerifierDev is the name in authn.chain of the verifier that -dev adds.
const VerifierDev = "dev"

// devGrants are what the users of -dev may do when the config has no [[grants]]: enough for the demo page, with
// something that is refused.
var devGrants = []authn.Rule{{
	To:        "authenticated",
	Subscribe: []string{"chat.>", "news.>"},
	Publish:   []string{"chat.>"},
	Deny:      []string{"chat.private.>"},
}}

// applyDev makes -dev out of a configuration: the dev verifier answers after those that are configured.
func (s *Settings) applyDev() {
	c := &s.Config
	if !s.Input.Dev {
		if slices.Contains(c.Authn.Chain, VerifierDev) {
			s.failAt("authn.chain", `authn.chain: "dev" lets anybody in; it works with the flag -dev only`)
		}
		return
	}
	if !slices.Contains(c.Authn.Chain, VerifierDev) {
		c.Authn.Chain = append(slices.Clone(c.Authn.Chain), VerifierDev)
		s.origins["authn.chain"] = Origin{From: FromDev}
	}
	if len(c.Grants) == 0 {
		c.Grants = slices.Clone(devGrants)
		s.origins["grants"] = Origin{From: FromDev}
	}
	for _, l := range s.Listeners() {
		if l.Address != "" && !l.loopback() {
			s.failAt(l.Key, fmt.Sprintf("%s: -dev lets anybody in and so refuses to listen on %q; use 127.0.0.1, or leave -dev away",
				l.Key, l.Address))
		}
	}
}
