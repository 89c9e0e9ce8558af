package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzDecode compares the decoder with encoding/json: which frames are JSON, and what the fields of each op are.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		string(send100),
		`{"op":"group_add","id":1,"group":"a\u00e9\ud83d\ude00","since":{"epoch":"e","seq":41},"presence":true}`,
		` [{"op":"group_add","id":-1,"groups":["a",{"group":"b","since":{"epoch":"e","seq":5}},{"group":"c","since":null}]},{"op":"history","group":"g","limit":5,"before":9}]`,
		`{"op":"group_send","group":"g","data":[1e5,-0.5,"\\",{},null],"echo":false,"msg_id":"m","id":1,"id":2}`,
		`[{"op":"auth","token":"t","id":9223372036854775808},{"op":"x"},5,{}]`,
		`{"op":"ping"} x`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		var d Decoder
		if !utf8.Valid(frame) { // the frame parser refuses it; here it must only not panic
			decodeAll(&d, string(frame))
			return
		}
		d.MaxOps = len(frame) + 1
		d.Reset(frame)
		ops, list, isJSON := stdOps(frame)
		for i := 0; ; i++ {
			var op Op
			more, err := d.Next(&op)
			var e *Error
			if errors.As(err, &e) && e.Fatal {
				if isJSON && list {
					t.Fatalf("%s: fatal %q, encoding/json takes it", frame, e.Message)
				}
				break
			}
			if !more {
				if !isJSON || !list || i != len(ops) {
					t.Fatalf("%s: %d ops taken, encoding/json: valid %v, %d ops", frame, i, isJSON, len(ops))
				}
				break
			}
			if !isJSON {
				continue // ops before the place where it breaks
			}
			if string(op.Raw) != string(ops[i]) {
				t.Fatalf("op %d is %s, encoding/json says %s", i, op.Raw, ops[i])
			}
			compareOp(t, &op, e, ops[i])
		}
		if !bytes.Equal(frame, before) {
			t.Fatalf("the frame was changed from %s to %s", before, frame)
		}
	})
}

// stdOps splits a frame with encoding/json; list is false if it is neither an object nor an array.
func stdOps(frame []byte) (ops []json.RawMessage, list, isJSON bool) {
	var whole json.RawMessage
	if json.Unmarshal(frame, &whole) != nil {
		return nil, false, false
	}
	whole = bytes.Trim(whole, " \t\r\n")
	switch whole[0] {
	case '{':
		return []json.RawMessage{whole}, true, true
	case '[':
		return ops, json.Unmarshal(whole, &ops) == nil, true
	}
	return nil, false, true
}

