package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/jwt"
	"github.com/gatecast/gatecast/server/config"
)

// defaultTTL is how long a token lives that no -ttl was given for.
const defaultTTL = time.Hour

var errNoJWT = errors.New("authn.jwt.secret is empty, and so are public_key and jwks; set one in config.toml, or GATECAST_AUTHN_JWT_SECRET, or -set authn.jwt.secret=…")

// tokenMake signs a token that the configured node accepts, for tests and for trying out.
func tokenMake(c *call) error {
	c.flags.config()
	ttl := c.flags.Duration("ttl", defaultTTL, "`time` until it expires")
	var join, subscribe, publish, attrs list
	c.flags.Var(&join, "join", "`group` that it joins at connect; may be repeated")
	c.flags.Var(&subscribe, "subscribe", "`pattern` of groups that it may hear; may be repeated")
	c.flags.Var(&publish, "publish", "`pattern` of groups that it may send to; may be repeated")
	c.flags.Var(&attrs, "claim", "`name=value` of a further claim; may be repeated")
	key := c.flags.String("key", "", "PEM `file` with the private key that belongs to authn.jwt.public_key or jwks; default authn.jwt.secret")
	alg := c.flags.String("alg", "", "`algorithm`, such as PS256; default the first that fits the key")
	issuer := c.flags.String("issuer", "", "`name` of [authn.jwt.issuers.NAME]; default [authn.jwt]")
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	claims := jwt.Claims{User: args[0], Lifetime: *ttl, Attrs: map[string]any{}, Algorithm: *alg}
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
	if *key != "" {
		if claims.Key, err = jwt.ReadPrivate(*key); err != nil {
			return err
		}
	}
	s, err := c.read()
	if err != nil {
		return err
	}
	name := "jwt"
	if *issuer != "" {
		name += ":" + *issuer
	}
	token, err := signToken(s, name, claims)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, token)
	return nil
}

