package subject

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	long := strings.Repeat("a", MaxName)
	tests := []struct {
		name string
		want string // part of the error, "" = legal
	}{
		{"chat.7", ""},
		{"a..b", ""},
		{".a", ""},
		{"a.", ""},
		{".", ""},
		{"specific.abcdef!ghijkl", ""},
		{"räume.日本.🐉", ""},
		{"{x}=%2E\"'\\/", ""},
		{"\uFFFD", ""},
		{long, ""},
		{strings.Repeat("é", MaxName/2), ""},
		{"", "is empty"},
		{long + "a", "is 201 bytes long; at most 200"},
		{strings.Repeat("a", 10<<10), "at most 200"},
		{strings.Repeat("é", MaxName), "at most 200"},
		{"a b", "space"},
		{"a\n", "space"},
		{"a\r\nPUB x", "space"},
		{"\x00", "space"},
		{"a\x7f", "space"},
		{"a\u0085b", "space"},
		{"a\u00a0b", "space"},
		{"a\u3000b", "space"},
		{"a\u2028b", "space"},
		{"a.*", "wildcard"},
		{"a.>", "wildcard"},
		{"a*b", "wildcard"},
		{"é*", "wildcard"},
		{"a\xff", "not UTF-8"},
		{"\xed\xa0\x80", "not UTF-8"},
	}
	for _, tt := range tests {
		for _, err := range []error{CheckName(tt.name), CheckNameBytes([]byte(tt.name))} {
			if tt.want == "" {
				if err != nil {
					t.Errorf("CheckName(%q) = %v, want nil", tt.name, err)
				}
				continue
			}
			var nameErr *NameError
			if !errors.As(err, &nameErr) || !strings.Contains(nameErr.Reason, tt.want) {
				t.Errorf("CheckName(%q) = %v, want a NameError with %q", tt.name, err, tt.want)
			}
		}
	}
}

func TestThePersonalGroupOfEveryLegalUserIsAName(t *testing.T) {
	for _, id := range []string{"42", strings.Repeat("7", MaxUserID), strings.Repeat("é", MaxUserID/2), strings.Repeat("日", MaxUserID/3), strings.Repeat("%", MaxUserID)} {
		group := UserGroup(id)
		if err := CheckName(group); err != nil {
			t.Errorf("CheckName(UserGroup(%q)) = %v", id, err)
		}
		if got, ok := UserOf(group); !ok || got != id {
			t.Errorf("UserOf(%q) = %q, %v, want %q", group, got, ok, id)
		}
		if got, err := Unescape(Escape(group)); err != nil || got != group {
			t.Errorf("Unescape(Escape(%q)) = %q, %v", group, got, err)
		}
	}
	tooLong := UserGroup(strings.Repeat("%", MaxUserID+1))
	if CheckName(tooLong) == nil {
		t.Errorf("CheckName of the group of an id of %d bytes = nil", MaxUserID+1)
	}
	if CheckName("room."+strings.Repeat("%2E", MaxUserID)) == nil {
		t.Error("a long name that is no personal group is legal")
	}
}

func TestCheckUserID(t *testing.T) {
	for _, id := range []string{"42", "a.b@x.com", "53b6eb2b-4fbd-4d1c-9b1a-000000000000", "Zoë 🐉", "*", ">", strings.Repeat("x", MaxUserID)} {
		if err := CheckUserID(id); err != nil {
			t.Errorf("CheckUserID(%q) = %v, want nil", id, err)
		}
	}
	for _, id := range []string{"", "a\nb", "\x00", "a\u0085", "\xff", strings.Repeat("x", MaxUserID+1)} {
		var nameErr *NameError
		if err := CheckUserID(id); !errors.As(err, &nameErr) {
			t.Errorf("CheckUserID(%q) = %v, want a NameError", id, err)
		}
	}
}

func TestCheckNameDoesNotAllocate(t *testing.T) {
	name, odd := []byte("chat.room-7.members"), []byte("räume..日本")
	wantAllocs(t, 0, func() { _ = CheckNameBytes(name) })
	wantAllocs(t, 0, func() { _ = CheckNameBytes(odd) })
}
