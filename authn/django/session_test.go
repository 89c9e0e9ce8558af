package django

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestDecodeLogin(t *testing.T) {
	full := login{user: "42", backend: modelBackend, hash: "ab"}
	for _, test := range []struct {
		name, data string
		want       login
		ok         bool
	}{
		{"a login", `{"_auth_user_id":"42","_auth_user_backend":"` + modelBackend + `","_auth_user_hash":"ab"}`, full, true},
		{"among other things", `{"cart":[{"id":1,"_auth_user_id":"7"},[],{}],"_auth_user_id":"42","x":null,"_auth_user_backend":"` + modelBackend + `","y":-1.5e+3,"_auth_user_hash":"ab","z":true}`, full, true},
		{"with spaces", " { \"_auth_user_id\" : \"42\" ,\n\t\"a\" : [ 1 , 2 ] } ", login{user: "42"}, true},
		{"an integer id of an old site", `{"_auth_user_id":42}`, login{user: "42"}, true},
		{"an id with escapes", `{"_auth_user_id":"Zo\u00eb \ud83d\udc09\"\\"}`, login{user: `Zoë 🐉"\`}, true},
		{"a null id is none", `{"_auth_user_id":null}`, login{}, true},
		{"the last of two counts, as in Python", `{"_auth_user_id":"1","_auth_user_id":"42"}`, login{user: "42"}, true},
		{"another case is another key", `{"_AUTH_USER_ID":"42"}`, login{}, true},
		{"numbers that only Python writes", `{"a":NaN,"b":[Infinity,-Infinity],"_auth_user_id":"42"}`, login{user: "42"}, true},
		{"half an emoji elsewhere", `{"b":"\ud83d","_auth_user_id":"42"}`, login{user: "42"}, true},
		{"nobody", `{}`, login{}, true},
		{"a list", `[]`, login{}, false},
		{"a word", `null`, login{}, false},
		{"nothing", ``, login{}, false},
		{"half an object", `{"a":1`, login{}, false},
		{"half a string", `{"a":"`, login{}, false},
		{"half an escape", `{"a":"\`, login{}, false},
		{"two objects", `{}{}`, login{}, false},
		{"a comma too many", `{"a":1,}`, login{}, false},
		{"no value", `{"a":}`, login{}, false},
		{"an id that is a list", `{"_auth_user_id":[1]}`, login{}, false},
		{"an id that is a fraction", `{"_auth_user_id":1.5}`, login{}, false},
		{"an id that is too large", `{"_auth_user_id":99999999999999999999}`, login{}, false},
		{"an id with a broken escape", `{"_auth_user_id":"\x41"}`, login{}, false},
		{"not UTF-8", "{\"a\":\"\xff\"}", login{}, false},
		{"a control character", "{\"a\":\"\n\"}", login{}, false},
		{"nested for ever", `{"a":` + strings.Repeat("[", 100000), login{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _, err := decodeLogin([]byte(test.data))
			if got != test.want || (err == nil) != test.ok {
				t.Errorf("decodeLogin(%.80q) = %+v, %v, want %+v, ok %v", test.data, got, err, test.want, test.ok)
			}
		})
	}
}

func TestAPickledSessionIsToldSo(t *testing.T) {
	payload, _, err := ringOf(t, DeriveKeys(vectorSecret).SessionKey).unsign(vectorPickle, time.Now(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := decodeLogin(payload); !errors.Is(err, errPickle) {
		t.Errorf("decodeLogin(pickle) = %v, want %v", err, errPickle)
	}
}
