package wire

import "math"

// fieldSet is a set of an op's fields.
type fieldSet uint16

const (
	fieldID fieldSet = 1 << iota
	fieldOp
	fieldGroup
	fieldGroups
	fieldEcho
	fieldMsgID
	fieldToken
	fieldPresence
	fieldSince
	fieldLimit
	fieldBefore
)

// wrongType says what each field should have been.
var wrongType = [...]struct {
	field   fieldSet
	message string
}{
	{fieldID, `"id" must be an integer of at most 64 bits`},
	{fieldOp, `"op" must be a string`},
	{fieldGroup, `"group" must be a string`},
	{fieldGroups, `"groups" must be an array of names or {"group","since"} objects`},
	{fieldEcho, `"echo" must be true or false`},
	{fieldMsgID, `"msg_id" must be a string`},
	{fieldToken, `"token" must be a string`},
	{fieldPresence, `"presence" must be true or false`},
	{fieldSince, `"since" must be {"epoch": string, "seq": integer}`},
	{fieldLimit, `"limit" must be an integer from 1 to 2147483647`},
	{fieldBefore, `"before" must be an integer, not negative`},
}

// field decodes the member called name whose value begins at i. A wrong type does not end the decoding: the rest may hold the id. null is as good as
// absent, but for data. Of two members with one name the last counts, as in encoding/json.
func (d *Decoder) field(op *Op, name []byte, i int) int {
	switch string(name) {
	case "op":
		return d.stringField(fieldOp, &op.Name, i)
	case "id":
		end, ok := d.integer(i, &op.ID)
		op.HasID = ok && !d.isNull(i)
		return d.mark(fieldID, ok, end)
	case "group":
		return d.stringField(fieldGroup, &op.Group, i)
	case "groups":
		end, ok := d.groupList(op, i)
		return d.mark(fieldGroups, ok, end)
	case "data":
		end := d.scan.value(i)
		if end >= 0 {
			op.Data = d.scan.b[i:end]
		}
		return end
	case "echo":
		op.HasEcho = true
		return d.boolField(fieldEcho, &op.Echo, true, i)
	case "msg_id":
		return d.stringField(fieldMsgID, &op.MsgID, i)
	case "token":
		return d.stringField(fieldToken, &op.Token, i)
	case "presence":
		return d.boolField(fieldPresence, &op.Presence, false, i)
	case "since":
		var g GroupReq
		end, ok := d.since(&g, i)
		op.HasSince, op.SinceEpoch, op.SinceSeq = g.HasSince, g.SinceEpoch, g.SinceSeq
		return d.mark(fieldSince, ok, end)
	case "limit":
		var n int64
		end, ok := d.integer(i, &n)
		ok = ok && (d.isNull(i) || n >= 1 && n <= math.MaxInt32)
		op.Limit = int(n)
		return d.mark(fieldLimit, ok, end)
	case "before":
		end, ok := d.unsigned(i, &op.Before)
		return d.mark(fieldBefore, ok, end)
	}
	return d.scan.value(i)
}

// mark notes whether a field has the right type.
func (d *Decoder) mark(f fieldSet, ok bool, end int) int {
	d.bad &^= f
	if !ok {
		d.bad |= f
	}
	return end
}

func (d *Decoder) isNull(i int) bool { return d.scan.at(i) == 'n' }

// stringField decodes a string or null.
func (d *Decoder) stringField(f fieldSet, to *[]byte, i int) int {
	*to = nil
	if d.scan.at(i) != '"' {
		return d.mark(f, d.isNull(i), d.scan.value(i))
	}
	end, escaped := d.scan.str(i)
	if end >= 0 {
		*to = d.text(i, end, escaped)
	}
	return d.mark(f, true, end)
}

// boolField decodes true, false or null, which stands for absent.
func (d *Decoder) boolField(f fieldSet, to *bool, absent bool, i int) int {
	*to = absent
	switch d.scan.at(i) {
	case 't':
		*to = true
	case 'f':
		*to = false
	case 'n':
	default:
		return d.mark(f, false, d.scan.value(i))
	}
	return d.mark(f, true, d.scan.literal(i))
}

// integer decodes an integer within int64, or null as 0. ok is false for any other value.
func (d *Decoder) integer(i int, to *int64) (end int, ok bool) {
	*to = 0
	negative := d.scan.at(i) == '-'
	end, n, ok := d.magnitude(i)
	switch {
	case !ok:
	case negative && n <= 1<<63:
		*to = -int64(n)
	case !negative && n <= math.MaxInt64:
		*to = int64(n)
	default:
		ok = false
	}
	return end, ok
}

// unsigned decodes an integer within uint64, or null as 0.
func (d *Decoder) unsigned(i int, to *uint64) (end int, ok bool) {
	end, n, ok := d.magnitude(i)
	if ok = ok && d.scan.at(i) != '-'; !ok {
		n = 0
	}
	*to = n
	return end, ok
}

