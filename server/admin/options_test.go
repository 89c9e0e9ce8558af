package admin

import (
	"strings"
	"testing"
)

func TestDefaultOptionsAreValid(t *testing.T) {
	o := DefaultOptions()
	if err := o.Validate(); err != nil || o.Listen != "127.0.0.1:8081" {
		t.Errorf("DefaultOptions = %+v, %v", o, err)
	}
}

func TestValidateNamesTheKeyAndWhatWouldBeRight(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want []string // "" = valid
	}{
		{"nothing", Options{}, nil},
		{"an address without a port", Options{Listen: "localhost"}, []string{`admin.listen = "localhost"`, "127.0.0.1:8081"}},
		{"a negative size", Options{BodyBytes: -1}, []string{"admin.body_bytes = -1"}},
		{"a key without a secret", Options{Keys: []Key{{Role: "read"}}}, []string{"admin.keys entry 1 has no key"}},
		{"a key with a space", Options{Keys: []Key{{Key: "a b", Role: "read"}}}, []string{"admin.keys entry 1", "openssl rand"}},
		{"an unknown role", Options{Keys: []Key{{Name: "x", Key: "k", Role: "root"}}}, []string{`admin.keys entry 1 ("x")`, `role = "root"`, `"publish", "read" or "admin"`}},
		{"no role", Options{Keys: []Key{{Key: "k"}}}, []string{`role = ""`}},
		{"the same key twice", Options{Keys: []Key{{Key: "k", Role: "read"}, {Key: "k", Role: "admin"}}}, []string{"entry 2 has the same key as entry 1"}},
		{"two mistakes", Options{Listen: "x", Keys: []Key{{}}}, []string{"admin.listen", "admin.keys entry 1"}},
	} {
		err := tt.o.Validate()
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%s: Validate = %v", tt.name, err)
			continue
		}
		for _, w := range tt.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: Validate = %q, want it to contain %q", tt.name, err, w)
			}
		}
		for _, k := range tt.o.Keys {
			if len(k.Key) > 1 && strings.Contains(err.Error(), k.Key) {
				t.Errorf("%s: Validate = %q shows the key", tt.name, err)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	o := DefaultOptions()
	if _, err := New(o, Deps{}); err == nil {
		t.Error("New without a Node worked")
	}
	o.Listen = "x"
	if _, err := New(o, Deps{Node: &fakeNode{}}); err == nil {
		t.Error("New with a bad address worked")
	}
}
