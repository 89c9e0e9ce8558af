package authn

// Native is the native protocol's subprotocol.
const Native = "gatecast.v1"

// CredentialSubprotocol reads the token out of bearer.TOKEN or bearer64.BASE64URL. ok says that p is a credential (never echo it), also when err says that it cannot be read.
func CredentialSubprotocol(p string) (token string, ok bool, err error) { return "", false, nil }

// SelectNative chooses what /ws echoes: gatecast.v1, or "" if nothing was offered. *SubprotocolError = answer 400.
func SelectNative(offered []string) (echo string, err error) { return "", nil }

// SelectRaw chooses what a raw route echoes: the first offered that is no credential, or "" if nothing was offered. *SubprotocolError = answer 400.
func SelectRaw(offered []string) (echo string, err error) { return "", nil }

// SubprotocolError is a 400: its text is safe to show and says what to offer.
type SubprotocolError struct {
	Reason string // stable snake_case
	Advice string
}

func (e *SubprotocolError) Error() string { return e.Advice }