// magnitude decodes an integer without its sign, or null as 0. ok is false if the value is anything else or does not fit.
func (d *Decoder) magnitude(i int) (end int, n uint64, ok bool) {
	s := &d.scan
	c := s.at(i)
	if c != '-' && (c < '0' || c > '9') {
		return s.value(i), 0, c == 'n'
	}
	if end = s.number(i); end < 0 {
		return end, 0, false
	}
	if c == '-' {
		i++
	}
	for _, c := range s.b[i:end] {
		digit := uint64(c - '0')
		if digit > 9 { // fraction or exponent
			return end, 0, false
		}
		if n > (math.MaxUint64-digit)/10 {
			return end, 0, false
		}
		n = n*10 + digit
	}
	return end, n, true
}

// since decodes {"epoch","seq"} or null.
func (d *Decoder) since(g *GroupReq, i int) (end int, ok bool) {
	g.HasSince, g.SinceEpoch, g.SinceSeq = false, nil, 0
	s := &d.scan
	if s.at(i) != '{' {
		return s.value(i), d.isNull(i)
	}
	var epoch, seq bool
	end = d.members(i, func(name []byte, i int) (end int) {
		switch string(name) {
		case "epoch":
			g.SinceEpoch, epoch = nil, s.at(i) == '"'
			if epoch {
				var escaped bool
				if end, escaped = s.str(i); end >= 0 {
					g.SinceEpoch = d.text(i, end, escaped)
				}
				return end
			}
		case "seq":
			end, seq = d.unsigned(i, &g.SinceSeq)
			seq = seq && !d.isNull(i)
			return end
		}
		return s.value(i)
	})
	g.HasSince = epoch && seq
	return end, g.HasSince
}

// groupList decodes an array of names and {"group","since"} objects, or null.
func (d *Decoder) groupList(op *Op, i int) (end int, ok bool) {
	op.Groups = nil
	s := &d.scan
	if s.at(i) != '[' {
		return s.value(i), d.isNull(i)
	}
	d.groups = d.groups[:0]
	ok = true
	if i = s.space(i + 1); s.at(i) != ']' {
		for {
			var g GroupReq
			end, good := d.groupReq(&g, i)
			if end < 0 {
				return end, false
			}
			ok = ok && good
			d.groups = append(d.groups, g)
			i = s.space(end)
			if s.at(i) == ']' {
				break
			}
			if s.at(i) != ',' {
				return ^i, false
			}
			i = s.space(i + 1)
		}
	}
	if op.Groups = d.groups; op.Groups == nil {
		op.Groups = []GroupReq{}
	}
	return i + 1, ok
}

func (d *Decoder) groupReq(g *GroupReq, i int) (end int, ok bool) {
	s := &d.scan
	switch s.at(i) {
	case '"':
		end, escaped := s.str(i)
		if end >= 0 {
			g.Group = d.text(i, end, escaped)
		}
		return end, true
	case '{':
		sinceOK := true
		end = d.members(i, func(name []byte, i int) (end int) {
			switch string(name) {
			case "group":
				g.Group = nil
				if s.at(i) == '"' {
					end, escaped := s.str(i)
					if end >= 0 {
						g.Group = d.text(i, end, escaped)
					}
					return end
				}
			case "since":
				end, sinceOK = d.since(g, i)
				return end
			}
			return s.value(i)
		})
		return end, g.Group != nil && sinceOK
	}
	return s.value(i), false
}

// check finds the op's kind and what it lacks. The error is nil or an *Error.
func (d *Decoder) check(op *Op) error {
	refuse := func(message string) error { return d.refuse(op, CodeBadRequest, message) }
	if d.bad&fieldOp == 0 {
		if op.Name == nil {
			return refuse(`"op" is missing`)
		}
		if op.Kind = kindOf(op.Name); op.Kind == OpUnknown {
			return d.refuse(op, CodeUnknownOp, "unknown op; there are group_add, group_discard, group_send, presence, history, auth, ping and pong")
		}
	}
	if d.bad != 0 {
		for _, w := range wrongType {
			if d.bad&w.field != 0 {
				return refuse(w.message)
			}
		}
	}
	if d.scan.deep {
		return refuse("nested deeper than 512 levels")
	}
	switch op.Kind {
	case OpGroupAdd:
		switch {
		case op.Group == nil && op.Groups == nil:
			return refuse(`"group" or "groups" is missing`)
		case op.Group != nil && op.Groups != nil:
			return refuse(`"group" and "groups" exclude each other`)
		case op.Groups != nil && len(op.Groups) == 0:
			return refuse(`"groups" is empty`)
		case op.Groups != nil && op.HasSince:
			return refuse(`"since" belongs into the elements of "groups"`)
		}
	case OpGroupDiscard, OpPresence, OpHistory:
		if op.Group == nil {
			return refuse(`"group" is missing`)
		}
	case OpGroupSend:
		if op.Group == nil {
			return refuse(`"group" is missing`)
		}
		if op.Data == nil {
			return refuse(`"data" is missing`)
		}
	case OpAuth:
		if len(op.Token) == 0 {
			return refuse(`"token" is missing`)
		}
	}
	return nil
}
