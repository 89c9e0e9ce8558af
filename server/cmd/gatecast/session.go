package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker/subject"
	"github.com/gatecast/gatecast/server"
	"github.com/gatecast/gatecast/server/config"
)

// sessionCheck asks the configured chain about a cookie or a token, past every cache, and tells what each step said. A one-time ticket is not used up.
func sessionCheck(c *call) error {
	c.flags.config()
	token := c.flags.Bool("token", false, "the argument is a token (DRF, knox, JWT, ticket, …) and no cookie")
	group := c.explainFlag()
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	s, err := c.load()
	if err != nil {
		return err
	}
	if *token {
		r, err := tokenRequest(args[0], s)
		if err != nil {
			return err
		}
		return c.explain(s, r, *group)
	}
	cookie, names := cookieHeader(args[0], s)
	err = c.explain(s, &authn.Request{Cookie: cookie, Path: s.Config.Server.Path}, *group)
	if errors.Is(err, errSaid) && len(names) > 1 {
		fmt.Fprintf(c.stdout, "  The value was tried under each of the names %s: write NAME=VALUE to ask about one of them.\n", strings.Join(names, ", "))
	}
	return err
}

// tokenRequest brings a token by the first carrier of tokens that is configured.
func tokenRequest(token string, s *config.Settings) (*authn.Request, error) {
	r := &authn.Request{Path: s.Config.Server.Path}
	for _, carrier := range s.Config.Authn.Carriers {
		switch authn.Carrier(carrier) {
		case authn.CarrierHeader:
			if len(s.Config.Authn.Schemes) == 0 {
				continue
			}
			r.Authorization = s.Config.Authn.Schemes[0] + " " + token
		case authn.CarrierSubprotocol:
			r.Subprotocols = []string{"bearer64." + base64.RawURLEncoding.EncodeToString([]byte(token))}
		case authn.CarrierQuery:
			r.Token = token
		case authn.CarrierMessage:
			r.Message = token
		default:
			continue
		}
		return r, nil
	}
	return nil, errors.New(`authn.carriers has none for tokens; add "header", "subprotocol", "message" or "query"`)
}

// cookieHeader makes a Cookie header of "name=value", or of a value under every cookie name that is configured; then it returns the names, too.
func cookieHeader(arg string, s *config.Settings) (header string, names []string) {
	names = []string{s.Config.Authn.Django.CookieName}
	if name := s.Config.Authn.JWT.CookieName; name != "" {
		names = append(names, name)
	}
	for _, issuer := range s.Config.Authn.JWT.Issuers {
		if issuer.CookieName != "" {
			names = append(names, issuer.CookieName)
		}
	}
	for _, site := range s.Config.Authn.Django.Sites {
		names = append(names, site.CookieName)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names {
		if strings.HasPrefix(arg, name+"=") {
			return arg, nil
		}
	}
	// A session id and a signed value hold no "=", but the header of a browser does: name=value; other=value.
	if name, _, ok := strings.Cut(arg, "="); ok && !strings.ContainsAny(name, ":. ") {
		return arg, nil
	}
	var pairs []string
	for _, name := range names {
		pairs = append(pairs, name+"="+arg)
	}
	return strings.Join(pairs, "; "), names
}

// explain runs a request through the chain and prints each step, and what it may do with a group if there is one. Refused and no login are errSaid.
func (c *call) explain(s *config.Settings, r *authn.Request, group string) error {
	if err := checkGroup(c, group); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), max(s.Config.Authn.Timeout, 5*time.Second)+5*time.Second)
	defer cancel()
	l, err := openLogin(ctx, s, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer l.Close()
	var decided, nobody *authn.Step
	for _, step := range l.chain.Explain(ctx, r) {
		if step.Carrier == "" { // nothing decided: nobody's
			continue
		}
		fmt.Fprintf(c.stdout, "  %s\n", stepText(&step))
		if step.Decides {
			decided = &step
		}
		if step.Outcome == authn.OutcomeNoLogin {
			nobody = &step
		}
	}
	switch {
	case decided == nil:
		fmt.Fprintf(c.stdout, "no login: nothing here decides who this is%s\n", anonymousHint(s))
		if nobody == nil {
			fmt.Fprintf(c.stdout, "  authn.chain is %s: none of them knows such a credential. Is it complete, and is the verifier of its kind in the chain?\n", strings.Join(s.Config.Authn.Chain, ", "))
		}
		return errSaid
	case decided.Outcome == authn.OutcomeUnavailable:
		return fmt.Errorf("cannot tell: %s is unavailable: %s\nlook whether it runs and can be reached from this machine; gatecast doctor asks all there is", decided.Verifier, decided.Detail)
	case decided.Outcome != authn.OutcomeAccepted || decided.Identity == nil:
		text := advice(decided.Reason)
		if kind, _, _ := strings.Cut(decided.Verifier, ":"); kind != "django" && decided.Reason == "expired" {
			text = "\n  Its time is over: get a new one."
		}
		if o, ok := s.Config.Authn.Issuer(decided.Verifier); ok {
			text = tokenAdvice(decided.Reason, o)
		}
		fmt.Fprintf(c.stdout, "refused: %s%s\n", decided.Reason, text)
		return errSaid
	}
	fmt.Fprintf(c.stdout, "accepted: user %q\n", decided.Identity.ID)
	return c.printLogin(s, l.rules, decided.Identity, group)
}

