package broker

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	for _, c := range []struct {
		in   string
		want frame
		rest string
	}{
		{"PING\r\nx", frame{op: opPing}, "x"},
		{"PONG\r\n", frame{op: opPong}, ""},
		{"+OK\r\n", frame{op: opOK}, ""},
		{"-ERR 'Slow Consumer'\r\n", frame{op: opErr, body: []byte("Slow Consumer")}, ""},
		{"INFO {}\r\n", frame{op: opInfo, body: []byte("{}")}, ""},
		{"MSG a.b 12 0\r\n\r\n", frame{op: opMsg, sid: 12, subject: []byte("a.b")}, ""},
		{"MSG a 1 reply 3\r\nabc\r\nMSG", frame{op: opMsg, sid: 1, subject: []byte("a"), reply: []byte("reply"), body: []byte("abc")}, "MSG"},
		{"HMSG a 1 4 6\r\nheadxy\r\n", frame{op: opMsg, sid: 1, subject: []byte("a"), header: []byte("head"), body: []byte("xy")}, ""},
		{"HMSG a 1 r 4 4\r\nhead\r\n", frame{op: opMsg, sid: 1, subject: []byte("a"), reply: []byte("r"), header: []byte("head")}, ""},
	} {
		var f frame
		n, _, err := scan([]byte(c.in), &f)
		if err != nil || c.in[n:] != c.rest || f.op != c.want.op || f.sid != c.want.sid || !bytes.Equal(f.subject, c.want.subject) ||
			!bytes.Equal(f.reply, c.want.reply) || !bytes.Equal(f.header, c.want.header) || !bytes.Equal(f.body, c.want.body) {
			t.Errorf("scan(%q) = %d, %+v, %v", c.in, n, f, err)
		}
		for i := range len(c.in) - len(c.rest) {
			if n, need, err := scan([]byte(c.in[:i]), &f); n != 0 || err != nil || need <= i {
				t.Errorf("scan(%q) = %d, need %d, %v; want more", c.in[:i], n, need, err)
			}
		}
	}
}

