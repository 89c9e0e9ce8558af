package gatecast

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// request is one object from client to server.
type request struct {
	Op     string          `json:"op"`
	ID     int64           `json:"id,omitempty"` // 0 = no reply wanted
	Group  string          `json:"group,omitempty"`
	Groups []string        `json:"groups,omitempty"`
	Data   json.RawMessage `json:"-"` // appended as it is: encoding/json would compact it
	Echo   *bool           `json:"echo,omitempty"`
	MsgID  string          `json:"msg_id,omitempty"`
	Token  string          `json:"token,omitempty"`
}

func (r *request) encode() []byte {
	head, err := marshal(r)
	if err != nil {
		panic(err) // strings and numbers cannot fail to encode
	}
	if r.Data == nil {
		return head
	}
	text := append(head[:len(head)-1], `,"data":`...)
	return append(append(text, r.Data...), '}')
}

// marshal is json.Marshal without HTML escapes.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// encodeData makes the data of a group_send. A json.RawMessage stays as it is.
func encodeData(data any) (json.RawMessage, error) {
	if raw, ok := data.(json.RawMessage); ok {
		if !json.Valid(raw) {
			return nil, errors.New("gatecast: data is not valid JSON")
		}
		return raw, nil
	}
	text, err := marshal(data)
	if err != nil {
		return nil, fmt.Errorf("gatecast: encode data: %w", err)
	}
	return text, nil
}

// frame is one object from server to client, all ops in one.
type frame struct {
	Op      string          `json:"op"`
	ID      int64           `json:"id"`
	Group   string          `json:"group"`
	Groups  json.RawMessage `json:"groups"` // names in welcome, groupReply objects in ok
	Data    json.RawMessage `json:"data"`
	From    string          `json:"from"`
	Format  string          `json:"format"`
	Seq     uint64          `json:"seq"`
	User    string          `json:"user"`
	Conn    string          `json:"conn"`
	Node    string          `json:"node"`
	Ping    float64         `json:"ping"`    // seconds
	Expires int64           `json:"expires"` // Unix seconds, 0 = never
	Code    json.RawMessage `json:"code"`    // a string in error, a number in close
	Message string          `json:"message"`
	Reason  string          `json:"reason"`
	Retry   []float64       `json:"retry"` // ms
}

// groupReply is the outcome for one group of a group_add with groups.
type groupReply struct {
	Group string `json:"group"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func decodeFrame(text []byte) (*frame, error) {
	f := new(frame)
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("decode frame: %w", err)
	}
	return f, nil
}

func (f *frame) err() *Error {
	var code string
	_ = json.Unmarshal(f.Code, &code) // a code that is no string stays empty
	return &Error{Code: code, Message: f.Message, Group: f.Group}
}

func (f *frame) closeError() *CloseError {
	e := &CloseError{Reason: f.Reason}
	_ = json.Unmarshal(f.Code, &e.Code) // the WebSocket's own close code follows anyway
	if len(f.Retry) == 2 && f.Retry[0] >= 0 && f.Retry[1] >= f.Retry[0] && f.Retry[1] <= 3600e3 {
		e.retry = &retryRange{millis(f.Retry[0]), millis(f.Retry[1])}
	}
	return e
}

func millis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

func (f *frame) welcome() (*Welcome, error) {
	w := &Welcome{Conn: f.Conn, User: f.User, Node: f.Node}
	if f.Groups != nil {
		if err := json.Unmarshal(f.Groups, &w.Groups); err != nil {
			return nil, fmt.Errorf("decode groups of welcome: %w", err)
		}
	}
	if f.Expires > 0 {
		w.Expires = time.Unix(f.Expires, 0)
	}
	return w, nil
}

func (f *frame) groupReplies() ([]groupReply, error) {
	var list []groupReply
	if f.Groups == nil {
		return nil, nil
	}
	if err := json.Unmarshal(f.Groups, &list); err != nil {
		return nil, fmt.Errorf("decode groups of ok: %w", err)
	}
	return list, nil
}
