package config

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestGoldenFileLoadsToTheDefaults(t *testing.T) {
	s, err := Read(Input{Path: "../../config.toml"})
	if err != nil {
		t.Fatal(err)
	}
	want := &Settings{Config: Default()}
	if c := diff(want, s, reloadable); len(c.Applied)+len(c.Restart) > 0 {
		t.Errorf("config.toml changes %v %v", c.Applied, c.Restart)
	}
	for _, v := range s.Values() {
		if v.Origin.From != FromFile && v.Text != "(set, hidden)" && !isSecret(v.Path) {
			t.Errorf("%s does not stand in config.toml", v.Path)
		}
	}
	if _, err := Load(Input{Path: "../../config.toml", Dev: true}); err != nil {
		t.Errorf("-dev with config.toml: %v", err)
	}
	if _, err := Load(Input{Path: "../../config.toml"}); err == nil || !strings.Contains(err.Error(), "nobody could log in") {
		t.Errorf("config.toml as it is: %v, want that nobody could log in", err)
	}
}

func isSecret(path string) bool {
	for _, s := range Sections() {
		for _, k := range s.Keys {
			if k.Path == path {
				return k.Secret
			}
		}
	}
	return false
}

// TestExamplesWork takes the comment marks off the examples of the golden file.
func TestExamplesWork(t *testing.T) {
	golden, err := os.ReadFile("../../config.toml")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for line := range strings.Lines(string(golden)) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		b.WriteString(line)
	}
	s, err := Read(Input{Path: write(t, b.String())})
	if err != nil {
		t.Fatal(err)
	}
	s.judge("grants[0]", nil)
	for i := range s.Config.Groups {
		s.judge("groups", s.Config.Groups[i].Validate())
	}
	for i := range s.Config.Routes {
		s.judge("routes", s.Config.Routes[i].Validate())
	}
	s.judge("admin", s.Config.Admin.Validate())
	s.judge("broker", s.Config.Broker.Validate())
	s.checkGrants()
	if err := s.err(); err != nil {
		t.Error(err)
	}
	if _, ok := s.Config.Authn.Django.Sites["NAME"]; !ok || len(s.Config.Grants) != 1 || len(s.Config.Admin.Keys) != 1 {
		t.Errorf("not all examples were read: %+v", s.Config.Authn.Django.Sites)
	}
}

func TestExplain(t *testing.T) {
	for path, want := range map[string]string{
		"server.ping":            "GATECAST_SERVER_PING",
		"[server.limits]":        "server.limits.conns",
		"authn.jwt.secret_file":  "names a file",
		"broker.services.token":  "GATECAST_BROKER_SERVICES_0_TOKEN",
		"grants":                 "grants.subscribe",
		"authn.django.use_tz":    "Wants true or false",
		"server.limits.messages": "",
	} {
		text, ok := Explain(path)
		if ok != (want != "") || !strings.Contains(text, want) {
			t.Errorf("Explain(%q) = %v, %s\nwant %q", path, ok, text, want)
		}
	}
}

func TestDocCommentsSpeakOfKeys(t *testing.T) {
	for _, s := range Sections() {
		for _, k := range s.Keys {
			for _, bad := range []string{"ConnsPer", "UserTable", "MessageBytes"} {
				if strings.Contains(k.Doc, bad) {
					t.Errorf("%s: %q names a Go field", k.Path, k.Doc)
				}
			}
		}
	}
}