func TestScanRefuses(t *testing.T) {
	for _, in := range []string{
		"\n", "\r\n", "PING\n", "ping\r\n", "PINGS\r\n", "MSG \r\n", "MSG a\r\n", "MSG a 1\r\n", "MSG a x 1\r\n", "MSG a 1 -1\r\n",
		"MSG a 1 b c 1\r\n", "MSG a 1 99999999999999999999\r\n", "MSG a 1 999999999\r\n", "MSG a 1 1\r\nab\r\n", "HMSG a 1 5 4\r\nabcd\r\n",
		strings.Repeat("x", maxLine+2), "INFO " + strings.Repeat("x", maxLine) + "\r\n",
	} {
		var f frame
		if n, _, err := scan([]byte(in), &f); !errors.Is(err, errProtocol) {
			t.Errorf("scan(%.40q) = %d, %v; want errProtocol", in, n, err)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("MSG a 1 reply 3\r\nabc\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var fr frame
		n, need, err := scan(in, &fr)
		switch {
		case err != nil:
			if n != 0 {
				t.Fatalf("an error and %d bytes", n)
			}
		case n == 0:
			if need <= len(in) {
				t.Fatalf("wants %d bytes and has %d", need, len(in))
			}
		case n > len(in) || fr.op == 0:
			t.Fatalf("took %d of %d bytes as op %d", n, len(in), fr.op)
		default:
			// more bytes behind it change nothing
			var again frame
			if n2, _, err := scan(append(bytes.Clone(in[:n]), "\r\nPING"...), &again); err != nil || n2 != n || again.op != fr.op || !bytes.Equal(again.body, fr.body) {
				t.Fatalf("scan depends on what follows: %d and %d, %v", n, n2, err)
			}
		}
	})
}

func TestHeadersRoundTrip(t *testing.T) {
	m := Message{Format: FormatMsgpack, ID: []byte("a b%41\r\n"), From: []byte("ü@x"), Conn: []byte("c"), Exclude: []byte("c,d")}
	var got Message
	var h headerReader
	block := appendHeaders(nil, &m, "n")
	if bad := h.read(block, &got); bad != "" {
		t.Fatal(bad)
	}
	if got.Format != m.Format || string(got.ID) != string(m.ID) || string(got.From) != string(m.From) ||
		string(got.Conn) != "c" || string(got.Exclude) != "c,d" {
		t.Errorf("%q gives %+v", block, got)
	}
	if bytes.Count(block, crlf) != 8 {
		t.Errorf("a value broke the block: %q", block)
	}
}

func TestHeadersRefuse(t *testing.T) {
	for _, block := range []string{
		"", "NATS/2.0\r\n\r\n", "NATS/1.0", "NATS/1.0\r\nGc-Id: x", "NATS/1.0\r\nno colon\r\n\r\n", "NATS/1.0\r\nGc-Format: xml\r\n\r\n",
		"NATS/1.0\r\nGc-Id: %FF\r\n\r\n", "NATS/1.0\r\nGc-Id: " + strings.Repeat("x", maxHeaderValue+1) + "\r\n\r\n",
		"NATS/1.0\r\nGc-Id: " + strings.Repeat("%41", maxHeaderValue+1) + "\r\n\r\n",
	} {
		var h headerReader
		var m Message
		if h.read([]byte(block), &m) == "" {
			t.Errorf("read(%.60q) took it", block)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add([]byte("NATS/1.0\r\nGc-Format: text\r\nGc-Id: a%20b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, block []byte) {
		var h, h2 headerReader
		var m, again Message
		if h.read(block, &m) != "" {
			return
		}
		m.Seq = 0
		out := appendHeaders(nil, &m, "n")
		if bad := h2.read(out, &again); bad != "" {
			t.Fatalf("own block %q refused: %s", out, bad)
		}
		if string(h2.node) != "n" {
			t.Fatalf("own block %q is of node %q", out, h2.node)
		}
		if m.Format != again.Format || !bytes.Equal(m.ID, again.ID) || !bytes.Equal(m.From, again.From) || !bytes.Equal(m.Conn, again.Conn) || !bytes.Equal(m.Exclude, again.Exclude) {
			t.Fatalf("%+v came back as %+v", m, again)
		}
	})
}

func TestValidMsgpack(t *testing.T) {
	for in, want := range map[string]bool{
		"\x00": true, "\xff": true, "\xc0": true, "\xc2": true, "\xa1a": true, "\x81\xa1a\x01": true, "\x92\x01\x02": true,
		"\xcb12345678": true, "\xc4\x02ab": true, "\xd4\x01x": true, "\xd8\x01" + strings.Repeat("x", 16): true, "\xc7\x01\x05x": true,
		"\xdc\x00\x01\x01": true, "\xdf\x00\x00\x00\x01\xa0\xc0": true, "\xdd\x00\x00\x00\x00": true, "\x80": true, "\x90": true,
		"": false, "\xc1": false, "\xa1": false, "\x81\xa1a": false, "\x92\x01": false, "\x01\x01": false, "\xdd\xff\xff\xff\xff": false,
		"\xdf\xff\xff\xff\xff": false, "\xc6\xff\xff\xff\xff": false, "\xd9": false, "\xcd\x01": false,
		strings.Repeat("\x91", 100) + "\x01": true, strings.Repeat("\x91", 200) + "\x01": false,
	} {
		if got := validMsgpack([]byte(in)); got != want {
			t.Errorf("validMsgpack(%.40q) = %v, want %v", in, got, want)
		}
	}
}

func FuzzMsgpack(f *testing.F) {
	f.Add([]byte("\x82\xa1a\x93\x01\x02\x03\xa1b\xc0"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if validMsgpack(in) {
			// a value has no valid value as a proper prefix, and none with a byte more
			if validMsgpack(in[:len(in)-1]) || validMsgpack(append(bytes.Clone(in), 0)) {
				t.Fatalf("%x is not prefix-free", in)
			}
			if !validMsgpack(append([]byte{0x91}, in...)) && bytes.Count(in, []byte{}) < maxMsgpackDepth {
				t.Fatalf("%x is no array element", in)
			}
		}
	})
}
