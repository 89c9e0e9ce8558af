package codec

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// spec is enough for every codec to open.
func spec(name string) Spec {
	return Spec{Codec: name, Host: "127.0.0.1:1", Secret: []byte("a secret of a test"), Nodes: 2}
}

func TestOpenNamesTheCodecsThereAre(t *testing.T) {
	_, err := Open(Spec{Codec: "nonsense"})
	if err == nil || !strings.Contains(err.Error(), `unknown codec "nonsense"`) || !strings.Contains(err.Error(), "gatecast") {
		t.Errorf("Open of an unknown codec = %v, want an error that names those there are", err)
	}
}

// heard is a case of a table test of Hear.
type heard struct {
	name, payload string
	want          Heard
	says          string // of an error; "" = none
}

func checkHear(t *testing.T, c Codec, client Client, cases []heard) {
	t.Helper()
	for _, tt := range cases {
		got := c.Hear(client, []byte(tt.payload))
		if got.Joined != tt.want.Joined || got.Left != tt.want.Left || !bytes.Equal(got.Reply, tt.want.Reply) {
			t.Errorf("%s: Hear(%q) = %+v, want %+v", tt.name, tt.payload, got, tt.want)
		}
		if (got.Err != nil) != (tt.says != "") || got.Err != nil && !strings.Contains(got.Err.Error(), tt.says) {
			t.Errorf("%s: Hear(%q) says %v, want %q", tt.name, tt.payload, got.Err, tt.says)
		}
	}
}

// FuzzHear gives any bytes to every codec: none may panic, hear a negative count, or keep a part of the payload.
func FuzzHear(f *testing.F) {
	client := Client{Index: 3, Groups: []uint32{1, 2}}
	all := make(map[string]Codec)
	for _, name := range slices.Sorted(maps.Keys(codecs)) {
		c, err := Open(spec(name))
		if err != nil {
			f.Fatalf("open %s: %v", name, err)
		}
		all[name] = c
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for name, c := range all {
			given := bytes.Clone(payload)
			h := c.Hear(client, given)
			reply := bytes.Clone(h.Reply)
			says := ""
			if h.Err != nil {
				says = h.Err.Error()
			}
			for i := range given {
				given[i] ^= 0xff
			}
			if !bytes.Equal(reply, h.Reply) || h.Err != nil && h.Err.Error() != says {
				t.Fatalf("%s keeps a part of what it heard", name)
			}
			if h.Joined < 0 || h.Left < 0 {
				t.Fatalf("%s: Hear = %+v", name, h)
			}
		}
	})
}

// TestEveryPosterPosts: what is posted is a request that any server can read, to the path it has for that, with its key.
func TestEveryPosterPosts(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:8080")
	for name, want := range map[string]struct{ uri, header, value, body string }{
		"gatecast":   {"/api/v1/group_send", "Authorization", "Bearer k", `{"group":"bench.7","data":"abc"}`},
		"centrifuge": {"/api/publish", "X-Api-Key", "k", `{"channel":"bench.7","data":"abc"}`},
		"anycable":   {"/_broadcast", "Content-Type", "application/json", `{"stream":"bench.7","data":"\"abc\""}`},
		"ws":         {"/publish", "Content-Type", "application/json", `{"group":"bench.7","data":"abc"}`},
		"socketio":   {"/publish", "Content-Type", "application/json", `{"group":"bench.7","data":"abc"}`},
		"raw":        {"/publish", "Content-Type", "text/plain", "abc"},
		"channels":   {"/send/bench.7", "Content-Type", "text/plain", "abc"},
		"nchan":      {"/send/bench.7", "Content-Type", "text/plain", "abc"},
	} {
		c, err := Open(Spec{Codec: name, Host: at.String(), Post: at, Key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		b := c.(Poster).Post([]byte{}, 7, []byte("abc"))
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			t.Errorf("%s: %v in %q", name, err, b)
			continue
		}
		body, err := io.ReadAll(req.Body)
		if err != nil || req.Method != http.MethodPost || req.RequestURI != want.uri || req.Host != at.String() ||
			req.Header.Get(want.header) != want.value || string(body) != want.body {
			t.Errorf("%s posts %q, %v, want %+v", name, b, err, want)
		}
	}
}
