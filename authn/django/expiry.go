package django

import (
	"errors"
	"math"
	"time"

	"github.com/gatecast/gatecast/authn/django/pickle"
)

var errExpiry = errors.New("the session's _session_expiry is no time that is known here")

// fileExpiry is when a session of engine file ends: what set_expiry noted, else age after its file was written. Django itself lets one that is to
// end after so many seconds live on for ever (file.py, _expiry_date takes the number for the time left); its cookie ends, and so does it here.
func fileExpiry(noted any, written time.Time, age time.Duration, zone *time.Location) (time.Time, error) {
	seconds := func(n float64) (time.Time, error) {
		if math.IsNaN(n) || math.Abs(n) > 1<<32 {
			return time.Time{}, errExpiry
		}
		return written.Add(time.Duration(n * float64(time.Second))), nil
	}
	if !truthy(noted) { // none, or 0: with the browser
		return written.Add(age), nil
	}
	switch v := noted.(type) {
	case float64:
		return seconds(v)
	case int64:
		return seconds(float64(v))
	case string: // datetime.isoformat()
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t, nil
		}
		if t, err := time.ParseInLocation("2006-01-02T15:04:05.999999", v, zone); err == nil {
			return t, nil
		}
	case pickle.Opaque:
		return pickledTime(v, zone)
	}
	return time.Time{}, errExpiry
}

// pickledTime reads datetime.datetime(ten bytes[, timezone]) of datetime.__reduce_ex__, protocol 3 and later. With a zone it is UTC, as django.utils.timezone.now() is.
func pickledTime(o pickle.Opaque, zone *time.Location) (time.Time, error) {
	if o.Module != "datetime" || o.Name != "datetime" || len(o.Args) == 0 {
		return time.Time{}, errExpiry
	}
	b, ok := o.Args[0].(pickle.Bytes)
	if !ok || len(b) != 10 {
		return time.Time{}, errExpiry
	}
	if len(o.Args) > 1 && o.Args[1] != nil {
		zone = time.UTC
	}
	micro := int(b[7])<<16 | int(b[8])<<8 | int(b[9])
	return time.Date(int(b[0])<<8|int(b[1]), time.Month(b[2]), int(b[3]), int(b[4]), int(b[5]), int(b[6]), micro*1000, zone), nil
}
