package codec

import "testing"

func TestCentrifugeHears(t *testing.T) {
	c, err := Open(Spec{Codec: "centrifuge", Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	const connected = `{"id":1,"connect":{"client":"8d5","version":"","ping":25,"pong":true}}`
	checkHear(t, c, Client{Groups: []uint32{1, 2}}, []heard{
		{name: "the connect of a member", payload: connected},
		{name: "a subscription", payload: `{"id":2,"subscribe":{}}`, want: Heard{Joined: 1}},
		{
			name: "all in one frame", payload: connected + "\n" + `{"id":2,"subscribe":{}}` + "\n" + `{"id":2,"subscribe":{}}` + "\n",
			want: Heard{Joined: 2},
		},
		{
			name:    "a leave and a ping between messages",
			payload: `{"push":{"channel":"bench.1","pub":{"data":"x"}}}` + "\n" + `{"id":3,"unsubscribe":{}}` + "\n{}\n" + `{"push":{"channel":"b"}}`,
			want:    Heard{Left: 1, Reply: []byte("{}")},
		},
		{name: "the reply to a publication", payload: `{"id":4,"publish":{}}`},
		{name: "a refusal", payload: `{"id":2,"error":{"code":103,"message":"permission denied"}}`, says: "permission denied"},
		{name: "a disconnect", payload: `{"push":{"disconnect":{"code":3501,"reason":"bad request"}}}`, says: "bad request"},
		{name: "no JSON", payload: "hello", says: "centrifuge says: hello"},
	})
	checkHear(t, c, Client{Publisher: true}, []heard{{name: "the connect of a publisher", payload: connected, want: Heard{Joined: 1}}})
}

func TestCentrifugeSays(t *testing.T) {
	c := centrifuge{Spec{Host: "h"}}
	for _, tt := range []struct{ name, got, want string }{
		{
			"hello", string(c.Hello(Client{Groups: []uint32{4, 7}})),
			`{"id":1,"connect":{"name":"bench"}}` + "\n" + `{"id":2,"subscribe":{"channel":"bench.4"}}` + "\n" +
				`{"id":2,"subscribe":{"channel":"bench.7"}}`,
		},
		{"publish", string(c.Publish([]byte("+"), 4, []byte("abc"))), `+{"id":4,"publish":{"channel":"bench.4","data":"abc"}}`},
		{"leave", string(c.Leave(nil, 4)), `{"id":3,"unsubscribe":{"channel":"bench.4"}}`},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}