func anonymousHint(s *config.Settings) string {
	if s.Config.Authn.Anonymous {
		return "; authn.anonymous is on, so a socket with it is let in as nobody"
	}
	return ""
}

func stepText(s *authn.Step) string {
	where := string(s.Carrier)
	if s.Verifier != "" {
		where += " → " + s.Verifier
	}
	text := map[authn.Outcome]string{
		authn.OutcomeAccepted:    "accepted",
		authn.OutcomeRefused:     "refused",
		authn.OutcomeNoLogin:     "a good session, but nobody is logged in with it",
		authn.OutcomeNotMine:     "not a credential of this kind",
		authn.OutcomeAbsent:      "nothing there",
		authn.OutcomeUnavailable: "cannot be asked now",
	}[s.Outcome]
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	if detail := strings.TrimPrefix(s.Detail, s.Reason+": "); detail != "" && detail != s.Reason && s.Outcome != authn.OutcomeNotMine && s.Outcome != authn.OutcomeNoLogin {
		text += " (" + strings.Map(printable, detail) + ")"
	}
	return where + ": " + text
}

// advice says what to do about the usual reasons.
func advice(reason string) string {
	switch reason {
	case "bad_signature", "bad_session_signature":
		return "\n  The session is there, but none of the configured keys signed it: this is another site's session, or SECRET_KEY is another one now." +
			"\n  Compare the keys with `manage.py gatecast_keys`. After a change of SECRET_KEY the old one belongs into SECRET_KEY_FALLBACKS."
	case "hash_mismatch":
		return "\n  The password or SECRET_KEY changed after this login, so Django asks to log in again too; if neither did, compare hash_key with `manage.py gatecast_keys`."
	case "unknown_session":
		return "\n  There is no session of that name: it was logged out, it ended, or it never was there." +
			"\n  Copy the cookie again after a new login. If that does not help, Gatecast looks in another place than the site writes to: compare" +
			"\n  engine, database, cache, cache_key_prefix and session_file_path in [authn.django] with `manage.py gatecast_keys`."
	case "expired":
		return "\n  The session's time is over: log in again. If it ended too early or by whole hours, compare cookie_age, use_tz and time_zone with `manage.py gatecast_keys`."
	case "malformed":
		return "\n  The session is there and cannot be read. A site with the PickleSerializer needs serializer = \"pickle\"; a serializer or compressor of the project's own cannot be read."
	case "unknown_token":
		return "\n  It was deleted, or authn.django.database is not the site's database, or knox_version or knox_prefix are not the site's."
	case "ticket_used", "ticket_too_early":
		return "\n  Ask the application for a new ticket: each is good for one login."
	case "backend_not_allowed":
		return "\n  Who logged this user in is not in authn.django.backends: copy the site's AUTHENTICATION_BACKENDS there."
	case "unknown_user":
		return "\n  The session names a user that the database does not have: it was deleted, or authn.django.database or user_table is not the site's."
	case "inactive":
		return "\n  The user's is_active is off. Django lets nobody in then, either."
	case "second_step_missing":
		return "\n  The user has given the password and not yet the second factor. If nobody needs one, take the name out of require_session_keys or require_auth_methods."
	case "webhook_refused", "forbidden":
		return "\n  The application behind authn.webhook.url says so; what it gave as message stands above."
	case "revoked":
		return "\n  This session was logged out. A new login gets a new session."
	}
	return ""
}

