package django

import (
	"fmt"
	"slices"

	"github.com/gatecast/gatecast/authn/django/pickle"
)

// authMethods is where django-allauth notes how a user logged in: a list of {"method": "mfa", "at": …}
// (allauth/account/internal/flows/login.py, AUTHENTICATION_METHODS_SESSION_KEY).
const authMethods = "account_authentication_methods"

// expiryKey is where SessionBase.set_expiry notes when the session ends.
const expiryKey = "_session_expiry"

// asked are the keys of a session that the options want to be seen, besides those of the login.
func (o *Options) asked() []string {
	keys := slices.Clone(o.RequireSessionKeys)
	if len(o.RequireAuthMethods) > 0 {
		keys = append(keys, authMethods)
	}
	if o.Engine == EngineFile {
		keys = append(keys, expiryKey)
	}
	return keys
}

// gate tells what a session lacks of what the options require; nil if nothing.
func (o *Options) gate(have extras) error {
	for _, key := range o.RequireSessionKeys {
		if !truthy(have[key]) {
			return fmt.Errorf("the session has no %s, which authn.django.require_session_keys asks for: the user has not finished the second step of the login", key)
		}
	}
	if len(o.RequireAuthMethods) == 0 {
		return nil
	}
	done := methods(have[authMethods])
	for _, m := range o.RequireAuthMethods {
		if !slices.Contains(done, m) {
			return fmt.Errorf("the login was not done by %s, which authn.django.require_auth_methods asks for", m)
		}
	}
	return nil
}

// truthy is Python's bool(value).
func truthy(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case float64:
		return v != 0
	case int64:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	case pickle.Bytes:
		return v != ""
	case *pickle.List:
		return len(v.Items) > 0
	case *pickle.Dict:
		return v.Len() > 0
	}
	return true
}

// maxMethods bounds how many steps of a login are looked at.
const maxMethods = 20

func methods(value any) (found []string) {
	add := func(name any) {
		if s, ok := name.(string); ok {
			found = append(found, s)
		}
	}
	switch list := value.(type) {
	case []any:
		for _, entry := range list[:min(len(list), maxMethods)] {
			if m, ok := entry.(map[string]any); ok {
				add(m["method"])
			}
		}
	case *pickle.List:
		for _, entry := range list.Items[:min(len(list.Items), maxMethods)] {
			if d, ok := entry.(*pickle.Dict); ok {
				name, _ := d.Get("method")
				add(name)
			}
		}
	}
	return found
}
