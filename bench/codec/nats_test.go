package codec

import "testing"

func TestNATSHears(t *testing.T) {
	c, err := Open(Spec{Codec: "nats", Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	checkHear(t, c, Client{Index: 3, Groups: []uint32{1}}, []heard{
		{name: "what it begins with", payload: "INFO {\"server_id\":\"x\"} \r\n"},
		{name: "all is done", payload: "PONG\r\n", want: Heard{Joined: 1}},
		{name: "the first node's answer", payload: "MSG bench.inbox.3 inbox 0\r\n\r\n", want: Heard{Joined: 1}},
		{name: "its answer with headers", payload: "HMSG bench.inbox.3 inbox 12 12\r\nNATS/1.0\r\n\r\n\r\n", want: Heard{Joined: 1}},
		{name: "a ping", payload: "PING\r\n", want: Heard{Reply: []byte("PONG\r\n")}},
		{name: "a leave", payload: "-ERR 'Invalid Subject'\r\n", want: Heard{Left: 1}},
		{
			name: "all of it between messages",
			payload: "MSG bench.g.1 1 4\r\nPONG\r\nPING\r\nMSG bench.g.1 1 6\r\nPONG\r\n\r\nPONG\r\nPONG\r\n" +
				"-ERR 'Invalid Subject'\r\n",
			want: Heard{Joined: 2, Left: 1, Reply: []byte("PONG\r\n")},
		},
		{name: "a refusal", payload: "-ERR 'Authorization Violation'\r\n", says: "nats says: -ERR 'Authorization Violation'"},
		{name: "a message that is cut", payload: "MSG bench.g.1 1 40\r\nshort\r\n", says: "nats says"},
		{name: "a message without a size", payload: "MSG x\r\n\r\n", says: "nats says"},
		{name: "a message of a negative size", payload: "MSG a 1 -2\r\n\r\n", says: "nats says"},
		{name: "no line at all", payload: "PON", says: "nats says"},
	})
}

func TestNATSSays(t *testing.T) {
	c := nats{Spec{Host: "h"}}
	for _, tt := range []struct{ name, got, want string }{
		{
			"hello", string(c.Hello(Client{Groups: []uint32{4, 7}})),
			`CONNECT {"verbose":false,"pedantic":false,"echo":true,"protocol":1,"lang":"bench","version":"1"}` + "\r\n" +
				"SUB bench.g.4 4\r\nSUB bench.g.7 7\r\nPING\r\n",
		},
		{"publish", string(c.Publish([]byte("+"), 4, []byte("abc"))), "+PUB bench.g.4 3\r\nabc\r\n"},
		{"join", string(c.Join(nil, 4)), "SUB bench.g.4 4\r\nPING\r\n"},
		{"leave", string(c.Leave(nil, 4)), "UNSUB 4\r\nSUB . none\r\n"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}
