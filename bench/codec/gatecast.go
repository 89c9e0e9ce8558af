package codec

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatecast/gatecast/bench/frame"
)

func init() {
	codecs["gatecast"] = func(s Spec) (Codec, error) {
		switch s.Login {
		case "":
			s.Login = LoginJWT
		case LoginJWT, LoginAnonymous:
		case LoginSession:
			if len(s.Cookies) == 0 {
				return nil, errors.New("logins by session need cookies")
			}
		default:
			return nil, fmt.Errorf("gatecast has no login %q; there are: %s, %s, %s", s.Login, LoginJWT, LoginSession, LoginAnonymous)
		}
		return gatecast{s}, nil
	}
}

// The kinds of login.
const (
	LoginJWT       = "jwt"       // HS256, in the Authorization header, a token a user
	LoginSession   = "session"   // Django's cookie, a session a user
	LoginAnonymous = "anonymous" // none
)

// gatecast is the native protocol.
type gatecast struct{ Spec }

// token signs an HS256 token for user.
func (g gatecast) token(user, grants string) string {
	encode := base64.RawURLEncoding.EncodeToString
	body := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		encode(fmt.Appendf(nil, `{"sub":%q,"exp":%d,"gatecast":%s}`, user, time.Now().Add(24*time.Hour).Unix(), grants))
	mac := hmac.New(sha256.New, g.Secret)
	mac.Write([]byte(body))
	return body + "." + encode(mac.Sum(nil))
}

// Request logs in: each client as a user of its own, unless the run has fewer users.
func (g gatecast) Request(c Client) []byte {
	lines := []string{"Sec-WebSocket-Protocol: gatecast.v1"}
	if login := g.login(c); login != "" {
		lines = append(lines, login)
	}
	return frame.Request(g.Host, "/ws", lines...)
}

// login is the header line that says who the client is; "" for nobody.
func (g gatecast) login(c Client) string {
	user := c.Index
	if g.Users > 0 {
		user %= g.Users
	}
	const bearer = "Authorization: Bearer "
	switch {
	case c.Publisher:
		return bearer + g.token("publisher", `{"publish":["bench.>","user.*"]}`)
	case g.Login == LoginJWT:
		return bearer + g.token(fmt.Sprintf("u%d", user), `{"subscribe":["bench.>"],"publish":["bench.>","user.*"]}`)
	case g.Login == LoginSession:
		return "Cookie: " + g.Cookies[user%len(g.Cookies)]
	}
	return ""
}

func (g gatecast) group(n uint32) string {
	if g.Personal {
		return fmt.Sprintf("user.u%d", n)
	}
	return fmt.Sprintf("bench.%d", n)
}

// Hello joins all groups at once.
func (g gatecast) Hello(c Client) []byte {
	if len(c.Groups) == 0 || g.Personal {
		return nil
	}
	if len(c.Groups) == 1 {
		return fmt.Appendf(nil, `{"op":"group_add","id":1,"group":"%s"}`, g.group(c.Groups[0]))
	}
	hello := []byte(`{"op":"group_add","id":1,"groups":[`)
	for i, n := range c.Groups {
		if i > 0 {
			hello = append(hello, ',')
		}
		hello = fmt.Appendf(hello, `"%s"`, g.group(n))
	}
	return append(hello, "]}"...)
}

// Confirms is 1: the reply to the group_add, or welcome.
func (gatecast) Confirms(Client) int { return 1 }

// Hear waits for the reply to the group_add; welcome is enough for who joins nothing.
func (g gatecast) Hear(c Client, payload []byte) Heard {
	switch {
	case bytes.HasPrefix(payload, []byte(`{"op":"welcome"`)):
		if g.Hello(c) == nil {
			return Heard{Joined: 1}
		}
	case bytes.HasPrefix(payload, []byte(`{"op":"ok","id":1,`)):
		if bytes.Contains(payload, []byte(`"error"`)) {
			return Heard{Err: errRefused("gatecast", payload)}
		}
		return Heard{Joined: 1}
	case bytes.HasPrefix(payload, []byte(`{"op":"ok","id":2,`)):
		return Heard{Left: 1}
	case bytes.HasPrefix(payload, []byte(`{"op":"ping"`)):
		return Heard{Reply: []byte(`{"op":"pong"}`)}
	case bytes.HasPrefix(payload, []byte(`{"op":"error"`)), bytes.HasPrefix(payload, []byte(`{"op":"close"`)):
		return Heard{Err: errRefused("gatecast", payload)}
	}
	return Heard{}
}

// Join is a group_add.
func (g gatecast) Join(dst []byte, group uint32) []byte {
	return fmt.Appendf(dst, `{"op":"group_add","id":1,"group":"%s"}`, g.group(group))
}

// Leave is a group_discard.
func (g gatecast) Leave(dst []byte, group uint32) []byte {
	return fmt.Appendf(dst, `{"op":"group_discard","id":2,"group":"%s"}`, g.group(group))
}

// Publish is a group_send without a reply.
func (g gatecast) Publish(dst []byte, group uint32, payload []byte) []byte {
	return fmt.Appendf(dst, `{"op":"group_send","group":"%s","data":"%s"}`, g.group(group), payload)
}

// Op is text.
func (gatecast) Op() frame.Op { return frame.Text }

// PostAddr is the admin listener.
func (g gatecast) PostAddr() netip.AddrPort { return g.Spec.Post }

// Post is a call of group_send.
func (g gatecast) Post(dst []byte, group uint32, payload []byte) []byte {
	body := fmt.Appendf(nil, `{"group":"%s","data":"%s"}`, g.group(group), payload)
	return fmt.Appendf(dst, "POST /api/v1/group_send HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		g.Spec.Post, g.Key, len(body), body)
}
