package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestEncode(t *testing.T) {
	g := []byte("chat.7")
	message := func(m Message) []byte {
		out, err := AppendMessage(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"welcome", AppendWelcome(nil, &Welcome{Conn: "0b1c", User: "42", Groups: []string{"user.42", "a"}, Ping: 25, Node: "n1", Expires: 1700000000}),
			`{"op":"welcome","conn":"0b1c","user":"42","groups":["user.42","a"],"ping":25,"node":"n1","expires":1700000000}`},
		{"welcome of nobody", AppendWelcome(nil, &Welcome{Conn: "c", Node: "n"}), `{"op":"welcome","conn":"c","user":"","groups":[],"ping":0,"node":"n"}`},
		{"ok", AppendOK(nil, 7, nil), `{"op":"ok","id":7}`},
		{"ok with group", AppendOK(nil, -1, g), `{"op":"ok","id":-1,"group":"chat.7"}`},
		{"ok with position", AppendOKGroup(nil, 1, &GroupReply{Group: g, HasPosition: true, Epoch: []byte("e"), Seq: 45, HasRecovered: true, Recovered: true}),
			`{"op":"ok","id":1,"group":"chat.7","epoch":"e","seq":45,"recovered":true}`},
		{"ok groups", AppendOKGroups(nil, 1, []GroupReply{
			{Group: g},
			{Group: []byte("d"), HasPosition: true, Epoch: []byte("e"), Seq: 0, HasRecovered: true},
			{Group: []byte("x"), Code: CodeForbidden, Message: "no"},
		}), `{"op":"ok","id":1,"groups":[{"group":"chat.7"},{"group":"d","epoch":"e","seq":0,"recovered":false},{"group":"x","error":{"code":"forbidden","message":"no"}}]}`},
		{"ok no groups", AppendOKGroups(nil, 1, nil), `{"op":"ok","id":1,"groups":[]}`},
		{"error", AppendError(nil, true, 3, CodeForbidden, `no "x"`), `{"op":"error","id":3,"code":"forbidden","message":"no \"x\""}`},
		{"error without id", AppendError(nil, false, 3, CodeLimit, ""), `{"op":"error","code":"limit","message":""}`},
		{"ping", AppendPing(nil), `{"op":"ping"}`},
		{"close", AppendClose(nil, 4200, "drain", 0, 5000, true), `{"op":"close","code":4200,"reason":"drain","retry":[0,5000]}`},
		{"close for good", AppendClose(nil, 4403, "forbidden", 0, 0, false), `{"op":"close","code":4403,"reason":"forbidden"}`},
		{"group_added", AppendGroupAdded(nil, g), `{"op":"group_added","group":"chat.7"}`},
		{"group_discarded", AppendGroupDiscarded(nil, g), `{"op":"group_discarded","group":"chat.7"}`},
		{"reset", AppendReset(nil, g), `{"op":"reset","group":"chat.7"}`},
		{"join", AppendJoin(nil, g, []byte("42")), `{"op":"join","group":"chat.7","user":"42"}`},
		{"leave", AppendLeave(nil, g, []byte("é\n")), `{"op":"leave","group":"chat.7","user":"é\n"}`},
		{"json message", message(Message{Group: g, Data: []byte(`{"a": "<1>"}`), Seq: 46, From: []byte("42")}),
			`{"op":"message","group":"chat.7","data":{"a": "<1>"},"seq":46,"from":"42"}`},
		{"live message of a backend", message(Message{Group: g, Data: []byte(`1`)}), `{"op":"message","group":"chat.7","data":1}`},
		{"empty json message", message(Message{Group: g}), `{"op":"message","group":"chat.7","data":null}`},
		{"text message", message(Message{Group: g, Data: []byte("a\"<b>\n"), Format: FormatText}), `{"op":"message","group":"chat.7","data":"a\"<b>\n"}`},
		{"binary message", message(Message{Group: g, Data: []byte{0, 255, 16, 131}, Format: FormatBinary, Seq: 1}),
			`{"op":"message","group":"chat.7","data":"AP8Qgw==","format":"binary","seq":1}`},
		{"msgpack message", message(Message{Group: g, Data: []byte("\x82\xa1a\x01\xa1b\xc4\x02\x00\xff"), Format: FormatMsgpack}),
			`{"op":"message","group":"chat.7","data":{"a":1,"b":"AP8="}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if string(tt.got) != tt.want {
				t.Errorf("got  %s\nwant %s", tt.got, tt.want)
			}
			if !json.Valid(tt.got) {
				t.Errorf("%s is no JSON", tt.got)
			}
		})
	}
}

func TestMessageThatCannotBeDelivered(t *testing.T) {
	for _, m := range []Message{{Data: []byte("\xc1"), Format: FormatMsgpack}, {Data: []byte("{}"), Format: 4}} {
		out, err := AppendMessage([]byte("before"), &m)
		if err == nil || string(out) != "before" {
			t.Errorf("AppendMessage(%+v) = %q, %v", m, out, err)
		}
	}
}

func TestStringsAreEncodedAsInEncodingJSON(t *testing.T) {
	for _, s := range []string{"", "plain", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "<>&", "é€😀", "a\xffb\xe2\x82", "\u2028\u2029", "\xed\xa0\x80", strings.Repeat("x€", 100)} {
		if got, want := string(appendString(nil, s)), stdString(t, s); got != want {
			t.Errorf("appendString(%q) = %s, want %s", s, got, want)
		}
		if got, want := string(appendString(nil, []byte(s))), stdString(t, s); got != want {
			t.Errorf("appendString([]byte(%q)) = %s, want %s", s, got, want)
		}
	}
}

func stdString(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestMsgpack(t *testing.T) {
	tests := []struct{ name, in, want, err string }{
		{"fixint", "\x00", `0`, ""},
		{"fixint 127", "\x7f", `127`, ""},
		{"negative fixint", "\xff", `-1`, ""},
		{"negative fixint -32", "\xe0", `-32`, ""},
		{"uint8", "\xcc\xff", `255`, ""},
		{"uint16", "\xcd\x01\x00", `256`, ""},
		{"uint32", "\xce\xff\xff\xff\xff", `4294967295`, ""},
		{"uint64", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", `18446744073709551615`, ""},
		{"int8", "\xd0\x80", `-128`, ""},
		{"int16", "\xd1\x80\x00", `-32768`, ""},
		{"int32", "\xd2\x80\x00\x00\x00", `-2147483648`, ""},
		{"int64", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", `-9223372036854775808`, ""},
		{"nil, false, true", "\x93\xc0\xc2\xc3", `[null,false,true]`, ""},
		{"float32", "\xca\x3f\x80\x00\x00", `1`, ""},
		{"float32 0.1", "\xca\x3d\xcc\xcc\xcd", `0.1`, ""},
		{"float64", "\xcb\x3f\xf1\x99\x99\x99\x99\x99\x9a", `1.1`, ""},
		{"float64 1e-9", "\xcb\x3e\x11\x2e\x0b\xe8\x26\xd6\x95", `1e-9`, ""},
		{"NaN", "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", `null`, ""},
		{"infinity", "\xca\xff\x80\x00\x00", `null`, ""},
		{"fixstr", "\xa3a\"b", `"a\"b"`, ""},
		{"empty str", "\xa0", `""`, ""},
		{"str8", "\xd9\x02\xc3\xa9", `"é"`, ""},
		{"str16", "\xda\x00\x01a", `"a"`, ""},
		{"str32", "\xdb\x00\x00\x00\x01a", `"a"`, ""},
		{"str that is no UTF-8", "\xa1\xff", `"\ufffd"`, ""},
		{"bin8", "\xc4\x01\xff", `"/w=="`, ""},
		{"bin16", "\xc5\x00\x00", `""`, ""},
		{"bin32", "\xc6\x00\x00\x00\x01a", `"YQ=="`, ""},
		{"array16", "\xdc\x00\x02\x01\x02", `[1,2]`, ""},
		{"array32", "\xdd\x00\x00\x00\x00", `[]`, ""},
		{"map16", "\xde\x00\x01\xa1a\x90", `{"a":[]}`, ""},
		{"map32", "\xdf\x00\x00\x00\x00", `{}`, ""},
		{"keys that are no strings", "\x86\x01\x01\xc0\x02\xc3\x03\xff\x04\xc4\x01a\x05\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x06",
			`{"1":1,"null":2,"true":3,"-1":4,"YQ==":5,"null":6}`, ""},
		{"fixext of an unknown type", "\xd4\x05\xff", `"/w=="`, ""},
		{"ext8", "\xc7\x00\x05", `""`, ""},
		{"timestamp of 4 bytes", "\xd6\xff\x00\x00\x00\x01", `"1970-01-01T00:00:01Z"`, ""},
		{"timestamp of 8 bytes", "\xd7\xff\x77\x35\x94\x00\x00\x00\x00\x01", `"1970-01-01T00:00:01.5Z"`, ""},
		{"timestamp of 12 bytes", "\xc7\x0c\xff\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff", `"1969-12-31T23:59:59.000000001Z"`, ""},
		{"timestamp as key", "\x81\xd6\xff\x00\x00\x00\x01\x01", `{"1970-01-01T00:00:01Z":1}`, ""},

		{"nothing", "", "", errMsgpackShort.Error()},
		{"0xc1", "\xc1", "", errMsgpackInvalid.Error()},
		{"bytes behind the value", "\x01\x01", "", errMsgpackRest.Error()},
		{"array of 4 G values", "\xdd\xff\xff\xff\xff\x01", "", errMsgpackShort.Error()},
		{"str of 4 GB", "\xdb\xff\xff\xff\xffa", "", errMsgpackShort.Error()},
		{"bin without length", "\xc5\x00", "", errMsgpackShort.Error()},
		{"map without value", "\x81\xa1a", "", errMsgpackShort.Error()},
		{"map without key", "\x81", "", errMsgpackShort.Error()},
		{"ext without type", "\xd4", "", errMsgpackShort.Error()},
		{"array as key", "\x81\x90\x01", "", errMsgpackKey.Error()},
		{"map as key", "\x81\xde\x00\x00\x01", "", errMsgpackKey.Error()},
		{"timestamp of 3 bytes", "\xc7\x03\xff\x00\x00\x00", "", errMsgpackTime.Error()},
		{"timestamp with too many nanoseconds", "\xd7\xff\xff\xff\xff\xff\x00\x00\x00\x01", "", errMsgpackTime.Error()},
		{"timestamp in another age", "\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x50\x00\x00\x00\x00\x00", "", errMsgpackTime.Error()},
		{"timestamp at the end of int64", "\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", "", errMsgpackTime.Error()},
		{"512 levels", strings.Repeat("\x91", 511) + "\x90", nested(512), ""},
		{"513 levels", strings.Repeat("\x91", 512) + "\x90", "", errMsgpackDeep.Error()},
		{"a million levels", strings.Repeat("\x81\x01", 1_000_000), "", errMsgpackDeep.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AppendMsgpack([]byte("x"), []byte(tt.in))
			if err == nil {
				err = errNone
			}
			if string(got) != "x"+tt.want || strings.TrimPrefix(err.Error(), "none") != tt.err {
				t.Errorf("AppendMsgpack(%.40q) = %.100s, %v, want %.100s, %q", tt.in, got, err, tt.want, tt.err)
			}
			if valid := ValidMsgpack([]byte(tt.in)); valid != (tt.err == "") {
				t.Errorf("ValidMsgpack = %v", valid)
			}
		})
	}
}

var errNone = noError{}

type noError struct{}

func (noError) Error() string { return "none" }

func TestFloatsAreEncodedAsInEncodingJSON(t *testing.T) {
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1.5, 1e20, 1e21, 1e22, 1e-6, 1e-7, 1.5e-10, 1e100, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Pi} {
		want, _ := json.Marshal(f)
		if got := appendFloat(nil, f, 64); string(got) != string(want) {
			t.Errorf("appendFloat(%g) = %s, want %s", f, got, want)
		}
		if f32 := float32(f); !math.IsInf(float64(f32), 0) {
			want, _ = json.Marshal(f32)
			if got := appendFloat(nil, float64(f32), 32); string(got) != string(want) {
				t.Errorf("appendFloat(%g, 32) = %s, want %s", f32, got, want)
			}
		}
	}
}

func TestEncodeAllocations(t *testing.T) {
	dst := make([]byte, 0, 4096)
	group, from := []byte("chat.é"), []byte("42")
	replies := []GroupReply{{Group: group}, {Group: group, Code: CodeForbidden, Message: "no"}}
	welcome := &Welcome{Conn: "c", User: "42", Groups: []string{"user.42"}, Node: "n"}
	messages := []*Message{
		{Group: group, Data: []byte(`{"a":1}`), From: from, Seq: 5},
		{Group: group, Data: []byte("text\n"), Format: FormatText},
		{Group: group, Data: []byte("\x00\xff"), Format: FormatBinary},
		{Group: group, Data: []byte("\x82\xa1a\x01\x02\xcb\x3f\xf1\x99\x99\x99\x99\x99\x9a"), Format: FormatMsgpack},
	}
	wantAllocs(t, 0, func() {
		b := AppendWelcome(dst, welcome)
		b = AppendOK(b, 1, group)
		b = AppendOKGroups(b, 1, replies)
		b = AppendError(b, true, 1, CodeForbidden, "no\n")
		b = AppendClose(b, 4200, "drain", 0, 5000, true)
		b = AppendJoin(b, group, from)
		for _, m := range messages {
			if _, err := AppendMessage(b, m); err != nil {
				t.Fatal(err)
			}
		}
		if !ValidMsgpack(messages[3].Data) {
			t.Fatal("not valid")
		}
	})
}

func BenchmarkAppendMessage(b *testing.B) {
	dst := make([]byte, 0, 4096)
	m := &Message{Group: []byte("chat.room.7"), Data: []byte(`{"text":"` + strings.Repeat("a", 88) + `"}`), From: []byte("42")}
	for format, name := range []string{"json", "text", "binary"} {
		b.Run(name, func(b *testing.B) {
			m.Format = byte(format)
			b.ReportAllocs()
			for b.Loop() {
				AppendMessage(dst, m)
			}
		})
	}
}
