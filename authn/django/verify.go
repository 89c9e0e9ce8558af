package django

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker/subject"
)

// Verifier answers for the logins of one Django site. All methods may be called concurrently.
type Verifier struct {
	opts Options
	data ring // session_key or cookie_key, and fallbacks
	hash ring
	old  legacy
	db   *database
	kept sessions // nil with signed_cookies
	more []string // keys of a session that are looked at besides the login's
	zone *time.Location
	now  func() time.Time
}

// Open checks o, connects to the site's database and finds out which of its tables there are. A database that does not answer yet is no error:
// Verify says that it is unavailable, and the next call tries again. Close it.
func Open(ctx context.Context, o Options, log *slog.Logger) (*Verifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Backends, o.Attributes, o.Fallbacks = slices.Clone(o.Backends), slices.Clone(o.Attributes), slices.Clone(o.Fallbacks)
	o.RequireSessionKeys, o.RequireAuthMethods = slices.Clone(o.RequireSessionKeys), slices.Clone(o.RequireAuthMethods)
	v := &Verifier{opts: o, more: o.asked(), zone: time.UTC, now: time.Now}
	data, hash := []string{o.SessionKey}, []string{o.HashKey}
	if o.Engine == EngineSignedCookies {
		data[0] = o.CookieKey
	}
	for _, f := range o.Fallbacks {
		if o.Engine == EngineSignedCookies {
			data = append(data, f.CookieKey)
		} else {
			data = append(data, f.SessionKey)
		}
		hash = append(hash, f.HashKey)
	}
	var err, err2, err3 error
	v.data, err = newRing(data...)
	v.hash, err2 = newRing(hash...)
	v.old, err3 = newLegacy(&o)
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	if !o.UseTZ { // Validate has loaded it once
		if v.zone, err = time.LoadLocation(o.TimeZone); err != nil {
			return nil, fmt.Errorf("authn.django.time_zone: %w", err)
		}
	}
	if v.db, err = openDatabase(ctx, &v.opts, log); err != nil {
		return nil, err
	}
	if v.kept, err = openSessions(&v.opts, v.db, log); err != nil {
		return nil, errors.Join(err, v.db.close())
	}
	return v, nil
}

// Close closes the connections to the database and the cache. No other call may follow.
func (v *Verifier) Close() error {
	if v.kept == nil {
		return v.db.close()
	}
	return errors.Join(v.kept.close(), v.db.close())
}

// Ping implements authn.Pinger.
func (v *Verifier) Ping(ctx context.Context) error {
	if err := v.db.ping(ctx); err != nil || v.kept == nil || v.opts.Engine == EngineDB {
		return err
	}
	return v.kept.ping(ctx)
}

// Verify implements authn.Verifier. It costs two queries with engine db, one with signed_cookies, one and a question to the cache with the others.
func (v *Verifier) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	value, err := v.session(c)
	if err != nil {
		return nil, err
	}
	id, err := v.verify(ctx, value)
	var refused *authn.Refused
	if errors.As(err, &refused) && c.Carrier == authn.CarrierCookie && (refused.Reason == reasonUnknownSession || refused.Reason == reasonExpired) {
		refused.Soft = true
	}
	return id, err
}

func (v *Verifier) verify(ctx context.Context, value string) (*authn.Identity, error) {
	var row *sessionRow
	if v.kept != nil {
		var err error
		if row, err = v.kept.session(ctx, value); err != nil {
			return nil, err
		}
	}
	login, expires, err := v.read(value, row)
	if err != nil {
		return nil, err
	}
	user, err := v.db.user(ctx, login.user)
	if err != nil {
		return nil, err
	}
	return v.identity(value, login, user, expires)
}