// signToken makes a token that the verifier of this name accepts.
func signToken(s *config.Settings, verifier string, claims jwt.Claims) (string, error) {
	o, ok := s.Config.Authn.Issuer(verifier)
	switch name, further := strings.CutPrefix(verifier, "jwt:"); {
	case !ok && further:
		return "", fmt.Errorf("there is no section [authn.jwt.issuers.%s]", name)
	case !ok:
		return "", errNoJWT
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	v, err := jwt.Open(ctx, o, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer v.Close()
	return v.Make(ctx, claims)
}

// tokenCheck says what is in a token, and whether and as whom the configured node lets it in.
func tokenCheck(c *call) error {
	c.flags.config()
	group := c.explainFlag()
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	if err := checkGroup(c, *group); err != nil {
		return err
	}
	s, err := c.read()
	if err != nil {
		return err
	}
	rules, err := authn.CompileRules(s.Config.Grants)
	if err != nil {
		return fmt.Errorf("grants: %w", err)
	}
	token := strings.TrimSpace(args[0])
	if len(token) > 7 && strings.EqualFold(token[:7], "bearer ") {
		token = token[7:]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*probeTimeout)
	defer cancel()
	in, o, err := inspect(ctx, s, token)
	if err != nil {
		return err
	}
	printToken(c.stdout, in)
	refused, isRefused := errors.AsType[*authn.Refused](in.Err)
	switch {
	case isRefused:
		fmt.Fprintf(c.stdout, "refused: %s%s\n", strings.Map(printable, refused.Error()), tokenAdvice(refused.Reason, o))
		return errSaid
	case errors.Is(in.Err, authn.ErrNotMine):
		fmt.Fprintf(c.stdout, "refused: this is no JSON Web Token, which is three parts with dots between, the first of them beginning with eyJ\n"+
			"  A token of another kind (DRF, knox, ticket): gatecast session check -token\n")
		return errSaid
	case in.Err != nil:
		return fmt.Errorf("cannot tell: %w", in.Err)
	}
	sources := &rows{}
	defer sources.Close()
	if _, err := sources.prepare(ctx, rules, &s.Config.Authn, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	id, err := rules.WithRows(ctx, in.Identity, func(ctx context.Context, q *authn.Query, user string) (authn.Rows, error) {
		values, err := sources.Rows(ctx, q, user)
		return authn.Rows{Query: q.Key(), Values: values}, err
	})
	if err != nil {
		return fmt.Errorf("cannot tell what it may: %w", err)
	}
	fmt.Fprintf(c.stdout, "accepted: user %q\n", id.ID)
	return c.printLogin(s, rules, id, *group)
}

// inspect shows a token to each issuer in the order of the chain, as the node does, and returns the first answer that decides with
// whose it is.
func inspect(ctx context.Context, s *config.Settings, token string) (in jwt.Inspection, o jwt.Options, err error) {
	names := slices.DeleteFunc(s.Config.Authn.Issuers(), func(name string) bool { _, ok := s.Config.Authn.Issuer(name); return !ok })
	if len(names) == 0 && s.Config.Authn.HasJWT() { // configured, and not in the chain
		names = []string{"jwt"}
	}
	if len(names) == 0 {
		return in, o, fmt.Errorf("%w; a token of another kind (DRF, knox, ticket): gatecast session check -token", errNoJWT)
	}
	for _, name := range names {
		o, _ = s.Config.Authn.Issuer(name)
		v, err := jwt.Open(ctx, o, slog.New(slog.DiscardHandler))
		if err != nil {
			return in, o, err
		}
		in = v.Inspect(ctx, token)
		v.Close()
		if in.Identity != nil {
			in.Identity.Verifier = name
		}
		if !errors.Is(in.Err, authn.ErrNotMine) {
			break
		}
	}
	return in, o, nil
}

func printToken(w io.Writer, in jwt.Inspection) {
	if in.Header != nil {
		fmt.Fprintf(w, "  header: %s\n", strings.Map(printable, string(in.Header)))
	}
	if in.Claims != nil {
		fmt.Fprintf(w, "  claims: %s\n", strings.Map(printable, string(in.Claims)))
	}
}

// tokenAdvice says what to do about a refusal.
func tokenAdvice(reason string, o jwt.Options) string {
	text := ""
	switch reason {
	case "bad_algorithm":
		text = "The type of the keys in config decides what a token may be signed with: secret is for HS256 to HS512, public_key and jwks are for the others."
	case "unknown_key":
		text = "Look whether authn.jwt.jwks is that of the issuer, and whether the token is as fresh as its keys."
	case "bad_signature":
		text = "Compare the keys: " + keysOf(o) + "."
	case "bad_header":
		text = "The token uses an extension that is not supported; make it without."
	case "expired":
		text = "Get a fresh one: the token has to be renewed before it expires (auth op)."
	case "no_expiry":
		text = "A token has to end: set exp when it is made. SimpleJWT: ACCESS_TOKEN_LIFETIME."
	case "not_yet_valid":
		text = "Set the clock of the machine that makes the tokens or of this one, or authn.jwt.leeway."
	case "bad_audience":
		text = "Make it with that aud (SimpleJWT: AUDIENCE), or change authn.jwt.audience."
	case "bad_issuer":
		text = "Set authn.jwt.issuer to the iss of your tokens, or add [authn.jwt.issuers.NAME] and \"jwt:NAME\" to authn.chain for another issuer."
	case "bad_token_type":
		text = "Send what SimpleJWT calls access, not refresh."
	case "bad_user_claim":
		text = "Set authn.jwt.user_claim to the claim that has the user's id: \"sub\" for most, \"user_id\" for SimpleJWT."
	case "unknown_user":
		text = "The database has no such primary key: the user was deleted, or authn.jwt.users names another site, or the claim authn.jwt.user_claim holds something else (SimpleJWT: USER_ID_FIELD)."
	case "inactive":
		text = "The user's is_active is off. SimpleJWT lets nobody in then, either."
	case "hash_mismatch":
		text = "Log in again for a new token. If the password did not change, look whether the site has CHECK_REVOKE_TOKEN on, and authn.jwt.revoke_token_claim is its REVOKE_TOKEN_CLAIM."
	case "bad_grants":
		text = `The claim looks like this: "gatecast": {"subscribe": ["chat.>"], "publish": ["chat.7"], "join": ["news"]}`
	}
	if text == "" {
		return ""
	}
	return "\n  " + text
}

func keysOf(o jwt.Options) string {
	var keys []string
	if o.Secret != "" {
		keys = append(keys, "secret has to be the one that signs (SimpleJWT: SIGNING_KEY, else SECRET_KEY), byte for byte")
	}
	if o.PublicKey != "" {
		keys = append(keys, "public_key has to be the other half of the one that signs")
	}
	if o.JWKS != "" {
		keys = append(keys, "jwks has to be that of who made the token")
	}
	return strings.Join(keys, "; ")
}
