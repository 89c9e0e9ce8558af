package ledger

import "testing"

// script is what happens to receiver 0 in group 0. Message k is sent at 100·(k+1).
type script func(l *Ledger)

func TestMembershipThatMoves(t *testing.T) {
	got := func(seqs ...uint32) script {
		return func(l *Ledger) {
			for _, seq := range seqs {
				l.Receive(0, Stamp{Run: 1, Seq: seq, Sent: 100 * int64(seq+1)})
			}
		}
	}
	leaving := func(at int64) script { return func(l *Ledger) { l.Leaving(0, 0, at) } }
	left := func(l *Ledger) { l.Left(0, 0) }
	joining := func(l *Ledger) { l.Joining(0, 0) }
	joined := func(at int64) script { return func(l *Ledger) { l.Joined(0, 0, at) } }
	const late = 100 * (1 << 30) // a time after which nothing is on its way any more
	for _, tt := range []struct {
		name  string
		steps []script
		want  Counts
	}{
		{"never left", []script{got(0, 1, 2, 3, 4, 5)}, Counts{Expected: 6, Delivered: 6}},
		{"away while two were sent", []script{got(0, 1), leaving(250), left, joining, joined(450), got(4, 5)}, Counts{Expected: 4, Delivered: 4}},
		{"on its way when it left", []script{got(0), leaving(250), left, joining, joined(450), got(4, 5)}, Counts{Expected: 3, Delivered: 3}},
		{"long sent when it left", []script{got(0), leaving(late), left}, Counts{Expected: 6, Delivered: 1, Lost: 5}},
		{"arrives while it leaves", []script{got(0, 1), leaving(250), got(2), left, joining, joined(450), got(4, 5)}, Counts{Expected: 5, Delivered: 5}},
		{"missing before one that arrived while it left", []script{got(0), leaving(350), got(2), left, joining, joined(450), got(4, 5)}, Counts{Expected: 5, Delivered: 4, Lost: 1}},
		{"arrives before the join is confirmed", []script{got(0, 1), leaving(250), left, joining, got(3), joined(450), got(4, 5)}, Counts{Expected: 5, Delivered: 5}},
		{"arrives after it left", []script{got(0, 1), leaving(250), left, got(2), joining, joined(450), got(4, 5)}, Counts{Expected: 4, Delivered: 4, Left: 1}},
		{"lost after the join", []script{got(0, 1), leaving(250), left, joining, joined(450), got(5)}, Counts{Expected: 4, Delivered: 3, Lost: 1}},
		{"lost after the join, for good", []script{got(0, 1), leaving(250), left, joining, joined(450)}, Counts{Expected: 4, Delivered: 2, Lost: 2}},
		{"sent before the join was confirmed", []script{got(0, 1), leaving(250), left, joining, joined(550), got(5)}, Counts{Expected: 3, Delivered: 3}},
		{"twice after a join", []script{got(0, 1), leaving(250), left, joining, joined(450), got(4, 4, 5)}, Counts{Expected: 4, Delivered: 4, Duplicated: 1}},
		{"late after a join", []script{got(0, 1), leaving(250), left, joining, joined(450), got(5, 4)}, Counts{Expected: 4, Delivered: 4, Reordered: 1}},
		{"gone at the end", []script{got(0, 1), leaving(250), left}, Counts{Expected: 2, Delivered: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Receiver 1 stays and gets everything, so it is known when each message was sent.
			l := New(1, 2, alone)
			l.Follow()
			for seq := range uint32(6) {
				l.Receive(1, Stamp{Run: 1, Seq: seq, Sent: 100 * int64(seq+1)})
			}
			for _, step := range tt.steps {
				step(l)
			}
			want := tt.want
			want.Expected, want.Delivered = want.Expected+6, want.Delivered+6
			if got := l.Balance([]uint32{6}); got != want {
				t.Errorf("balance = %+v, want %+v", got, want)
			}
		})
	}
}

func TestWhoGotNothingMayNotLeave(t *testing.T) {
	l := New(1, 1, alone)
	l.Follow()
	may := func(want bool, when string) {
		t.Helper()
		if got := l.MayLeave(0, 0); got != want {
			t.Errorf("MayLeave = %v %s, want %v", got, when, want)
		}
	}
	may(false, "before the first message")
	l.Receive(0, Stamp{Run: 1, Sent: 1})
	may(true, "after the first message")
	l.Leaving(0, 0, 2)
	may(false, "while it leaves")
	l.Left(0, 0)
	may(false, "away")
	l.Joining(0, 0)
	l.Joined(0, 0, 3)
	may(false, "before the first message of a stay")
	l.Receive(0, Stamp{Run: 1, Seq: 1, Sent: 4})
	may(true, "after the first message of a stay")
	if l.CaughtUp([]uint32{3}) || !l.CaughtUp([]uint32{2}) {
		t.Error("it has two messages, so it has caught up with two")
	}
}