// explainFlag adds the flag of commands that tell what a login may do with a group.
func (c *call) explainFlag() *string {
	return c.flags.String("explain", "", "also say why this login may hear this `group`, speak to it and join it, or may not")
}

func checkGroup(c *call, group string) error {
	if group == "" {
		return nil
	}
	if err := subject.CheckName(group); err != nil {
		return c.misuse("-explain %q: %v", group, err)
	}
	return nil
}

// errMayNotHear is an accepted login that may not hear the group it was asked about: exit code 3, nothing more to print.
var errMayNotHear = errors.New("accepted, and may not hear the group")

// printLogin tells who somebody is, what it may, and why it may so with a group if there is one.
func (c *call) printLogin(s *config.Settings, rules *authn.Rules, id *authn.Identity, group string) error {
	if o, ok := s.Config.Authn.Issuer(id.Verifier); ok && o.Users != "" {
		fmt.Fprintf(c.stdout, "  %-10s in %s\n", "looked up", o.Users)
	}
	if err := printIdentity(c.stdout, rules, id); err != nil || group == "" {
		return err
	}
	why, err := rules.Explain(id, group, "CONN")
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "group %s\n", strings.Map(printable, group))
	for _, one := range []struct {
		question string
		verdict  authn.Verdict
	}{{"may hear it (subscribe)", why.Subscribe}, {"may speak to it (publish)", why.Publish}, {"is put into it at connect (join)", why.Join}} {
		answer := "no "
		if one.verdict.Allowed {
			answer = "yes"
		}
		fmt.Fprintf(c.stdout, "  %s %s\n", answer, one.question)
		for _, reason := range one.verdict.Reasons {
			fmt.Fprintf(c.stdout, "        %s\n", strings.Map(printable, reason.Text))
		}
		if len(one.verdict.Reasons) == 0 {
			fmt.Fprintf(c.stdout, "        nothing in [[grants]], nor in the credential, is about such a group\n")
		}
	}
	for _, text := range server.RoutesOf(s.Config.Routes, id, group) {
		fmt.Fprintf(c.stdout, "  note: %s\n", strings.Map(printable, text))
	}
	if !why.Subscribe.Allowed {
		return errMayNotHear
	}
	return nil
}

// printIdentity tells who somebody is and what it may hear and say.
func printIdentity(w io.Writer, rules *authn.Rules, id *authn.Identity) error {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %-10s %s\n", name, strings.Map(printable, value))
		}
	}
	line("kind", id.Kind)
	line("verifier", id.Verifier)
	if !id.Expires.IsZero() {
		line("expires", id.Expires.Format(time.RFC3339))
	}
	line("groups", strings.Join(id.Groups, ", "))
	line("perms", strings.Join(id.Perms, ", "))
	grants, err := rules.GrantsFor(id, "CONN")
	if err != nil {
		return fmt.Errorf("its grants do not work: %w", err)
	}
	p := grants.Patterns()
	line("joins", strings.Join(grants.Join(), ", "))
	line("subscribe", strings.Join(p.Subscribe, ", "))
	line("publish", strings.Join(p.Publish, ", "))
	line("deny", strings.Join(p.Deny, ", "))
	return nil
}
