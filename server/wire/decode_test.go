package wire

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// decoded is what one frame gave: ops and errors in order, slices copied into text.
func decodeAll(d *Decoder, frame string) (got []string) {
	d.Reset([]byte(frame))
	for range 2000 {
		var op Op
		more, err := d.Next(&op)
		var e *Error
		switch {
		case errors.As(err, &e):
			s := e.Code + ": " + e.Message
			if e.HasID {
				s = fmt.Sprintf("%d %s", e.ID, s)
			}
			if e.Fatal {
				s = "fatal " + s
			}
			if e.Fatal == more {
				s += " BUT MORE IS WRONG"
			}
			got = append(got, s)
		case more:
			got = append(got, describe(&op))
		}
		if !more {
			return got
		}
	}
	return append(got, "NO END")
}

func describe(op *Op) string {
	var b strings.Builder
	b.WriteString(op.Kind.String())
	add := func(show bool, format string, args ...any) {
		if show {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	add(op.HasID, "id=%d", op.ID)
	add(op.Group != nil, "group=%q", op.Group)
	for _, g := range op.Groups {
		add(true, "[%q", g.Group)
		add(g.HasSince, "since=%q,%d", g.SinceEpoch, g.SinceSeq)
		b.WriteString("]")
	}
	add(op.Data != nil, "data=%s", op.Data)
	add(op.MsgID != nil, "msg_id=%q", op.MsgID)
	add(op.Token != nil, "token=%q", op.Token)
	add(!op.Echo, "echo=false")
	add(op.Presence, "presence")
	add(op.HasSince, "since=%q,%d", op.SinceEpoch, op.SinceSeq)
	add(op.Limit != 0, "limit=%d", op.Limit)
	add(op.Before != 0, "before=%d", op.Before)
	return b.String()
}

func TestDecode(t *testing.T) {
	const unknown = `unknown_op: unknown op; there are group_add, group_discard, group_send, presence, history, auth, ping and pong`
	bad := func(id, message string) []string { return []string{id + "bad_request: " + message} }
	fatal := func(at int) []string {
		return []string{fmt.Sprintf("fatal bad_request: the frame is no JSON object or array of objects, see byte %d", at)}
	}
	tests := []struct {
		name  string
		frame string
		want  []string
	}{
		{"group_add", `{"op":"group_add","id":1,"group":"chat.7"}`, []string{`group_add id=1 group="chat.7"`}},
		{"group_add that recovers", `{"op":"group_add","id":1,"group":"a","since":{"epoch":"e1","seq":41},"presence":true}`,
			[]string{`group_add id=1 group="a" presence since="e1",41`}},
		{"group_add of several", `{"op":"group_add","id":1,"groups":["a",{"group":"b","since":{"seq":2,"epoch":"e","x":[]}},{"group":"c","since":null}]}`,
			[]string{`group_add id=1 ["a"] ["b" since="e",2] ["c"]`}},
		{"group_discard", `{"op":"group_discard","id":2,"group":"chat.7"}`, []string{`group_discard id=2 group="chat.7"`}},
		{"group_send", `{"op":"group_send","id":3,"group":"chat.7","data":{"a":[1, 2]}}`, []string{`group_send id=3 group="chat.7" data={"a":[1, 2]}`}},
		{"group_send with all fields", `{"op":"group_send","id":3,"group":"g","data":null,"echo":false,"msg_id":"m1"}`,
			[]string{`group_send id=3 group="g" data=null msg_id="m1" echo=false`}},
		{"white space around data stays outside", "{\"op\":\"group_send\",\"group\":\"g\",\"data\": \t[1 ,2] \n}", []string{`group_send group="g" data=[1 ,2]`}},
		{"presence", `{"op":"presence","id":4,"group":"g"}`, []string{`presence id=4 group="g"`}},
		{"history", `{"op":"history","id":5,"group":"g","limit":50,"before":18446744073709551615}`,
			[]string{`history id=5 group="g" limit=50 before=18446744073709551615`}},
		{"auth", `{"op":"auth","id":6,"token":"a.b.c"}`, []string{`auth id=6 token="a.b.c"`}},
		{"ping", `{"op":"ping","id":7}`, []string{`ping id=7`}},
		{"pong", `{"op":"pong"}`, []string{`pong`}},
		{"op comes last", `{"data":1,"id":3,"group":"g","op":"group_send"}`, []string{`group_send id=3 group="g" data=1`}},
		{"white space everywhere", " {\r\n\"op\" :\t\"ping\" , \"id\" : 7 } ", []string{`ping id=7`}},
		{"unknown fields", `{"op":"ping","x":{"op":"pong","id":[{}]},"":null}`, []string{`ping`}},
		{"names are matched with case", `{"op":"ping","ID":7,"Op":"pong"}`, []string{`ping`}},
		{"the last of two members counts", `{"op":"pong","id":1,"op":"ping","id":2}`, []string{`ping id=2`}},
		{"the last of two members counts, also after a bad one", `{"op":"ping","id":"x","id":2}`, []string{`ping id=2`}},
		{"null is absent", `{"op":"ping","id":null,"group":null,"groups":null,"since":null,"echo":null,"presence":null,"limit":null,"before":null,"token":null,"msg_id":null}`,
			[]string{`ping`}},
		{"null takes back", `{"op":"group_send","group":"g","data":1,"echo":false,"echo":null,"id":1,"id":null}`, []string{`group_send group="g" data=1`}},
		{"escapes", `{"\u006fp":"p\u0069ng","id":1}`, []string{`ping id=1`}},
		{"every escape", `{"op":"group_add","group":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}`, []string{`group_add group="\"\\/\b\f\n\r\té😀"`}},
		{"lone surrogates", `{"op":"group_add","group":"\ud83d\ud83d\ude00\ude00\ud83dx\ud83d\n"}`, []string{`group_add group="�😀��x�\n"`}},
		{"two unescaped strings at once", `{"op":"group_send","group":"\u0061","msg_id":"\u0062","data":"\u0063"}`, []string{`group_send group="a" data="\u0063" msg_id="b"`}},
		{"empty group is for the name check", `{"op":"group_add","group":""}`, []string{`group_add group=""`}},
		{"smallest id", `{"op":"ping","id":-9223372036854775808}`, []string{`ping id=-9223372036854775808`}},
		{"largest id", `{"op":"ping","id":9223372036854775807}`, []string{`ping id=9223372036854775807`}},
		{"minus zero", `{"op":"ping","id":-0}`, []string{`ping id=0`}},
		{"array of ops", `[{"op":"ping","id":1}, {"op":"pong"} ]`, []string{`ping id=1`, `pong`}},
		{"empty array", ` [ ] `, nil},
		{"an op refused does not stop the next", `[{"op":"x","id":1},5,{"op":"pong"}]`, []string{"1 " + unknown, "bad_request: an op must be a JSON object", "pong"}},

		{"unknown op", `{"op":"group_flush","id":9}`, []string{"9 " + unknown}},
		{"op in other case", `{"op":"PING"}`, []string{unknown}},
		{"no op", `{"id":9}`, bad("9 ", `"op" is missing`)},
		{"empty object", `{}`, bad("", `"op" is missing`)},
		{"op is a number", `{"op":5,"id":9}`, bad("9 ", `"op" must be a string`)},
		{"id is a string", `{"op":"ping","id":"7"}`, bad("", `"id" must be an integer of at most 64 bits`)},
		{"id is a fraction", `{"op":"ping","id":7.0}`, bad("", `"id" must be an integer of at most 64 bits`)},
		{"id with exponent", `{"op":"ping","id":1e2}`, bad("", `"id" must be an integer of at most 64 bits`)},
		{"id too large", `{"op":"ping","id":9223372036854775808}`, bad("", `"id" must be an integer of at most 64 bits`)},
		{"id too small", `{"op":"ping","id":-9223372036854775809}`, bad("", `"id" must be an integer of at most 64 bits`)},
		{"id far too large", `{"op":"ping","id":184467440737095516160}`, bad("", `"id" must be an integer of at most 64 bits`)},
		{"group is a number", `{"op":"group_add","id":1,"group":5}`, bad("1 ", `"group" must be a string`)},
		{"wrong type before the id", `{"group":[],"op":"group_add","id":1}`, bad("1 ", `"group" must be a string`)},
		{"groups is a string", `{"op":"group_add","id":1,"groups":"a"}`, bad("1 ", `"groups" must be an array of names or {"group","since"} objects`)},
		{"groups holds a number", `{"op":"group_add","id":1,"groups":["a",5]}`, bad("1 ", `"groups" must be an array of names or {"group","since"} objects`)},
		{"groups holds no name", `{"op":"group_add","id":1,"groups":[{}]}`, bad("1 ", `"groups" must be an array of names or {"group","since"} objects`)},
		{"groups holds a bad since", `{"op":"group_add","id":1,"groups":[{"group":"a","since":5}]}`, bad("1 ", `"groups" must be an array of names or {"group","since"} objects`)},
		{"groups is empty", `{"op":"group_add","id":1,"groups":[]}`, bad("1 ", `"groups" is empty`)},
		{"no group", `{"op":"group_add","id":1}`, bad("1 ", `"group" or "groups" is missing`)},
		{"group and groups", `{"op":"group_add","id":1,"group":"a","groups":["b"]}`, bad("1 ", `"group" and "groups" exclude each other`)},
		{"since beside groups", `{"op":"group_add","id":1,"groups":["b"],"since":{"epoch":"","seq":0}}`, bad("1 ", `"since" belongs into the elements of "groups"`)},
		{"since without seq", `{"op":"group_add","id":1,"group":"a","since":{"epoch":"e"}}`, bad("1 ", `"since" must be {"epoch": string, "seq": integer}`)},
		{"since with negative seq", `{"op":"group_add","id":1,"group":"a","since":{"epoch":"e","seq":-1}}`, bad("1 ", `"since" must be {"epoch": string, "seq": integer}`)},
		{"since with null", `{"op":"group_add","id":1,"group":"a","since":{"epoch":null,"seq":1}}`, bad("1 ", `"since" must be {"epoch": string, "seq": integer}`)},
		{"since with null seq", `{"op":"group_add","id":1,"group":"a","since":{"epoch":"","seq":null}}`, bad("1 ", `"since" must be {"epoch": string, "seq": integer}`)},
		{"discard of groups", `{"op":"group_discard","id":1,"groups":["a"]}`, bad("1 ", `"group" is missing`)},
		{"send without group", `{"op":"group_send","id":1,"data":1}`, bad("1 ", `"group" is missing`)},
		{"send without data", `{"op":"group_send","id":1,"group":"a"}`, bad("1 ", `"data" is missing`)},
		{"presence without group", `{"op":"presence","id":1}`, bad("1 ", `"group" is missing`)},
		{"history without group", `{"op":"history","id":1}`, bad("1 ", `"group" is missing`)},
		{"limit 0", `{"op":"history","id":1,"group":"a","limit":0}`, bad("1 ", `"limit" must be an integer from 1 to 2147483647`)},
		{"limit too large", `{"op":"history","id":1,"group":"a","limit":2147483648}`, bad("1 ", `"limit" must be an integer from 1 to 2147483647`)},
		{"before is negative", `{"op":"history","id":1,"group":"a","before":-1}`, bad("1 ", `"before" must be an integer, not negative`)},
		{"echo is a number", `{"op":"group_send","id":1,"group":"a","data":1,"echo":0}`, bad("1 ", `"echo" must be true or false`)},
		{"presence is a string", `{"op":"group_add","id":1,"group":"a","presence":"true"}`, bad("1 ", `"presence" must be true or false`)},
		{"msg_id is a number", `{"op":"group_send","id":1,"group":"a","data":1,"msg_id":5}`, bad("1 ", `"msg_id" must be a string`)},
		{"token is missing", `{"op":"auth","id":1}`, bad("1 ", `"token" is missing`)},
		{"token is empty", `{"op":"auth","id":1,"token":""}`, bad("1 ", `"token" is missing`)},
		{"token is an object", `{"op":"auth","id":1,"token":{}}`, bad("1 ", `"token" must be a string`)},
		{"data of 511 levels", `{"op":"group_send","group":"a","data":` + nested(511) + `}`, []string{`group_send group="a" data=` + nested(511)}},
		{"data of 513 levels", `[{"op":"group_send","id":1,"group":"a","data":` + nested(513) + `},{"op":"pong"}]`,
			append(bad("1 ", "nested deeper than 512 levels"), "pong")},
		{"data of 5000 levels", `{"op":"group_send","id":1,"group":"a","data":` + nested(5000) + `}`, bad("1 ", "nested deeper than 512 levels")},

		{"nothing", ``, fatal(0)},
		{"white space", ` `, fatal(1)},
		{"a string", `"ping"`, fatal(0)},
		{"no JSON", `ping`, fatal(0)},
		{"half an object", `{"op":"ping"`, fatal(12)},
		{"two objects", `{"op":"ping"}{"op":"ping"}`, fatal(13)},
		{"a comma too many", `{"op":"ping",}`, fatal(13)},
		{"a comma too many in the array", `[{"op":"ping"},]`, append([]string{"ping"}, fatal(15)...)},
		{"an array without end", `[{"op":"ping"}`, fatal(14)},
		{"bytes behind the array", `[{"op":"ping"}]x`, fatal(15)},
		{"bytes behind an empty array", `[]x`, fatal(2)},
		{"single quotes", `{'op':'ping'}`, fatal(1)},
		{"a number as name", `{1:2}`, fatal(1)},
		{"no colon", `{"op" "ping"}`, fatal(6)},
		{"newline in a string", "{\"op\":\"pi\nng\"}", fatal(9)},
		{"bad escape", `{"op":"\x"}`, fatal(7)},
		{"half a unicode escape", `{"op":"\u00"}`, fatal(7)},
		{"open string", `{"op":"ping`, fatal(11)},
		{"leading zero", `{"id":01}`, fatal(7)},
		{"plus sign", `{"id":+1}`, fatal(6)},
		{"dot without digits", `{"id":1.}`, fatal(8)},
		{"lone minus", `{"id":-}`, fatal(7)},
		{"empty exponent", `{"x":1e+}`, fatal(8)},
		{"NaN", `{"x":NaN}`, fatal(5)},
		{"half a literal", `{"x":tru}`, fatal(5)},
		{"bad JSON in an unknown field", `{"op":"ping","x":[1,}]}`, fatal(20)},
		{"brackets that do not match", `{"op":"ping","x":[1}}`, fatal(19)},
		{"too deep and malformed", `{"op":"ping","x":` + nested(600)[:800] + `}`, fatal(817)},
	}
	var d Decoder
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame := strings.Clone(tt.frame)
			got := decodeAll(&d, frame)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Decode(%s)\ngot  %.300q\nwant %.300q", tt.frame, got, tt.want)
			}
			if frame != tt.frame {
				t.Errorf("the frame was changed to %s", frame)
			}
		})
	}
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestDecodeKeepsTheOpAsSent(t *testing.T) {
	var d Decoder
	var op Op
	frame := []byte(`[ {"op":"ping","id":1} , {"op":"\u0070ong", "x":1} ]`)
	d.Reset(frame)
	for _, want := range []string{`{"op":"ping","id":1}`, `{"op":"\u0070ong", "x":1}`} {
		if more, err := d.Next(&op); !more || err != nil || string(op.Raw) != want {
			t.Errorf("Raw = %s, want %s (%v)", op.Raw, want, err)
		}
	}
	if string(op.Name) != "pong" {
		t.Errorf("Name = %q", op.Name)
	}
}

