package ledger

import (
	"reflect"
	"strings"
	"testing"
)

// alone is a member of group 0.
func alone(int) []uint32 { return []uint32{0} }

func TestLedgerCountsWhatWentWrong(t *testing.T) {
	const run, other = 7, 8
	seq := func(numbers ...uint32) (stamps []Stamp) {
		for _, n := range numbers {
			stamps = append(stamps, Stamp{Run: run, Seq: n})
		}
		return stamps
	}
	for _, tt := range []struct {
		name     string
		arrivals []Stamp
		sent     uint32
		want     Counts
		says     string
	}{
		{"all in order", seq(0, 1, 2), 3, Counts{Expected: 3, Delivered: 3}, ""},
		{"nothing came", nil, 3, Counts{Expected: 3, Lost: 3}, "3 of 3 messages lost"},
		{"first lost", seq(1, 2), 3, Counts{Expected: 3, Delivered: 2, Lost: 1}, "1 of 3 messages lost"},
		{"middle lost", seq(0, 2), 3, Counts{Expected: 3, Delivered: 2, Lost: 1}, "1 of 3 messages lost"},
		{"last lost", seq(0, 1), 3, Counts{Expected: 3, Delivered: 2, Lost: 1}, "1 of 3 messages lost"},
		{"twice at once", seq(0, 0, 1), 2, Counts{Expected: 2, Delivered: 2, Duplicated: 1}, "duplicated"},
		{"twice later", seq(0, 1, 2, 0), 3, Counts{Expected: 3, Delivered: 3, Duplicated: 1}, "duplicated"},
		{"swapped", seq(1, 0, 2), 3, Counts{Expected: 3, Delivered: 3, Reordered: 1}, "reordered"},
		{"late from inside a gap", seq(0, 5, 3, 1, 4, 2), 6, Counts{Expected: 6, Delivered: 6, Reordered: 4}, "reordered"},
		{"late, then again", seq(0, 2, 1, 1), 3, Counts{Expected: 3, Delivered: 3, Reordered: 1, Duplicated: 1}, "duplicated"},
		{"another group's", append(seq(0), Stamp{Run: run, Group: 1, Seq: 1}), 1, Counts{Expected: 1, Delivered: 1, WrongGroup: 1}, "wrong group"},
		{"another run's", append(seq(0), Stamp{Run: other, Seq: 1}), 1, Counts{Expected: 1, Delivered: 1, Foreign: 1}, "another run"},
		{"never sent", seq(0, 1), 1, Counts{Expected: 1, Delivered: 2, Foreign: 1}, "another run"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := New(run, 1, alone)
			for _, s := range tt.arrivals {
				l.Receive(0, s)
			}
			got := l.Balance([]uint32{tt.sent})
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("balance = %+v, want %+v", got, tt.want)
			}
			if says := strings.Join(got.Faults(), ", "); !strings.Contains(says, tt.says) || (tt.says == "") != (says == "") {
				t.Errorf("faults = %q, want %q in them", says, tt.says)
			}
		})
	}
}

func TestReceiverIsCheckedAgainstItsOwnGroups(t *testing.T) {
	l := New(1, 2, func(i int) []uint32 { return []uint32{uint32(i), 2} })
	l.Receive(0, Stamp{Run: 1, Group: 0})
	l.Receive(0, Stamp{Run: 1, Group: 2})
	l.Receive(1, Stamp{Run: 1, Group: 1})
	l.Receive(1, Stamp{Run: 1, Group: 0})
	got := l.Balance([]uint32{1, 2, 1})
	if want := (Counts{Expected: 5, Delivered: 3, Lost: 2, WrongGroup: 1}); got != want {
		t.Errorf("balance = %+v, want %+v", got, want)
	}
}

func TestExcusedReceiverMayLoseButNothingElse(t *testing.T) {
	l := New(1, 2, alone)
	l.Excuse(1)
	for _, seq := range []uint32{0, 2, 2, 1} {
		l.Receive(1, Stamp{Run: 1, Seq: seq})
	}
	l.Receive(0, Stamp{Run: 1})
	got := l.Balance([]uint32{5})
	if want := (Counts{Expected: 10, Delivered: 4, Lost: 4, Excused: 2, Duplicated: 1, Reordered: 1}); got != want {
		t.Errorf("balance = %+v, want %+v", got, want)
	}
}

func TestReceiveInOrderAllocatesNothing(t *testing.T) {
	l, s := New(1, 1, alone), Stamp{Run: 1}
	if n := testing.AllocsPerRun(100, func() { l.Receive(0, s); s.Seq++ }); n != 0 {
		t.Errorf("Receive allocates %v times, want 0", n)
	}
}
