package authn

import "errors"

// Rule is one [[grants]] entry.
type Rule struct {
	// To says who gets it: "authenticated", "anonymous", "staff", "superuser", "group:NAME", "perm:app.codename" or "user:ID".
	To string `toml:"to"`
	// Join lists groups joined at connect, which implies subscribe for them; no wildcards.
	Join []string `toml:"join"`
	// Subscribe lists patterns of groups that may be heard.
	Subscribe []string `toml:"subscribe"`
	// Publish lists patterns of groups that may be sent to.
	Publish []string `toml:"publish"`
	// Deny lists patterns that win over every allow of any rule, for both.
	Deny []string `toml:"deny"`
}

// Rules are compiled grants of config; safe for concurrent use.
type Rules struct{}

// CompileRules checks selectors, templates and patterns.
func CompileRules(rules []Rule) (*Rules, error) { return nil, errors.New("stub") }

// GrantsFor compiles what id may do; conn fills {conn}.
func (r *Rules) GrantsFor(id *Identity, conn string) (*Grants, error) { return nil, nil }
