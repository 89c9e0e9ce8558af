package gatecast

// GroupName returns the name of the group that kind has for a value from an identity: GroupName("user", id) is the personal group of
// user id. The value becomes one token: bytes other than A-Z a-z 0-9 _ - turn into %XX, so it can never widen a pattern.
func GroupName(kind, value string) string {
	const upperHex = "0123456789ABCDEF"
	name := make([]byte, 0, len(kind)+1+len(value))
	name = append(append(name, kind...), '.')
	for i := range len(value) {
		switch c := value[i]; {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-':
			name = append(name, c)
		default:
			name = append(name, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(name)
}
