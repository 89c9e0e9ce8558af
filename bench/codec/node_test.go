package codec

import "testing"

func TestWSHears(t *testing.T) {
	c, err := Open(Spec{Codec: "ws", Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	checkHear(t, c, Client{Groups: []uint32{1, 2}}, []heard{
		{name: "joins", payload: `{"op":"joined","count":2}`, want: Heard{Joined: 2}},
		{name: "a leave", payload: `{"op":"left","count":1}`, want: Heard{Left: 1}},
		{name: "a negative count", payload: `{"op":"joined","count":-1}`, says: "ws says"},
		{name: "anything else", payload: `{"op":"error"}`, says: "ws says"},
	})
	if got, want := string(c.Hello(Client{Groups: []uint32{4, 7}})), `{"op":"join","groups":["bench.4","bench.7"]}`; got != want {
		t.Errorf("Hello = %s, want %s", got, want)
	}
}

func TestSocketIOHears(t *testing.T) {
	c, err := Open(Spec{Codec: "socketio", Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	const connected = `40{"sid":"x"}`
	checkHear(t, c, Client{Groups: []uint32{4, 7}}, []heard{
		{name: "the transport is open", payload: `0{"sid":"x","upgrades":[],"pingInterval":25000}`},
		{name: "connected", payload: connected, want: Heard{Reply: []byte(`420["join",["bench.4","bench.7"]]`)}},
		{name: "the first joins", payload: "430[2]", want: Heard{Joined: 1}},
		{name: "a later join", payload: "431[1]", want: Heard{Joined: 1}},
		{name: "a leave", payload: "432[1]", want: Heard{Left: 1}},
		{name: "a ping", payload: "2", want: Heard{Reply: []byte("3")}},
		{name: "a refused connect", payload: `44{"message":"no"}`, says: "socketio says: 44"},
		{name: "a disconnect", payload: "41", says: "socketio says: 41"},
		{name: "an acknowledgement nobody waits for", payload: "439[]", says: "socketio says"},
		{name: "an empty packet", payload: "", says: "socketio says"},
	})
	checkHear(t, c, Client{Publisher: true}, []heard{{name: "the publisher is connected", payload: connected, want: Heard{Joined: 1}}})
	if got, want := string(c.Publish(nil, 4, []byte("abc"))), `42["send","bench.4","abc"]`; got != want {
		t.Errorf("Publish = %s, want %s", got, want)
	}
}
