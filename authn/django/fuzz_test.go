package django

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzUnsign: whatever is accepted was signed, and a change of one byte is never accepted.
func FuzzUnsign(f *testing.F) {
	r := ringOf(f, DeriveKeys(vectorSecret).SessionKey, DeriveKeys(vectorOld).SessionKey)
	f.Add(vectorDBLogin, "")
	f.Add(vectorOldLogin, "eyJhIjoxfQ:1r31eq")
	f.Add("a:b:c", ".eJ:zzzzzzzzzz")
	f.Add("::", ":-")
	f.Fuzz(func(t *testing.T, token, value string) {
		if _, _, err := r.unsign(token, time.Unix(1700000000, 0), time.Hour); err == nil {
			i := strings.LastIndexByte(token, ':')
			if signBody(r[0], token[:i]) != token && signBody(r[1], token[:i]) != token {
				t.Fatalf("unsign(%q) accepted what no key made", token)
			}
		}
		// Well signed, whatever it is: no panic, and a payload within its bound.
		if payload, _, err := r.unsign(signBody(r[0], value), time.Unix(1700000000, 0), 0); err == nil {
			if len(payload) > maxPayload && strings.HasPrefix(value, ".") {
				t.Fatalf("unsign inflated to %d bytes", len(payload))
			}
			decodeLogin(payload)
		}
	})
}

// FuzzDecodeLogin compares with encoding/json wherever both accept.
func FuzzDecodeLogin(f *testing.F) {
	f.Add([]byte(`{"_auth_user_id":"42","_auth_user_backend":"b","_auth_user_hash":"ab"}`))
	f.Add([]byte(`{"_auth_user_id":42,"a":[NaN,-Infinity,1e9,{"b":[]}],"c":"\u00eb\ud83d"}`))
	f.Add([]byte("\x80\x05}\x94."))
	f.Add([]byte(`{"a":1,}`))
	f.Add([]byte("{\"\xc8\":\"\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, _, err := decodeLogin(data)
		var all map[string]json.RawMessage
		if json.Unmarshal(data, &all) != nil || all == nil {
			return
		}
		want, ok := login{}, true
		for key, dst := range map[string]*string{"_auth_user_id": &want.user, "_auth_user_backend": &want.backend, "_auth_user_hash": &want.hash} {
			raw, there := all[key]
			if !there {
				continue
			}
			var e error
			if *dst, e = text(raw); e != nil {
				ok = false
			}
		}
		if !ok || !utf8.Valid(data) || strings.Contains(string(data), `\u`) || strings.Contains(string(data), `_auth_user`) && err != nil {
			return // no JSON to Django, an escaped key, or an earlier duplicate that is no text
		}
		if err != nil || got != want {
			t.Fatalf("decodeLogin(%q) = %+v, %v, want %+v as encoding/json", data, got, err, want)
		}
	})
}

// FuzzSession: whatever a cache or a file holds, no panic, and a login only of what was signed or is in a cache.
func FuzzSession(f *testing.F) {
	o := vectorOptions()
	o.Serializer, o.RequireSessionKeys, o.RequireAuthMethods = SerializerPickle, []string{"otp_device_id"}, []string{"mfa"}
	vectorLegacy(&o)
	old, err := newLegacy(&o)
	if err != nil {
		f.Fatal(err)
	}
	data := ringOf(f, o.SessionKey)
	for _, name := range []string{"a pickled session", "a session of before 3.1", "a pickled session of before 3.1"} {
		f.Add(vector(f, "vectors-3.2.json", name))
	}
	for _, name := range []string{"a file", "a file with an end", "Django's RedisCache, small", "django-redis, JSON, small"} {
		f.Add(vector(f, "vectors.json", name))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, engine := range []string{EngineCache, EngineFile} {
			o := o
			o.Engine = engine
			v := &Verifier{opts: o, data: data, old: old, more: o.asked(), kept: &files{}, zone: time.UTC, now: func() time.Time { return time.Unix(1700000000, 0) }}
			row := &sessionRow{data: string(raw), plain: engine == EngineCache, written: time.Unix(1700000000, 0)}
			l, _, err := v.read(aliceKey, row)
			if err == nil && (l.user == "" || l.backend != modelBackend) {
				t.Fatalf("read(%q) = %+v", raw, l)
			}
			payload, _, err := v.payload(aliceKey, row)
			if err == nil && engine == EngineFile && len(payload) > 2*maxPayload {
				t.Fatalf("a payload of %d bytes", len(payload))
			}
		}
	})
}

// FuzzParseDSN: no panic, and no error that repeats a password.
func FuzzParseDSN(f *testing.F) {
	for _, s := range []string{"postgres://u:p@h:5432/n?sslmode=require", "sqlite:///srv/db.sqlite3", "sqlite://db", "mysql://h", "mysql://u:p@h:3306/n?tls=true", "mysql://u@/n?socket=/run/m.sock", "://", "postgres://[::1/n", "postgres://h:99999999/n", "POSTGRES://h/n?connect_timeout=x", "postgres://h/n?sslmode=x", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		const password = "correct-horse-battery"
		for _, a := range []string{address, strings.Replace(address, "://", "://u:"+password+"@", 1)} {
			d, err := parseDSN(a, "/base")
			if err != nil && strings.Contains(err.Error(), password) {
				t.Fatalf("parseDSN(%q) = %v, which holds the password", a, err)
			}
			if err == nil && d.postgres != "" {
				db, _, err := openPostgres(d.postgres, 0, slog.New(slog.DiscardHandler))
				if err == nil {
					db.Close()
				} else if strings.Contains(err.Error(), password) {
					t.Fatalf("openPostgres(%q) = %v, which holds the password", a, err)
				}
			}
			if err == nil && d.mysql != "" {
				db, _, err := openMySQL(d.mysql, "auth_user", true)
				if err == nil {
					db.Close()
				} else if strings.Contains(err.Error(), password) {
					t.Fatalf("openMySQL(%q) = %v, which holds the password", a, err)
				}
			}
			n := 0
			for _, part := range []string{d.path, d.postgres, d.mysql} {
				if part != "" {
					n++
				}
			}
			if err == nil && n != 1 {
				t.Fatalf("parseDSN(%q) = %+v, want one of path, postgres and mysql", a, d)
			}
		}
	})
}
