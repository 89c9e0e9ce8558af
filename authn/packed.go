package authn

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

// An Identity is some 200 bytes and what its strings, lists and map point to, for as long as its Conns live. Packed, it is its id, its
// expiry and two texts, either of which may be empty:
//
//	traits  what is alike for many: kind, verifier, carrier, groups, permissions, claimed grants
//	own     nobody else's: the session with what its verifier needs to look at it again, which is a secret, the rows of SQL rules, and the attributes
//
// Both are for this process only: their form may change with every version.

// AppendTraits appends what is alike for many.
func (id *Identity) AppendTraits(dst []byte) []byte {
	dst = appendText(dst, id.Kind)
	dst = appendText(dst, id.Verifier)
	dst = appendText(dst, string(id.Carrier))
	dst = appendList(dst, id.Groups)
	dst = appendList(dst, id.Perms)
	if p := id.Claimed; p != nil {
		for _, list := range [][]string{p.Join, p.Subscribe, p.Publish, p.Deny} {
			dst = appendList(dst, list)
		}
	}
	return dst
}

// How own begins.
const (
	noSession byte = iota
	hashOfRef      // the first bytes of the session's hash, which is that of Ref
	otherHash      // the hash as text
)

// hashStart is how much of a hash is kept that follows from Ref: enough to search by.
const hashStart = 8

// AppendOwn appends what is this identity's alone. It holds Ref in clear.
func (id *Identity) AppendOwn(dst []byte) []byte {
	if id.SessionHash == "" && id.Ref == "" && len(id.Attrs) == 0 && len(id.Rows) == 0 {
		return dst
	}
	switch sum := sha256.Sum256([]byte(id.Ref)); id.SessionHash {
	case "":
		dst = append(dst, noSession)
	case hex.EncodeToString(sum[:]):
		dst = append(append(dst, hashOfRef), sum[:hashStart]...)
	default:
		dst = appendText(append(dst, otherHash), id.SessionHash)
	}
	dst = appendText(dst, string(id.Ref))
	dst = binary.AppendUvarint(dst, uint64(len(id.Rows)))
	for i := range id.Rows {
		dst = appendList(append(dst, id.Rows[i].Query[:]...), id.Rows[i].Values)
	}
	for _, name := range slices.Sorted(maps.Keys(id.Attrs)) { // equal identities give equal texts
		dst = appendList(appendText(dst, name), id.Attrs[name])
	}
	return dst
}

// Unpack makes the Identity again.
func Unpack(id string, expires time.Time, traits, own []byte) *Identity {
	r := unpacker{traits}
	out := &Identity{ID: id, Expires: expires, Kind: r.text(), Verifier: r.text(), Carrier: Carrier(r.text()), Groups: r.list(), Perms: r.list()}
	if len(r.b) > 0 {
		out.Claimed = &Patterns{Join: r.list(), Subscribe: r.list(), Publish: r.list(), Deny: r.list()}
	}
	if len(own) == 0 {
		return out
	}
	r = unpacker{own[1:]}
	switch own[0] {
	case hashOfRef:
		r.b = r.b[hashStart:]
	case otherHash:
		out.SessionHash = r.text()
	}
	ref := r.text()
	out.Ref = Secret(ref)
	if own[0] == hashOfRef {
		sum := sha256.Sum256([]byte(ref))
		out.SessionHash = hex.EncodeToString(sum[:])
	}
	if n := r.number(); n > 0 {
		out.Rows = make([]Rows, n)
		for i := range out.Rows {
			r.b = r.b[copy(out.Rows[i].Query[:], r.b):]
			out.Rows[i].Values = r.list()
		}
	}
	for len(r.b) > 0 {
		if out.Attrs == nil {
			out.Attrs = make(map[string][]string)
		}
		name := r.text()
		out.Attrs[name] = r.list()
	}
	return out
}

// OwnsSession reports whether own is that of a login by the session with this hash, as in Identity.SessionHash.
func OwnsSession(own []byte, hash string) bool {
	if len(own) == 0 || hash == "" {
		return false
	}
	r := unpacker{own[1:]}
	switch own[0] {
	case hashOfRef:
		want, ok := sessionBytes(hash)
		if !ok || string(r.b[:hashStart]) != string(want[:hashStart]) {
			return false
		}
		r.b = r.b[hashStart:]
		return sha256.Sum256(r.bytes()) == want
	case otherHash:
		return string(r.bytes()) == hash
	}
	return false
}

// IsSession reports whether own is that of a login by a session.
func IsSession(own []byte) bool { return len(own) > 0 && own[0] != noSession }

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendList makes no difference between nil and an empty list.
func appendList(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendText(dst, s)
	}
	return dst
}

// unpacker reads what was packed.
type unpacker struct{ b []byte }

func (r *unpacker) number() int {
	n, size := binary.Uvarint(r.b)
	r.b = r.b[size:]
	return int(n)
}

func (r *unpacker) bytes() []byte {
	n := r.number()
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *unpacker) text() string { return string(r.bytes()) }

func (r *unpacker) list() []string {
	n := r.number()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.text()
	}
	return list
}
