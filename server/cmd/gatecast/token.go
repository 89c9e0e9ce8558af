package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/jwt"
	"github.com/gatecast/gatecast/server/config"
)

// defaultTTL is how long a token lives that no -ttl was given for.
const defaultTTL = time.Hour

var errNoJWT = errors.New("authn.jwt.secret is empty; set it in config.toml or GATECAST_AUTHN_JWT_SECRET, or -set authn.jwt.secret=…")

// tokenMake signs a token that the configured node accepts, for tests and for trying out.
func tokenMake(c *call) error {
	c.flags.config()
	ttl := c.flags.Duration("ttl", defaultTTL, "`time` until it expires")
	var join, subscribe, publish, attrs list
	c.flags.Var(&join, "join", "`group` that it joins at connect; may be repeated")
	c.flags.Var(&subscribe, "subscribe", "`pattern` of groups that it may hear; may be repeated")
	c.flags.Var(&publish, "publish", "`pattern` of groups that it may send to; may be repeated")
	c.flags.Var(&attrs, "claim", "`name=value` of a further claim; may be repeated")
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	claims := jwt.Claims{User: args[0], Lifetime: *ttl, Attrs: map[string]any{}}
	if len(join)+len(subscribe)+len(publish) > 0 {
		claims.Grants = &authn.Patterns{Join: join, Subscribe: subscribe, Publish: publish}
	}
	for _, a := range attrs {
		name, value, ok := strings.Cut(a, "=")
		if !ok || name == "" {
			return c.misuse("-claim %q: write name=value", a)
		}
		claims.Attrs[name] = value
	}
	s, err := c.read()
	if err != nil {
		return err
	}
	token, err := signToken(s, claims)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, token)
	return nil
}

func signToken(s *config.Settings, claims jwt.Claims) (string, error) {
	if !s.Config.Authn.HasJWT() {
		return "", errNoJWT
	}
	return jwt.Make(s.Config.Authn.JWT, claims)
}

// tokenCheck says what is in a token, and whether and as whom the configured node lets it in.
func tokenCheck(c *call) error {
	c.flags.config()
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	s, err := c.read()
	if err != nil {
		return err
	}
	if !s.Config.Authn.HasJWT() {
		return errNoJWT
	}
	v, err := jwt.New(s.Config.Authn.JWT)
	if err != nil {
		return err
	}
	rules, err := authn.CompileRules(s.Config.Grants)
	if err != nil {
		return fmt.Errorf("grants: %w", err)
	}
	in := v.Inspect(strings.TrimPrefix(args[0], "Bearer "))
	if in.Header != nil {
		fmt.Fprintf(c.stdout, "  header: %s\n", strings.Map(printable, string(in.Header)))
	}
	if in.Claims != nil {
		fmt.Fprintf(c.stdout, "  claims: %s\n", strings.Map(printable, string(in.Claims)))
	}
	refused, isRefused := errors.AsType[*authn.Refused](in.Err)
	switch {
	case isRefused:
		fmt.Fprintf(c.stdout, "refused: %s\n", strings.Map(printable, refused.Error()))
		return errSaid
	case in.Err != nil || in.Identity == nil:
		fmt.Fprintln(c.stdout, "refused: this is no JSON Web Token signed with HS256, HS384 or HS512")
		return errSaid
	}
	fmt.Fprintf(c.stdout, "accepted: user %q\n", in.Identity.ID)
	return printIdentity(c.stdout, rules, in.Identity)
}
