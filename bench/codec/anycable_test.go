package codec

import "testing"

func TestAnyCableHears(t *testing.T) {
	c, err := Open(Spec{Codec: "anycable", Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	const welcome = `{"type":"welcome","sid":"x"}`
	const of4, of7 = `{\"channel\":\"$pubsub\",\"stream_name\":\"bench.4\"}`, `{\"channel\":\"$pubsub\",\"stream_name\":\"bench.7\"}`
	checkHear(t, c, Client{Groups: []uint32{4, 7}}, []heard{
		{
			name: "the welcome", payload: welcome,
			want: Heard{Reply: []byte(`{"command":"subscribe","identifier":"` + of4 + `"}`)},
		},
		{
			name: "the first of two joins", payload: `{"type":"confirm_subscription","identifier":"` + of4 + `"}`,
			want: Heard{Joined: 1, Reply: []byte(`{"command":"subscribe","identifier":"` + of7 + `"}`)},
		},
		{name: "the last join", payload: `{"identifier":"` + of7 + `","type":"confirm_subscription"}`, want: Heard{Joined: 1}},
		{name: "a ping", payload: `{"type":"ping","message":1}`},
		{name: "a join of another's group", payload: `{"type":"confirm_subscription","identifier":"x"}`, says: "anycable says"},
		{name: "a refusal", payload: `{"type":"reject_subscription","identifier":"` + of7 + `"}`, says: "reject_subscription"},
		{name: "an end", payload: `{"type":"disconnect","reason":"server_restart"}`, says: "server_restart"},
	})
	checkHear(t, c, Client{Publisher: true}, []heard{{name: "the publisher's welcome", payload: welcome, want: Heard{Joined: 1}}})
}
