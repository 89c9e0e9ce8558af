package pickle

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// line runs the opcodes of protocol 0, whose arguments are lines of text.
func (m *machine) line(op byte) error {
	arg, err := m.readLine()
	if err != nil {
		return err
	}
	switch op {
	case opInt:
		switch arg {
		case "00":
			return m.push(false)
		case "01":
			return m.push(true)
		}
		return m.decimal(arg)
	case opLong:
		return m.decimal(strings.TrimSuffix(arg, "L"))
	case opFloat:
		f, err := strconv.ParseFloat(arg, 64)
		if err != nil || len(arg) > 400 || strings.ContainsAny(arg, "_xX") { // Python writes inf and nan as Go reads them
			return errText
		}
		return m.push(f)
	case opString:
		text, ok := unquote(arg)
		if !ok {
			return errText
		}
		return m.push(text)
	case opUnicode:
		text, ok := unescape(arg)
		if !ok {
			return errText
		}
		return m.push(text)
	case opGet, opPut:
		key, err := strconv.ParseUint(arg, 10, 32)
		if err != nil {
			return errText
		}
		if op == opGet {
			return m.get(key)
		}
		return m.put(key)
	}
	name, err := m.readLine() // of GLOBAL and INST: module, then name
	if err != nil {
		return err
	}
	if op == opGlobal {
		return m.push(Global{arg, name})
	}
	args, err := m.popMark()
	if err != nil {
		return err
	}
	return m.call(Global{arg, name}, args)
}

func (m *machine) readLine() (string, error) {
	i := bytes.IndexByte(m.data[m.pos:], '\n')
	if i < 0 {
		if len(m.data) == MaxSize {
			return "", errEnd
		}
		return "", errNoNewline
	}
	line := m.data[m.pos : m.pos+i]
	m.pos += i + 1
	return string(line), nil
}

// decimal is an int; Python's underscores and spaces are not written by it and not taken.
func (m *machine) decimal(arg string) error {
	digits := strings.TrimPrefix(arg, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return errText
	}
	n, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		return m.push(Opaque{Global{"builtins", "int"}, nil})
	}
	return m.push(n)
}

// unescape is Python's raw-unicode-escape: \uXXXX and \UXXXXXXXX, any other byte is a character of Latin-1.
func unescape(arg string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(arg); i++ {
		width := 0
		if arg[i] == '\\' && i+1 < len(arg) {
			width = map[byte]int{'u': 4, 'U': 8}[arg[i+1]]
		}
		if width == 0 {
			b.WriteRune(rune(arg[i]))
			continue
		}
		if i+2+width > len(arg) {
			return "", false
		}
		n, err := strconv.ParseUint(arg[i+2:i+2+width], 16, 32)
		if err != nil || n > utf8.MaxRune {
			return "", false
		}
		b.WriteRune(rune(n)) // half a surrogate pair becomes U+FFFD
		i += 1 + width
	}
	return b.String(), true
}

// unquote is the repr of Python 2's str: quotes around, backslash escapes within.
func unquote(arg string) (string, bool) {
	if len(arg) < 2 || arg[0] != arg[len(arg)-1] || arg[0] != '\'' && arg[0] != '"' {
		return "", false
	}
	rest := arg[1 : len(arg)-1]
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		if rest[i] != '\\' {
			b.WriteByte(rest[i])
			continue
		}
		i++
		if i == len(rest) {
			return "", false
		}
		switch c := rest[i]; c {
		case '\\', '\'', '"':
			b.WriteByte(c)
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'x':
			if i+3 > len(rest) {
				return "", false
			}
			n, err := strconv.ParseUint(rest[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(n))
			i += 2
		default:
			return "", false
		}
	}
	return b.String(), true
}
