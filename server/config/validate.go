package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django"
)

// validate asks every section what is wrong with its values and gives each mistake its place.
func (s *Settings) validate() {
	c := &s.Config
	s.judge("server", c.Server.Validate())
	s.judge("drain", c.Drain.Validate())
	s.judge("broker", c.Broker.Validate())
	s.judge("authn", c.Authn.Options.Validate())
	if c.Authn.HasJWT() {
		s.judge("authn.jwt", c.Authn.JWT.Validate())
	}
	for _, name := range slices.Sorted(maps.Keys(c.Authn.JWT.Issuers)) {
		issuer := c.Authn.JWT.Issuers[name]
		s.judgeNamed("authn.jwt.issuers."+name, "authn.jwt", issuer.Validate())
	}
	if c.Authn.HasDjango() || s.usersOnly("") {
		s.judge("authn.django", s.validateSite("", &c.Authn.Django.Options))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Authn.Django.Sites)) {
		site := c.Authn.Django.Sites[name]
		s.judgeNamed("authn.django.sites."+name, "authn.django", s.validateSite(name, &site))
	}
	s.judge("authn.token", c.Authn.Token.Options.Validate())
	for _, name := range slices.Sorted(maps.Keys(c.Authn.Token.Sites)) {
		o := c.Authn.Token.Sites[name]
		s.judgeNamed("authn.token.sites."+name, "authn.token", o.Validate())
	}
	s.judge("authn.ticket", c.Authn.Ticket.Options.Validate())
	if c.Authn.Webhook.URL != "" {
		s.judge("authn.webhook", c.Authn.Webhook.Validate())
	}
	s.judge("authn.header", c.Authn.Header.Validate())
	s.judge("authn.mtls", c.Authn.MTLS.Validate())
	for _, name := range slices.Sorted(maps.Keys(c.Authn.Ticket.Sites)) {
		o := c.Authn.Ticket.Sites[name]
		s.judgeNamed("authn.ticket.sites."+name, "authn.ticket", o.Validate())
	}
	for i := range c.Groups {
		s.judge("groups["+strconv.Itoa(i)+"]", c.Groups[i].Validate())
	}
	for i := range c.Routes {
		s.judge("routes["+strconv.Itoa(i)+"]", c.Routes[i].Validate())
	}
	s.judge("admin", c.Admin.Validate())
	s.judge("log", c.Log.Validate())
}

// judge records each of the errors joined in err. Their texts name the key, with or without the section before it.
func (s *Settings) judge(section string, err error) {
	for _, one := range leaves(err) {
		text := one.Error()
		name, rest := splitKey(text)
		key := s.known(section, name)
		switch {
		case strings.HasPrefix(name, plain(section)) && key == "":
			key = section
		case key == "":
			key, text = section, section+": "+text
		case !strings.HasPrefix(name, plain(section)):
			text = key + rest
		}
		s.failAt(key, text)
	}
}

// judgeNamed is judge for a table whose errors speak of the first of its kind.
func (s *Settings) judgeNamed(section, first string, err error) {
	for _, one := range leaves(err) {
		s.judge(section, errors.New(strings.Replace(one.Error(), first, section, 1)))
	}
}

// validateSite asks for the keys only of a site whose sessions are verified.
func (s *Settings) validateSite(name string, o *django.Options) error {
	if s.usersOnly(name) {
		return o.ValidateUsers()
	}
	return o.Validate()
}

// usersOnly tells that the site is there for its users alone: its tokens or tickets are in the chain, or JSON Web Tokens for its users, or rules of [[grants]] ask
// its database; its sessions are not in the chain.
func (s *Settings) usersOnly(site string) bool {
	chain := s.Config.Authn.Chain
	o, _ := s.Config.Authn.Tickets(site)
	return !slices.Contains(chain, ofSite("django", site)) &&
		(slices.Contains(chain, ofSite("token", site)) || o.Lookup && slices.Contains(chain, ofSite("ticket", site)) ||
			slices.ContainsFunc(s.Config.Authn.Issuers(), func(name string) bool {
				o, _ := s.Config.Authn.Issuer(name)
				return o.Users == ofSite("django", site)
			}) ||
			slices.ContainsFunc(s.Config.Grants, func(r authn.Rule) bool { return r.SQL != "" && r.Site == site }))
}

// ofSite is the name in authn.chain of a verifier for a site: "token", or "token:shop".
func ofSite(kind, site string) string {
	if site == "" {
		return kind
	}
	return kind + ":" + site
}

// failAt records a mistake in the value of the key at path, at the line or variable it came from.
func (s *Settings) failAt(path, text string) { s.fail(s.errorAt(path, text)) }

func (s *Settings) warnAt(path, format string, args ...any) {
	s.warn(s.errorAt(path, fmt.Sprintf(format, args...)))
}

func (s *Settings) errorAt(path, text string) *Error {
	origin, ok := s.origins[path]
	for at := path; !ok && at != ""; at = parentOf(at) {
		if line, found := s.lines[at]; found {
			return &Error{File: s.Input.Path, Line: line, Key: path, Text: text}
		}
	}
	return &Error{Origin: origin, Key: path, Text: text}
}

// parentOf cuts the last key or index off path.
func parentOf(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

// known resolves a name in an error's text to the path of a key or table.
func (s *Settings) known(section, name string) string {
	for _, path := range []string{name, section + "." + name, strings.Replace(name, plain(section), section, 1)} {
		if _, ok := s.origins[path]; ok {
			return path
		}
		if _, ok := s.lines[path]; ok {
			return path
		}
		if isKey(path) {
			return path
		}
	}
	return ""
}

// isKey reports whether path, with or without indexes, is a setting.
func isKey(path string) bool {
	for _, section := range Sections() {
		if section.Path == plain(path) {
			return true
		}
		for _, k := range section.Keys {
			if k.Path == plain(path) {
				return true
			}
		}
	}
	return false
}

// plain is path without its indexes.
func plain(path string) string {
	for {
		i := strings.IndexByte(path, '[')
		j := strings.IndexByte(path, ']')
		if i < 0 || j < i {
			return path
		}
		path = path[:i] + path[j+1:]
	}
}

// splitKey cuts the key that begins an error's text from the rest.
func splitKey(text string) (name, rest string) {
	i := strings.IndexAny(text, ": =")
	if i < 0 {
		return text, ""
	}
	return text[:i], text[i:]
}

// leaves lists the errors that were joined in err.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		var out []error
		for _, one := range joined.Unwrap() {
			out = append(out, leaves(one)...)
		}
		return out
	}
	return []error{err}
}
