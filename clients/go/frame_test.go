package gatecast

import (
	"encoding/json"
	"testing"
	"time"
)

func TestRequestKeepsDataByteForByte(t *testing.T) {
	data := json.RawMessage(" { \"b\" : 1.0 , \"a\": \"<&>\\u00e9\\/\" }")
	got := string((&request{Op: "group_send", ID: 3, Group: "a<b", Data: data}).encode())
	want := `{"op":"group_send","id":3,"group":"a<b","data":` + string(data) + `}`
	if got != want {
		t.Errorf("encode = %s, want %s", got, want)
	}
}

func TestEncodeData(t *testing.T) {
	for _, tt := range []struct {
		name string
		data any
		want string // "" = an error
	}{
		{"a string without HTML escapes", "<b>", `"<b>"`},
		{"nil as null", nil, `null`},
		{"a struct", struct{ A int }{1}, `{"A":1}`},
		{"raw JSON as it is", json.RawMessage(` 1.50`), ` 1.50`},
		{"raw bytes that are no JSON", json.RawMessage(`{`), ""},
		{"empty raw bytes", json.RawMessage(nil), ""},
		{"a channel", make(chan int), ""},
	} {
		got, err := encodeData(tt.data)
		if string(got) != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%s: encodeData = %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestDecodeFrame(t *testing.T) {
	f, err := decodeFrame([]byte(`{"op":"close","code":4200,"reason":"drain","retry":[0,5000]}`))
	if err != nil {
		t.Fatal(err)
	}
	e := f.closeError()
	if e.Code != 4200 || e.Reason != "drain" || e.retry == nil || *e.retry != (retryRange{0, 5 * time.Second}) {
		t.Errorf("closeError = %+v", e)
	}
	for _, bad := range []string{`{"op":"close","retry":[5,1]}`, `{"op":"close","retry":[-5,1]}`, `{"op":"close","retry":[1]}`, `{"op":"close","retry":[0,1e300]}`} {
		f, err := decodeFrame([]byte(bad))
		if err != nil {
			t.Fatal(err)
		}
		if e := f.closeError(); e.retry != nil {
			t.Errorf("%s has the retry %v, want none", bad, *e.retry)
		}
	}
}

func FuzzDecodeFrame(f *testing.F) {
	f.Add([]byte(welcomeFrame))
	f.Add([]byte(`{"op":"ok","id":1,"groups":[{"group":"a"},{"group":"b","error":{"code":"forbidden","message":"no"}}]}`))
	f.Add([]byte(`{"op":"close","code":4200,"reason":"drain","retry":[0,5000]}`))
	f.Add([]byte(`{"op":"message","group":"chat.7","data":{"a":[1,2]},"seq":46,"from":"42"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		fr, err := decodeFrame(text)
		if err != nil {
			return
		}
		if fr.Data != nil && !json.Valid(fr.Data) {
			t.Errorf("data %q is not JSON", fr.Data)
		}
		if e := fr.closeError(); e.retry != nil && (e.retry.min < 0 || e.retry.max < e.retry.min) {
			t.Errorf("retry range %v", *e.retry)
		}
		_ = fr.err().Error()
		_, _ = fr.welcome()
		_, _ = fr.groupReplies()
	})
}
