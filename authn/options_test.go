package authn

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	o := DefaultOptions()
	if err := o.Validate(); err != nil {
		t.Errorf("Validate of the defaults = %v", err)
	}
	for want, change := range map[string]func(*Options){
		"authn.chain is empty":               func(o *Options) { o.Chain = nil },
		"authn.chain names \"jwt\" twice":    func(o *Options) { o.Chain = []string{"jwt", "jwt"} },
		"did you mean \"cookie\"?":           func(o *Options) { o.Carriers = []string{"cookies"} },
		"there are cookie, header":           func(o *Options) { o.Carriers = []string{"pigeon"} },
		"authn.carriers has \"query\" twice": func(o *Options) { o.Carriers = []string{"query", "query"} },
		"authn.carriers is empty":            func(o *Options) { o.Carriers = nil },
		"authn.schemes has \"a b\"":          func(o *Options) { o.Schemes = []string{"a b"} },
		"authn.schemes has \"Basic\"":        func(o *Options) { o.Schemes = []string{"Basic"} },
		"authn.schemes has \"token\" twice":  func(o *Options) { o.Schemes = []string{"Token", "token"} },
		"authn.reject = \"drop\" is not":     func(o *Options) { o.Reject = "drop" },
		"authn.cache_ttl = 2h0m0s is not":    func(o *Options) { o.CacheTTL = 2 * time.Hour },
		"authn.timeout is negative":          func(o *Options) { o.Timeout = -1 },
		"authn.revalidate is negative":       func(o *Options) { o.Revalidate = -1 },
		"authn.cache_entries is negative":    func(o *Options) { o.CacheEntries = -1 },
		"authn.tombstones is negative":       func(o *Options) { o.Tombstones = -1 },
	} {
		o := DefaultOptions()
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want an error with %q", err, want)
		}
	}
	o = Options{Anonymous: true, Reject: RejectHTTP}
	if err := o.Validate(); err != nil {
		t.Errorf("Validate of anonymous only = %v", err)
	}
}

func TestIdentitiesKeepTheirSecret(t *testing.T) {
	id := &Identity{ID: "42", Ref: "the session key"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, id) + fmt.Sprintf(verb, id.Ref); strings.Contains(text, "session") || strings.Contains(text, fmt.Sprintf("%x", "session")) {
			t.Errorf("%s prints %s", verb, text)
		}
	}
	if text := id.LogValue().String(); !strings.Contains(text, "42") || strings.Contains(text, "session") {
		t.Errorf("LogValue = %s", text)
	}
}
