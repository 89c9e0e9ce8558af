package codec

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func opened(t *testing.T, s Spec) Codec {
	t.Helper()
	c, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rivalSpec is that of a server that is published to by HTTP at the address clients connect to.
func rivalSpec(name string) Spec {
	return Spec{Codec: name, Host: "127.0.0.1:81", Post: netip.MustParseAddrPort("127.0.0.1:81")}
}

func TestRivalsNameTheirGroupsInTheRequest(t *testing.T) {
	member, publisher := Client{Index: 3, Groups: []uint32{7, 12}}, Client{Publisher: true}
	for _, tt := range []struct {
		codec  string
		client Client
		uri    string
		waits  int
	}{
		{"channels", member, "/member?groups=bench.7,bench.12", 2},
		{"channels", publisher, "/publish", 1},
		{"nchan", member, "/member/bench.7,bench.12", 0},
		{"nchan", publisher, "/publish/bench.0", 0},
	} {
		c := opened(t, rivalSpec(tt.codec))
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(c.Request(tt.client))))
		if err != nil {
			t.Fatalf("%s: %v", tt.codec, err)
		}
		if req.RequestURI != tt.uri || req.Host != "127.0.0.1:81" {
			t.Errorf("%s asks %s for %s, want %s", tt.codec, req.Host, req.RequestURI, tt.uri)
		}
		if got := c.Confirms(tt.client); got != tt.waits || c.Hello(tt.client) != nil {
			t.Errorf("%s: Confirms(%+v) = %d with hello %q, want %d without", tt.codec, tt.client, got, c.Hello(tt.client), tt.waits)
		}
	}
}

func TestRivalsHaveNoLogins(t *testing.T) {
	for _, name := range []string{"channels", "nchan"} {
		s := rivalSpec(name)
		s.Login = LoginSession
		if _, err := Open(s); err == nil || !strings.Contains(err.Error(), `none by "session"`) {
			t.Errorf("Open(%s) with a login = %v, want an error", name, err)
		}
		s.Login = LoginAnonymous
		if _, err := Open(s); err != nil {
			t.Errorf("Open(%s) of anonymous clients = %v", name, err)
		}
	}
}

func TestRivalsPost(t *testing.T) {
	for _, name := range []string{"channels", "nchan"} {
		c := opened(t, rivalSpec(name)).(Poster)
		b := c.Post(c.Post(nil, 7, []byte("one")), 8, []byte("three"))
		r := bufio.NewReader(bytes.NewReader(b))
		for _, want := range []struct{ uri, body string }{{"/send/bench.7", "one"}, {"/send/bench.8", "three"}} {
			req, err := http.ReadRequest(r)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			body, err := io.ReadAll(req.Body)
			if err != nil || req.Method != http.MethodPost || req.RequestURI != want.uri || string(body) != want.body {
				t.Errorf("%s: %s %s with %q, %v, want POST %s with %q", name, req.Method, req.RequestURI, body, err, want.uri, want.body)
			}
		}
		if c.PostAddr() != rivalSpec(name).Post {
			t.Errorf("%s: PostAddr = %v", name, c.PostAddr())
		}
	}
}

func TestChannelsSaysWhatItWantsInJSON(t *testing.T) {
	c := opened(t, rivalSpec("channels"))
	mover := c.(Mover)
	for _, tt := range []struct {
		name string
		got  []byte
		want map[string]string
	}{
		{"join", mover.Join(nil, 5), map[string]string{"op": "join", "group": "bench.5"}},
		{"leave", mover.Leave(nil, 5), map[string]string{"op": "leave", "group": "bench.5"}},
		{
			"publish", c.Publish(nil, 5, []byte("gc1:00")),
			map[string]string{"op": "send", "group": "bench.5", "data": "gc1:00"},
		},
	} {
		var got map[string]string
		if err := json.Unmarshal(tt.got, &got); err != nil {
			t.Fatalf("%s: %q: %v", tt.name, tt.got, err)
		}
		for key, want := range tt.want {
			if got[key] != want || len(got) != len(tt.want) {
				t.Errorf("%s: %q, want %v", tt.name, tt.got, tt.want)
			}
		}
	}
}

func TestChannelsHears(t *testing.T) {
	checkHear(t, opened(t, rivalSpec("channels")), Client{}, []heard{
		{"joined at connect", `{"op": "joined", "count": 3}`, Heard{Joined: 3}, ""},
		{"left", `{"op": "left", "count": 1}`, Heard{Left: 1}, ""},
		{"no JSON", `Traceback`, Heard{}, "channels says: Traceback"},
		{"nothing joined", `{"op": "joined", "count": 0}`, Heard{}, "channels says"},
		{"more than there can be", `{"op": "joined", "count": 70000}`, Heard{}, "channels says"},
		{"an unknown word", `{"op": "sorry", "count": 1}`, Heard{}, "sorry"},
		{"nothing", ``, Heard{}, "channels says"},
	})
}

func TestNchanHears(t *testing.T) {
	c := opened(t, rivalSpec("nchan"))
	checkHear(t, c, Client{Publisher: true}, []heard{
		{"the answer to a publication", "queued messages: 0\r\nlast requested: 0 sec. ago\r\nactive subscribers: 2\r\nlast message id: 5:0", Heard{}, ""},
		{"anything else", "hello", Heard{}, "nchan says: hello"},
	})
	if got := c.Publish(nil, NchanGroup, []byte("gc1:00")); string(got) != "gc1:00" {
		t.Errorf("Publish = %q, want the payload as it is", got)
	}
}