func TestDecodeLimitsOpsOfAFrame(t *testing.T) {
	d := Decoder{MaxOps: 2}
	got := decodeAll(&d, `[{"op":"pong","id":1},{"op":"pong","id":2},{"op":"pong","id":3},{"op":"pong"}]`)
	want := []string{"pong id=1", "pong id=2", "limit: too many ops in one frame; the rest of it was dropped"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	d.MaxOps = 0
	if got := decodeAll(&d, "["+strings.Repeat(`{"op":"pong"},`, DefaultMaxOps)+`{"op":"pong"}]`); len(got) != DefaultMaxOps+1 || !strings.HasPrefix(got[DefaultMaxOps], "limit") {
		t.Errorf("%d results, last %q", len(got), got[len(got)-1])
	}
}

func TestDecoderBeforeResetIsDone(t *testing.T) {
	var d Decoder
	if more, err := d.Next(&Op{}); more || err != nil {
		t.Errorf("Next = %v, %v", more, err)
	}
}

func TestDecoderDropsBigScratch(t *testing.T) {
	var d Decoder
	decodeAll(&d, `{"op":"group_add","groups":["`+strings.Repeat(`\n`, keepScratch+1)+`"`+strings.Repeat(`,"a"`, keepGroups)+`]}`)
	if cap(d.scratch) <= keepScratch || cap(d.groups) <= keepGroups {
		t.Fatalf("scratch %d, groups %d: the test is too small", cap(d.scratch), cap(d.groups))
	}
	d.Reset(nil)
	if d.scratch != nil || d.groups != nil {
		t.Errorf("scratch %d, groups %d kept", cap(d.scratch), cap(d.groups))
	}
}

func TestValidJSON(t *testing.T) {
	for in, want := range map[string]bool{
		`{}`: true, ` [1, -0.5e-7, "a\u00e9", true, false, null, {"a":{}}] `: true, `"`: false, `""`: true, ``: false, `1 2`: false, `[1,]`: false, `{"a"}`: false,
		`nul`: false, "\"\xff\"": false, "\"\x7f\"": true, "\"\x1f\"": false, nested(512): true, nested(513): false, `[}`: false, `"\ud800"`: true, "\ufeff1": false,
		`"0123456789\`: false, `"0123456789\"`: false, `0`: true, `00`: false, `-`: false, `.5`: false,
	} {
		if got := ValidJSON([]byte(in)); got != want {
			t.Errorf("ValidJSON(%.40q) = %v, want %v", in, got, want)
		}
	}
}

func TestCodesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Codes {
		if seen[c.Code] || c.Meaning == "" {
			t.Errorf("%+v is double or empty", c)
		}
		seen[c.Code] = true
	}
	for _, c := range strings.Fields("bad_request unknown_op bad_group forbidden unauthorized not_member too_large rate_limited unavailable timeout limit internal") {
		if !seen[c] {
			t.Errorf("%s is missing", c)
		}
	}
}

