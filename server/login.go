package server

import (
	"hash/maphash"
	"time"
	"unique"
	"unsafe"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/server/pack"
)

// login is who conns of a loop are and what they may hear and say: one for all that logged in alike. It is 40 bytes and its texts, for it lives as
// long as its conns; an authn.Identity and its Grants take 300 and more.
type login struct {
	user    pack.Text // id; "" is anonymous
	own     pack.Text // the part of the identity that is this login's alone, see authn.Identity.AppendOwn
	conns   uint32    // that have it; of a free one, the next free one
	hash    uint32    // of user and own
	expires instant
	role    unique.Handle[role]
}

// role is what many logins have in common.
type role struct {
	traits string // see authn.Identity.AppendTraits
	sets   authn.Sets
}

// instant is a time.Time without its location.
type instant struct {
	sec  int64
	nsec uint32
}

func instantOf(t time.Time) instant { return instant{t.Unix(), uint32(t.Nanosecond())} }

func (i instant) isZero() bool { return i == instantOf(time.Time{}) }

func (i instant) time() time.Time {
	if i.isZero() {
		return time.Time{}
	}
	return time.Unix(i.sec, int64(i.nsec))
}

// unix is in seconds, 0 for the zero time.
func (i instant) unix() int64 {
	if i.isZero() {
		return 0
	}
	return i.sec
}

// logins holds the logins of a loop. 0 names none.
type logins struct {
	seed   maphash.Seed
	texts  pack.Texts
	index  pack.Index // by hash
	chunks []*[loginsPerChunk]login
	taken  uint32 // handed out at least once, 0 included
	free   uint32
	last   unique.Handle[role] // of the last login: most are alike
	packed []byte              // scratch
}

const loginsPerChunk = 1024

func newLogins() logins { return logins{seed: maphash.MakeSeed(), taken: 1, last: unique.Make(role{})} }

// at returns a login that is in use.
func (t *logins) at(i uint32) *login { return &t.chunks[i/loginsPerChunk][i%loginsPerChunk] }

// inUse tells whether a login, below taken, is anybody's.
func (t *logins) inUse(i uint32) bool { return t.at(i).role != unique.Handle[role]{} }

// enter counts one more conn with that login.
func (t *logins) enter(id *authn.Identity, sets authn.Sets) uint32 {
	t.packed = id.AppendTraits(t.packed[:0])
	if last := t.last.Value(); last.sets != sets || last.traits != string(t.packed) {
		t.last = unique.Make(role{string(t.packed), sets})
	}
	t.packed = append(t.packed[:0], id.ID...)
	t.packed = id.AppendOwn(t.packed)
	user, own := t.packed[:len(id.ID)], t.packed[len(id.ID):]
	hash, expires := uint32(maphash.Bytes(t.seed, t.packed)), instantOf(id.Expires)
	i, known := t.index.Find(hash, func(i uint32) bool {
		l := t.at(i)
		return l.expires == expires && l.role == t.last && string(t.texts.Get(l.user)) == string(user) && string(t.texts.Get(l.own)) == string(own)
	})
	if known {
		t.at(i).conns++
		return i
	}
	i = t.take()
	*t.at(i) = login{user: t.texts.Put(user), own: t.texts.Put(own), conns: 1, hash: hash, expires: expires, role: t.last}
	t.index.Put(hash, i)
	return i
}

// take returns an unused login.
func (t *logins) take() uint32 {
	i := t.free
	if i != 0 {
		t.free = t.at(i).conns
		return i
	}
	i = t.taken
	t.taken++
	if int(i/loginsPerChunk) == len(t.chunks) {
		t.chunks = append(t.chunks, new([loginsPerChunk]login))
	}
	return i
}

// leave counts one conn less; a login that has none is forgotten. 0 is ignored.
func (t *logins) leave(i uint32) {
	if i == 0 {
		return
	}
	l := t.at(i)
	if l.conns--; l.conns > 0 {
		return
	}
	if l.role == t.last && l.role.Value().sets.Own() { // its grants go with it
		t.last = unique.Make(role{})
	}
	t.index.Drop(l.hash, i)
	t.texts.Drop(l.user)
	t.texts.Drop(l.own)
	*l = login{conns: t.free}
	t.free = i
}

// user returns the id of a login's user, valid until the login is forgotten; "" for login 0 and anonymous ones.
func (t *logins) user(i uint32) []byte {
	if i == 0 {
		return nil
	}
	return t.texts.Get(t.at(i).user)
}

// expires returns when a login ends, in unix seconds; 0 = never, as login 0 does.
func (t *logins) expires(i uint32) int64 {
	if i == 0 {
		return 0
	}
	return t.at(i).expires.unix()
}

// own returns the part of the identity that is this login's alone, for as long as user.
func (t *logins) own(i uint32) []byte { return t.texts.Get(t.at(i).own) }

// grants returns what a login may, to be asked at once: it must not outlive the login.
func (t *logins) grants(i uint32) authn.Grants {
	user := t.user(i)
	return t.at(i).role.Value().sets.Of(unsafe.String(unsafe.SliceData(user), len(user)))
}

// identity returns the identity of a login, with memory of its own.
func (t *logins) identity(i uint32) *authn.Identity {
	l := t.at(i)
	return authn.Unpack(string(t.texts.Get(l.user)), l.expires.time(), []byte(l.role.Value().traits), t.texts.Get(l.own))
}

// loginKey is what makes a login that login, on every loop.
type loginKey struct {
	user, own string
	expires   instant
	role      unique.Handle[role]
}

// held is a login that a verifier is asked about.
type held struct {
	key loginKey
	id  *authn.Identity
}

// hold returns a copy of a login for other goroutines.
func (t *logins) hold(i uint32) held { return held{t.key(i), t.identity(i)} }

func (t *logins) key(i uint32) loginKey {
	l := t.at(i)
	return loginKey{string(t.texts.Get(l.user)), string(t.texts.Get(l.own)), l.expires, l.role}
}
