package subject

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

const (
	// MaxName is the length of a name in bytes. Only the personal group of a user with a long or unusual id may be longer.
	MaxName = 200
	// MaxUserID is the length of a user's id in bytes.
	MaxUserID = 128
	// MaxUserGroup is the length of the longest personal group: every byte of the id quoted.
	MaxUserGroup = len(userPrefix) + 3*MaxUserID
)

// NameError says what is wrong with a name, a pattern, a user's id or a subject. Its text is safe to show.
type NameError struct {
	What   string // "group name", "pattern", "user id", "subject", "token"
	Reason string // what is wrong and what would be right
}

func (e *NameError) Error() string { return e.What + " " + e.Reason }

// CheckName returns a *NameError if name is not the name of a group.
func CheckName(name string) error {
	if reason := badName(name); reason != "" {
		return &NameError{What: "group name", Reason: reason}
	}
	return nil
}

// CheckNameBytes is CheckName for bytes; it allocates only to refuse.
func CheckNameBytes(name []byte) error { return CheckName(view(name)) }

func badName(name string) string {
	if name == "" {
		return "is empty"
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= utf8.RuneSelf:
			if reason := badRunes(name[i:]); reason != "" {
				return reason
			}
			return badLength(name)
		case c <= ' ' || c == 0x7f:
			return "has a space or control character; use '-' or '_'"
		case c == '*' || c == '>':
			return "has a wildcard, which is for grants only"
		}
	}
	return badLength(name)
}

// badRunes looks at the part of a name from its first byte beyond ASCII.
func badRunes(s string) string {
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			return "is not UTF-8"
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return "has a space or control character; use '-' or '_'"
		case r == '*' || r == '>':
			return "has a wildcard, which is for grants only"
		}
	}
	return ""
}

func badLength(name string) string {
	if len(name) <= MaxName {
		return ""
	}
	if len(name) <= MaxUserGroup && isUserGroup(name) {
		return ""
	}
	return fmt.Sprintf("is %d bytes long; at most %d", len(name), MaxName)
}

// CheckUserID returns a *NameError if id cannot be a user's id.
func CheckUserID(id string) error {
	reason := ""
	switch {
	case id == "":
		reason = "is empty"
	case len(id) > MaxUserID:
		reason = fmt.Sprintf("is %d bytes long; at most %d", len(id), MaxUserID)
	case !utf8.ValidString(id):
		reason = "is not UTF-8"
	case strings.ContainsFunc(id, unicode.IsControl):
		reason = "has a control character"
	default:
		return nil
	}
	return &NameError{What: "user id", Reason: reason}
}

// view reads b as a string for the time of one call that keeps nothing of it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
