package wire

import (
	"strconv"
	"unicode/utf8"
)

// Welcome is the first frame after login.
type Welcome struct {
	Conn    string
	User    string // "" for anonymous
	Groups  []string
	Ping    int // seconds between the server's pings; 0 = none
	Node    string
	Expires int64 // unix seconds; 0 = never, left out
}

// AppendWelcome appends {"op":"welcome",…}.
func AppendWelcome(dst []byte, w *Welcome) []byte {
	dst = appendString(append(dst, `{"op":"welcome","conn":`...), w.Conn)
	dst = appendString(append(dst, `,"user":`...), w.User)
	dst = append(dst, `,"groups":[`...)
	for i, g := range w.Groups {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, g)
	}
	dst = appendInt(append(dst, `],"ping":`...), int64(w.Ping))
	dst = appendString(append(dst, `,"node":`...), w.Node)
	if w.Expires != 0 {
		dst = appendInt(append(dst, `,"expires":`...), w.Expires)
	}
	return append(dst, '}')
}

// AppendOK appends the reply to id; group nil leaves the field out.
func AppendOK(dst []byte, id int64, group []byte) []byte {
	dst = appendInt(append(dst, `{"op":"ok","id":`...), id)
	if group != nil {
		dst = appendString(append(dst, `,"group":`...), group)
	}
	return append(dst, '}')
}

// GroupReply is what became of one group of a group_add.
type GroupReply struct {
	Group        []byte
	HasPosition  bool // durable group: send Epoch and Seq
	Epoch        []byte
	Seq          uint64
	HasRecovered bool // the client gave since: send Recovered
	Recovered    bool
	Code         string // not "" = refused, Message says why
	Message      string
}

// AppendOKGroup appends the reply to a group_add of one group that worked, with its position.
func AppendOKGroup(dst []byte, id int64, r *GroupReply) []byte {
	dst = appendInt(append(dst, `{"op":"ok","id":`...), id)
	dst = append(dst, ',')
	return append(appendGroupReply(dst, r), '}')
}

// AppendOKGroups appends the one reply to a group_add with "groups", of which some may have failed.
func AppendOKGroups(dst []byte, id int64, replies []GroupReply) []byte {
	dst = appendInt(append(dst, `{"op":"ok","id":`...), id)
	dst = append(dst, `,"groups":[`...)
	for i := range replies {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendGroupReply(append(dst, '{'), &replies[i]), '}')
	}
	return append(dst, "]}"...)
}

// appendGroupReply appends the members of r without braces.
func appendGroupReply(dst []byte, r *GroupReply) []byte {
	dst = appendString(append(dst, `"group":`...), r.Group)
	if r.Code != "" {
		dst = appendString(append(dst, `,"error":{"code":`...), r.Code)
		dst = appendString(append(dst, `,"message":`...), r.Message)
		return append(dst, '}')
	}
	if r.HasPosition {
		dst = appendString(append(dst, `,"epoch":`...), r.Epoch)
		dst = strconv.AppendUint(append(dst, `,"seq":`...), r.Seq, 10)
	}
	if r.HasRecovered {
		dst = strconv.AppendBool(append(dst, `,"recovered":`...), r.Recovered)
	}
	return dst
}

// AppendError appends {"op":"error",…}. code is one of [Codes].
func AppendError(dst []byte, hasID bool, id int64, code, message string) []byte {
	dst = append(dst, `{"op":"error"`...)
	if hasID {
		dst = appendInt(append(dst, `,"id":`...), id)
	}
	dst = appendString(append(dst, `,"code":`...), code)
	dst = appendString(append(dst, `,"message":`...), message)
	return append(dst, '}')
}

// AppendPing appends {"op":"ping"}, which the client answers with pong.
func AppendPing(dst []byte) []byte { return append(dst, `{"op":"ping"}`...) }

// AppendClose appends the last frame before a close; the client reconnects after a random time between retryMin and retryMax milliseconds if hasRetry.
func AppendClose(dst []byte, code int, reason string, retryMin, retryMax int, hasRetry bool) []byte {
	dst = appendInt(append(dst, `{"op":"close","code":`...), int64(code))
	dst = appendString(append(dst, `,"reason":`...), reason)
	if hasRetry {
		dst = appendInt(append(dst, `,"retry":[`...), int64(retryMin))
		dst = appendInt(append(dst, ','), int64(retryMax))
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// AppendGroupAdded appends {"op":"group_added",…}: the backend made the conn a member.
func AppendGroupAdded(dst, group []byte) []byte {
	return appendGroupOp(dst, `{"op":"group_added","group":`, group)
}

// AppendGroupDiscarded appends {"op":"group_discarded",…}: the backend or a revalidation ended the membership.
func AppendGroupDiscarded(dst, group []byte) []byte {
	return appendGroupOp(dst, `{"op":"group_discarded","group":`, group)
}

// AppendReset appends {"op":"reset",…}: the position in a durable group is lost.
func AppendReset(dst, group []byte) []byte {
	return appendGroupOp(dst, `{"op":"reset","group":`, group)
}

func appendGroupOp(dst []byte, start string, group []byte) []byte {
	return append(appendString(append(dst, start...), group), '}')
}

// AppendJoin appends {"op":"join",…}: user came to a group whose presence the conn watches.
func AppendJoin(dst, group, user []byte) []byte {
	return appendPresence(dst, `{"op":"join","group":`, group, user)
}

// AppendLeave appends {"op":"leave",…}.
func AppendLeave(dst, group, user []byte) []byte {
	return appendPresence(dst, `{"op":"leave","group":`, group, user)
}

func appendPresence(dst []byte, start string, group, user []byte) []byte {
	dst = appendString(append(dst, start...), group)
	return append(appendString(append(dst, `,"user":`...), user), '}')
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

const hexDigits = "0123456789abcdef"

// plain marks the ASCII bytes that stand for themselves in a JSON string.
var plain = func() (t [utf8.RuneSelf]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

// appendString appends a JSON string as encoding/json does with SetEscapeHTML(false): U+2028 and U+2029 are escaped, invalid UTF-8 becomes U+FFFD.
func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if plain[c] {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, size := decodeRune(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, s[start:i]...), `\ufffd`...)
		case r == '\u2028' || r == '\u2029': // line ends in JavaScript before 2019
			dst = append(append(dst, s[start:i]...), `\u202`...)
			dst = append(dst, hexDigits[r&0xf])
		default:
			i += size
			continue
		}
		i += size
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// decodeRune decodes at most one rune's bytes, so that converting s to a string copies four bytes on the stack at most.
func decodeRune[T string | []byte](s T) (rune, int) {
	return utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
}
