package django

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/gatecast/gatecast/authn/django/pickle"
)

// unpickleLogin is decodeLogin of a pickled session. Nothing in it is run, and objects in it do not matter.
func unpickleLogin(data []byte, asked ...string) (login, extras, error) {
	value, rest, err := pickle.Decode(data)
	if err != nil {
		return login{}, nil, fmt.Errorf("session data: %w", err)
	}
	d, ok := value.(*pickle.Dict)
	if !ok || len(rest) > 0 {
		return login{}, nil, errors.New("session data: the pickle is no dict")
	}
	var l login
	for key, dst := range map[string]*string{"_auth_user_id": &l.user, "_auth_user_backend": &l.backend, "_auth_user_hash": &l.hash} {
		v, _ := d.Get(key)
		switch v := v.(type) {
		case nil:
		case string:
			*dst = v
		case int64:
			*dst = strconv.FormatInt(v, 10)
		default:
			return login{}, nil, errors.New("session data: a key of the login is neither text nor an integer")
		}
	}
	var found extras
	for _, name := range asked {
		if v, there := d.Get(name); there {
			if found == nil {
				found = extras{}
			}
			found[name] = v
		}
	}
	return l, found, nil
}