// send100 is a group_send with 100 bytes of data.
var send100 = []byte(`{"op":"group_send","id":12345,"group":"chat.room.7","data":{"text":"` + strings.Repeat("Hello, world! ", 6) + `12"}}`)

func TestDecodeAllocations(t *testing.T) {
	var d Decoder
	var op Op
	for name, frame := range map[string][]byte{
		"group_send":        send100,
		"ping":              []byte(`{"op":"ping","id":7}`),
		"pong":              []byte(`{"op":"pong"}`),
		"group_add":         []byte(`{"op":"group_add","id":1,"group":"chat.7","since":{"epoch":"e","seq":5}}`),
		"group_add, groups": []byte(`{"op":"group_add","id":1,"groups":["a",{"group":"b","since":{"epoch":"e","seq":5}}]}`),
		"escapes":           []byte(`{"op":"group_add","id":1,"group":"\u00e9\n"}`),
		"refused":           []byte(`{"op":"nope","id":1}`),
		"array":             []byte(`[{"op":"ping","id":7},{"op":"group_send","group":"a","data":[[1]]}]`),
	} {
		t.Run(name, func(t *testing.T) {
			wantAllocs(t, 0, func() {
				d.Reset(frame)
				for {
					more, err := d.Next(&op)
					if !more {
						break
					}
					if err != nil && name != "refused" {
						t.Fatal(err)
					}
				}
			})
		})
	}
	wantAllocs(t, 0, func() {
		if !ValidJSON(send100) {
			t.Fatal("not valid")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, frame := range map[string][]byte{"group_send of 100 bytes": send100, "pong": []byte(`{"op":"pong"}`)} {
		b.Run(name, func(b *testing.B) {
			var d Decoder
			var op Op
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				d.Reset(frame)
				if more, err := d.Next(&op); !more || err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