// read checks a session, whose row is nil if there is none, and tells whose login it is and when it ends. It does what SessionStore.load and the first half of
// django.contrib.auth.get_user do.
func (v *Verifier) read(value string, row *sessionRow) (login, time.Time, error) {
	var expires time.Time
	if v.kept != nil {
		switch {
		case row == nil:
			return login{}, expires, authn.Refuse(reasonUnknownSession, errors.New("no such session: it was never there, has ended or is logged out"))
		case row.err != nil:
			return login{}, expires, row.err
		case v.over(row):
			return login{}, expires, authn.Refuse(reasonExpired, nil)
		}
		expires = row.expires
	}
	payload, signed, err := v.payload(value, row)
	switch {
	case errors.Is(err, errTooOld):
		return login{}, expires, authn.Refuse(reasonExpired, nil)
	case errors.Is(err, errSignature), errors.Is(err, errShape):
		return login{}, expires, authn.Refuse(reasonBadSignature, v.badSignature())
	case err != nil:
		return login{}, expires, authn.Refuse(reasonMalformed, err)
	}
	decode := decodeLogin
	if len(payload) > 0 && payload[0] != '{' && (row != nil && row.plain || v.opts.Serializer == SerializerPickle) {
		decode = unpickleLogin
	}
	l, more, err := decode(payload, v.more...)
	if err != nil {
		return login{}, expires, authn.Refuse(reasonMalformed, err)
	}
	switch v.opts.Engine {
	case EngineSignedCookies:
		expires = signed.Add(v.opts.CookieAge)
	case EngineFile:
		if expires, err = fileExpiry(more[expiryKey], row.written, v.opts.CookieAge, v.zone); err != nil {
			return login{}, expires, authn.Refuse(reasonMalformed, err)
		}
		if !expires.After(v.now()) {
			return login{}, expires, authn.Refuse(reasonExpired, nil)
		}
	}
	if l.user == "" || l.backend == "" {
		return login{}, expires, authn.ErrNoLogin
	}
	if err := v.opts.gate(more); err != nil {
		return login{}, expires, authn.Refuse(reasonSecondStep, err)
	}
	if err := subject.CheckUserID(v.opts.UserPrefix + l.user); err != nil {
		return login{}, expires, authn.Refuse(reasonMalformed, err)
	}
	if !slices.Contains(v.opts.Backends, l.backend) {
		return login{}, expires, authn.Refuse(reasonBackend, fmt.Errorf("the login is by a backend that authn.django.backends does not list: %.100q", l.backend))
	}
	return l, expires, nil
}

// over tells whether a session has ended by what its engine says. Where the database's times have no zone, they are compared on its own clock.
func (v *Verifier) over(row *sessionRow) bool {
	if !row.wall.IsZero() {
		return !row.wall.After(v.db.wall(v.now()))
	}
	return !row.expires.IsZero() && !row.expires.After(v.now())
}

// payload checks the signature, where there is one, and gives the serialised session and the time it was signed.
func (v *Verifier) payload(value string, row *sessionRow) ([]byte, time.Time, error) {
	if row == nil {
		payload, signed, err := v.data.unsign(value, v.now(), v.opts.CookieAge)
		if errors.Is(err, errSignature) && v.old.cookie != nil {
			return unsign(value, v.old.verify, v.now(), v.opts.CookieAge)
		}
		return payload, signed, err
	}
	if row.plain {
		return []byte(row.data), time.Time{}, nil
	}
	payload, signed, err := v.data.unsign(row.data, v.now(), 0) // their age does not matter
	if errors.Is(err, errSignature) || errors.Is(err, errShape) {
		if old, ok := v.old.decode(row.data); ok {
			return old, signed, nil
		}
	}
	return payload, signed, err
}

func (v *Verifier) badSignature() error {
	if v.opts.Engine == EngineSignedCookies {
		return errors.New("no key made this cookie: it was tampered with, or cookie_key or fallbacks are not of this site")
	}
	return errors.New("no key made this session: session_key or fallbacks are not of this site")
}

// identity checks the user, nil if there is none, as the second half of get_user does and the backend's get_user before it. value may be part of a
// larger string.
func (v *Verifier) identity(value string, l login, u *userRow, expires time.Time) (*authn.Identity, error) {
	if u == nil {
		return nil, authn.Refuse(reasonUnknownUser, nil)
	}
	if !u.active && l.backend != allowAllModelBackend && l.backend != allowAllRemoteBackend {
		return nil, authn.Refuse(reasonInactive, nil)
	}
	if v.opts.VerifyHash && !v.hash.authHash(u.password, l.hash) && !v.old.authHash(u.password, l.hash) {
		return nil, authn.Refuse(reasonHashMismatch, errors.New("the password or SECRET_KEY changed since the login"))
	}
	id := &authn.Identity{
		ID:          v.opts.UserPrefix + l.user,
		SessionHash: hashSession(value),
		Expires:     expires,
		Groups:      u.groups,
		Attrs:       u.attrs,
		Ref:         authn.Secret(strings.Clone(value)),
	}
	id.Kind, id.Perms = u.rights()
	return id, nil
}
