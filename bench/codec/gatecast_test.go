package codec

import (
	"strings"
	"testing"
)

func TestGatecastHears(t *testing.T) {
	c, err := Open(Spec{Codec: "gatecast", Host: "h", Secret: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	const welcome = `{"op":"welcome","conn":"c","user":"u1","groups":["user.u1"],"ping":25,"node":"n0"}`
	checkHear(t, c, Client{Groups: []uint32{1}}, []heard{
		{name: "the welcome of who is to join yet", payload: welcome},
		{name: "a join", payload: `{"op":"ok","id":1,"group":"bench.1"}`, want: Heard{Joined: 1}},
		{name: "a join that fails for one", payload: `{"op":"ok","id":1,"groups":[{"group":"a","error":{}}]}`, says: "gatecast says"},
		{name: "a leave", payload: `{"op":"ok","id":2,"group":"bench.1"}`, want: Heard{Left: 1}},
		{name: "a ping", payload: `{"op":"ping"}`, want: Heard{Reply: []byte(`{"op":"pong"}`)}},
		{name: "an error", payload: `{"op":"error","code":"forbidden"}`, says: "forbidden"},
		{name: "an end", payload: `{"op":"close","code":4200}`, says: "4200"},
	})
	checkHear(t, c, Client{Publisher: true}, []heard{{name: "the publisher's welcome", payload: welcome, want: Heard{Joined: 1}}})
}

func TestGatecastRawHears(t *testing.T) {
	c, err := Open(Spec{Codec: "gatecast-raw", Host: "h", Secret: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	checkHear(t, c, Client{Groups: []uint32{1}}, []heard{
		{name: "its greeting", payload: "hello", want: Heard{Joined: 1}},
		{name: "anything else", payload: `{"op":"welcome"}`, says: "gatecast says"},
	})
	if got := string(c.Request(Client{Index: 5, Groups: []uint32{7}})); !strings.HasPrefix(got, "GET /bench/7 HTTP/1.1\r\n") {
		t.Errorf("Request = %q, want the group in the path", got)
	}
}

func TestGatecastRefusesLoginsItHasNot(t *testing.T) {
	for _, s := range []Spec{
		{Codec: "gatecast", Login: "magic"}, {Codec: "gatecast", Login: LoginSession}, {Codec: "gatecast-raw", Login: LoginAnonymous},
	} {
		if _, err := Open(s); err == nil {
			t.Errorf("Open(%+v) succeeds, want an error", s)
		}
	}
}
