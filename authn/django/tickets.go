package django

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Tickets verifies what a site signs with django.core.signing.dumps under the salt of its ticket_key. It never changes.
type Tickets struct{ keys ring }

// maxTicket bounds what is looked at: a request line has little room, and so has a header block.
const maxTicket = 8192

// LooksLikeTicket tells a ticket from other tokens, above all from a session of signed_cookies, without a key: body:timestamp:signature, whose body is a JSON
// object with a user and an id, and no login of Django's.
func LooksLikeTicket(token string) bool {
	if len(token) > maxTicket || strings.Count(token, ":") != 2 {
		return false
	}
	body, rest, _ := strings.Cut(token, ":")
	stamp, signature, _ := strings.Cut(rest, ":")
	if stamp == "" || len(signature) != 43 {
		return false
	}
	data, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil || len(data) == 0 || data[0] != '{' {
		return false
	}
	var p struct {
		User  json.RawMessage `json:"user"`
		ID    json.RawMessage `json:"id"`
		Login json.RawMessage `json:"_auth_user_id"`
	}
	return json.Unmarshal(data, &p) == nil && p.User != nil && p.ID != nil && p.Login == nil
}

// ErrTicketSignature tells that no key made a ticket.
var ErrTicketSignature = errors.New("no key made this ticket: it was tampered with, or the keys are not of this site")

// NewTickets takes derived keys, today's first; empty ones count as not there. An error never repeats a key.
func NewTickets(keys ...string) (*Tickets, error) {
	for _, k := range keys {
		if k == "" {
			continue
		}
		if err := checkKey("ticket_key", k, 64); err != nil {
			return nil, err
		}
	}
	r, err := newRing(keys...)
	if err == nil && len(r) == 0 {
		err = fmt.Errorf("ticket_key is missing: %s", askForKeys)
	}
	return &Tickets{r}, err
}

// Open verifies a ticket and returns what was signed, and when. How old it may be is the caller's to say.
func (t *Tickets) Open(ticket string) (payload []byte, signed time.Time, err error) {
	payload, signed, err = t.keys.unsign(ticket, time.Time{}, 0)
	if errors.Is(err, errSignature) || errors.Is(err, errShape) {
		err = ErrTicketSignature
	}
	return payload, signed, err
}

// TicketKeys are the ticket keys of o: today's, then those of the fallbacks.
func (o *Options) TicketKeys() []string {
	keys := []string{o.TicketKey}
	for _, f := range o.Fallbacks {
		keys = append(keys, f.TicketKey)
	}
	return keys
}
