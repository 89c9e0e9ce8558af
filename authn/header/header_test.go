package header

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
)

// said is what a proxy says; lines are "Name: value".
func said(trusted bool, lines ...string) authn.Credential {
	return authn.Credential{Carrier: authn.CarrierProxy, Request: request(trusted, lines...)}
}

func request(trusted bool, lines ...string) *authn.Request {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return &authn.Request{Proxied: trusted, Headers: h}
}

func open(t testing.TB) *Verifier {
	t.Helper()
	o := DefaultOptions()
	o.User, o.Groups = "X-Remote-User", "X-Remote-Groups"
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestConformance(t *testing.T) {
	authntest.Run(t, func(t *testing.T) authntest.Harness {
		return authntest.Harness{
			Verifier: open(t),
			Good:     []authntest.Good{{Credential: said(true, "X-Remote-User: ada"), ID: "ada"}},
			Bad: map[string]authn.Credential{
				"two": said(true, "X-Remote-User: ada", "x-remote-user: eve"), "no UTF-8": said(true, "X-Remote-User: \xff"),
				"the client's beside an empty one": said(true, "X-Remote-User: ada", "X-Remote-User: "),
				"groups of the client's too":       said(true, "X-Remote-User: ada", "X-Remote-Groups: Admins", "X-Remote-Groups: Editors"),
			},
			NotMine: []authn.Credential{
				said(false, "X-Remote-User: ada"), said(true), said(true, "X-Remote-User: "), said(true, "X-Remote-Groups: Editors"),
				{Carrier: authn.CarrierProxy}, {Carrier: authn.CarrierHeader, Request: request(true, "X-Remote-User: ada")},
			},
			Takes: func(authn.Credential) bool { return false },
		}
	})
}

func TestGroups(t *testing.T) {
	id, err := open(t).Verify(t.Context(), said(true, "X-Remote-User: ada", "X-Remote-Groups: Editors, Ünï ,,Editors,Staff"))
	if err != nil || !slices.Equal(id.Groups, []string{"Editors", "Ünï", "Staff"}) || id.Kind != authn.KindUser {
		t.Errorf("%+v, %v", id, err)
	}
	many := strings.Repeat("a", 1)
	for i := range maxGroups {
		many += "," + strings.Repeat("b", i+1)
	}
	var refused *authn.Refused
	if _, err := open(t).Verify(t.Context(), said(true, "X-Remote-User: ada", "X-Remote-Groups: "+many)); !errors.As(err, &refused) {
		t.Errorf("too many groups: %v", err)
	}
}

// The chain believes the headers of trusted proxies only, and calls the login ambient, so that the server checks the origin.
func TestInAChain(t *testing.T) {
	o := authn.DefaultOptions()
	o.Chain, o.Carriers = []string{"header"}, []string{"proxy", "header"}
	chain, err := authn.NewChain(o, map[string]authn.Verifier{"header": open(t)}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := request(true, "X-Remote-User: ada")
	for range 2 { // from the verifier, and from the cache
		if id, err := chain.Authenticate(t.Context(), good); err != nil || id.ID != "ada" || !id.Ambient() {
			t.Errorf("Authenticate = %+v, %v, want ada by an ambient credential", id, err)
		}
	}
	if id, err := chain.Authenticate(t.Context(), request(true, "X-Remote-User: eve")); err != nil || id.ID != "eve" {
		t.Errorf("another user behind the same proxy: %+v, %v", id, err)
	}
	var refused *authn.Refused
	for name, r := range map[string]*authn.Request{"an untrusted peer": request(false, "X-Remote-User: ada"), "nobody": request(true), "no headers": {Proxied: true}} {
		if id, err := chain.Authenticate(t.Context(), r); !errors.As(err, &refused) || refused.Reason != "no_credential" {
			t.Errorf("%s: %+v, %v, want no_credential", name, id, err)
		}
		if chain.HasAmbient(r) {
			t.Errorf("%s: HasAmbient = true", name)
		}
	}
	if !chain.HasAmbient(request(true, "X-Remote-User: ada", "X-Remote-User: eve")) {
		t.Error("HasAmbient of a refused credential = false")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		`user = "REMOTE_USER"`:     func(o *Options) { o.User = "REMOTE_USER" },
		`user = "Cookie"`:          func(o *Options) { o.User = "Cookie" },
		"groups is the same":       func(o *Options) { o.Groups = "x-remote-user" },
		"user is empty":            func(o *Options) { o.User, o.Groups = "", "X-Groups" },
		"separator is empty":       func(o *Options) { o.Separator = "" },
		"user_prefix: want at mos": func(o *Options) { o.UserPrefix = "\n" },
	} {
		o := DefaultOptions()
		o.User = "X-Remote-User"
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "authn.header."+want) {
			t.Errorf("Validate = %v, want it to say %q", err, want)
		}
	}
	if _, err := New(DefaultOptions()); err == nil {
		t.Error("New without a header = nil")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("ada", "Editors,Staff", ",")
	f.Add("\xff", ",,,", ";")
	f.Fuzz(func(t *testing.T, user, groups, separator string) {
		v, err := New(Options{User: "X-U", Groups: "X-G", Separator: separator})
		if err != nil {
			return
		}
		headers := http.Header{"X-U": {user}, "X-G": {groups}}
		c := authn.Credential{Carrier: authn.CarrierProxy, Request: &authn.Request{Proxied: true, Headers: headers}}
		id, err := v.Verify(t.Context(), c)
		if err == nil && (id.ID != user || len(id.Groups) > maxGroups || slices.Contains(id.Groups, "")) {
			t.Errorf("user %q, groups %q: %+v", user, groups, id)
		}
	})
}
