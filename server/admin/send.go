package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

const (
	maxGroups  = 1000 // groups of one group_send; more is a loop in the caller
	maxExclude = 100  // conn ids of one group_send: they travel in a header
	maxConnID  = 64   // bytes; ours have 36
	maxMsgID   = 256  // bytes; it travels in a header too
)

// groupSend is POST group_send: {group|groups, data, format?, exclude?, msg_id?}.
func (s *Server) groupSend(ctx context.Context, r *http.Request) (any, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	m, err := decodeGroupSend(body)
	if err != nil {
		return nil, err
	}
	seq, err := s.deps.Node.GroupSend(ctx, m)
	if err != nil {
		return nil, err
	}
	return struct {
		OK  bool   `json:"ok"`
		Seq uint64 `json:"seq,omitempty"`
	}{true, seq}, nil
}

func decodeGroupSend(body []byte) (*GroupSend, error) {
	obj, err := decodeObject(body, "group", "groups", "data", "format", "exclude", "msg_id")
	if err != nil {
		return nil, err
	}
	m := &GroupSend{}
	if m.Groups, err = sendGroups(obj); err != nil {
		return nil, err
	}
	if m.Format, err = obj.text("format"); err != nil {
		return nil, err
	}
	if m.Exclude, err = sendExclude(obj); err != nil {
		return nil, err
	}
	if m.MsgID, err = obj.text("msg_id"); err != nil {
		return nil, err
	}
	if len(m.MsgID) > maxMsgID {
		return nil, badRequest("field \"msg_id\" has %d bytes, at most %d", len(m.MsgID), maxMsgID)
	}
	data, ok := obj["data"]
	if !ok {
		return nil, badRequest("field \"data\" is missing; to send nothing, send null")
	}
	switch m.Format {
	case "", "json":
		m.Format, m.Data = "json", data
	case "text":
		m.Data, err = textData(data)
	case "binary", "msgpack":
		m.Data, err = base64Data(data, m.Format)
	default:
		err = badRequest(`format %q is unknown; there are "json", "text", "binary", "msgpack"`, m.Format)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

func sendGroups(obj object) ([]string, error) {
	_, one := obj["group"]
	_, many := obj["groups"]
	if one && many {
		return nil, badRequest("give only one of group, groups")
	}
	if !many {
		g, err := obj.required("group")
		return []string{g}, err
	}
	groups, err := obj.texts("groups")
	switch {
	case err != nil:
		return nil, err
	case len(groups) == 0:
		return nil, badRequest("field \"groups\" is empty")
	case len(groups) > maxGroups:
		return nil, &Error{CodeTooLarge, fmt.Sprintf("at most %d groups in one group_send", maxGroups)}
	}
	return groups, nil
}

func sendExclude(obj object) ([]string, error) {
	ids, err := obj.texts("exclude")
	if err != nil {
		return nil, err
	}
	if len(ids) > maxExclude {
		return nil, badRequest("field \"exclude\" has %d conn ids, at most %d", len(ids), maxExclude)
	}
	for _, id := range ids {
		if id == "" || len(id) > maxConnID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r == ',' || r >= 0x7f }) {
			return nil, badRequest("field \"exclude\": %q is no conn id", id)
		}
	}
	return ids, nil
}

func textData(data json.RawMessage) ([]byte, error) {
	var s string
	if data[0] != '"' || json.Unmarshal(data, &s) != nil {
		return nil, badRequest("with format \"text\", data must be a string")
	}
	return []byte(s), nil
}

func base64Data(data json.RawMessage, format string) ([]byte, error) {
	s, err := textData(data)
	if err == nil {
		out := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
		n, err := base64.StdEncoding.Decode(out, s)
		if err == nil {
			return out[:n], nil
		}
	}
	return nil, badRequest("with format %q, data must be a string of base64 (with padding)", format)
}