// compareOp checks an op, or the error it got, against the members encoding/json finds.
func compareOp(t *testing.T, op *Op, e *Error, raw json.RawMessage) {
	var members map[string]json.RawMessage
	if raw[0] != '{' || json.Unmarshal(raw, &members) != nil {
		if e == nil || e.Code != CodeBadRequest {
			t.Fatalf("%s: got %v, want bad_request", raw, e)
		}
		return
	}
	var id *int64
	var name, group *string
	idOK := stdField(members["id"], &id)
	nameOK := stdField(members["op"], &name)
	groupOK := stdField(members["group"], &group)
	hasID, gotID := op.HasID, op.ID
	if e != nil {
		hasID, gotID = e.HasID, e.ID
	}
	if wantID := idOK && id != nil; hasID != wantID || wantID && gotID != *id {
		t.Fatalf("%s: id %v %d, encoding/json %s", raw, hasID, gotID, members["id"])
	}
	known := nameOK && name != nil && kindOf([]byte(*name)) != OpUnknown
	if e != nil {
		if (e.Code == CodeUnknownOp) != (nameOK && name != nil && !known) {
			t.Fatalf("%s: %s for op %s", raw, e.Code, members["op"])
		}
		return
	}
	if !idOK || !known || !groupOK {
		t.Fatalf("%s: taken, but encoding/json finds id %v, op %v, group %v", raw, idOK, known, groupOK)
	}
	same := func(field string, got []byte, want *string) {
		if (got == nil) != (want == nil) || want != nil && string(got) != *want {
			t.Fatalf("%s: %s = %q, encoding/json %s", raw, field, got, members[field])
		}
	}
	same("op", op.Name, name)
	same("group", op.Group, group)
	for field, got := range map[string][]byte{"msg_id": op.MsgID, "token": op.Token} {
		var want *string
		if !stdField(members[field], &want) {
			t.Fatalf("%s: %s taken", raw, field)
		}
		same(field, got, want)
	}
	if string(op.Data) != string(members["data"]) {
		t.Fatalf("%s: data = %s, encoding/json %s", raw, op.Data, members["data"])
	}
	echo, presence, limit, before := true, false, 0, uint64(0)
	var since *struct {
		Epoch *string
		Seq   *uint64
	}
	if !stdField(members["echo"], &echo) || !stdField(members["presence"], &presence) || !stdField(members["limit"], &limit) || !stdField(members["before"], &before) {
		t.Fatalf("%s: taken, though a type is wrong", raw)
	}
	if op.Echo != echo || op.Presence != presence || op.Limit != limit || op.Before != before {
		t.Fatalf("%s: got %+v", raw, op)
	}
	if json.Unmarshal(members["since"], &since) == nil && since != nil && since.Epoch != nil && since.Seq != nil && !strings.Contains(strings.ToLower(string(members["since"])), `\u`) {
		exact := map[string]json.RawMessage{}
		json.Unmarshal(members["since"], &exact)
		if exact["epoch"] == nil || exact["seq"] == nil || len(exact) != 2 {
			return // encoding/json matches names without case
		}
		if !op.HasSince || string(op.SinceEpoch) != *since.Epoch || op.SinceSeq != *since.Seq {
			t.Fatalf("%s: since %v %q %d", raw, op.HasSince, op.SinceEpoch, op.SinceSeq)
		}
	}
	var groups []json.RawMessage
	if stdField(members["groups"], &groups); len(groups) != len(op.Groups) {
		t.Fatalf("%s: %d groups", raw, len(op.Groups))
	}
	for i, g := range groups {
		var s string
		if json.Unmarshal(g, &s) == nil && s != string(op.Groups[i].Group) {
			t.Fatalf("%s: group %d is %q", raw, i, op.Groups[i].Group)
		}
	}
}

// stdField decodes a member; an absent one leaves to as it is. ok is false if the type is wrong.
func stdField(raw json.RawMessage, to any) (ok bool) {
	return raw == nil || json.Unmarshal(raw, to) == nil
}

// FuzzValidJSON compares with encoding/json, which takes invalid UTF-8 and 10,000 levels.
func FuzzValidJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e+3,true,false,null,"x\u00e9\n"]}`, `[[]]`, `"0123456789"`, ` 1 `, `[1,]`, "\"\xff\"", nested(3)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want := json.Valid(b) && utf8.Valid(b)
		if got := ValidJSON(b); got != want && bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) <= maxDepth {
			t.Fatalf("ValidJSON(%q) = %v, want %v", b, got, want)
		}
	})
}

// FuzzAppendString compares with encoding/json.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"a\"\\\n\x00<é€😀\u2028", "\xff\xe2\x82"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := string(appendString(nil, s)), stdString(t, s); got != want {
			t.Fatalf("appendString(%q) = %s, want %s", s, got, want)
		}
	})
}

// FuzzMsgpack checks that the outcome is JSON of bounded size, or an error that leaves dst alone.
func FuzzMsgpack(f *testing.F) {
	for _, s := range []string{"\x82\xa1a\x01\xa1b\xc4\x02\x00\xff", "\x93\xc0\xca\x3f\x80\x00\x00\xd6\xff\x00\x00\x00\x01", "\xdd\xff\xff\xff\xff", "\x81\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x90", "\xd9\x03a\xffb"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := AppendMsgpack([]byte("x"), in)
		if ValidMsgpack(in) != (err == nil) {
			t.Fatalf("ValidMsgpack(%x) disagrees with %v", in, err)
		}
		if err != nil {
			if string(out) != "x" {
				t.Fatalf("%x: error %v, but dst is %s", in, err, out)
			}
			return
		}
		if out = out[1:]; !ValidJSON(out) {
			t.Fatalf("%x: %s is no JSON", in, out)
		}
		if len(out) > 8*len(in) {
			t.Fatalf("%x: %d bytes from %d", in, len(out), len(in))
		}
		var v any
		if err := json.Unmarshal(out, &v); err != nil && !reflect.ValueOf(err).IsNil() && !strings.Contains(err.Error(), "cannot unmarshal number") {
			t.Fatalf("%x: %s: %v", in, out, err)
		}
	})
}
