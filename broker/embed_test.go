package broker

import (
	"bytes"
	"log/slog"
	"net/url"
	"strings"
	"testing"
)

func TestServerLogHidesTheClusterToken(t *testing.T) {
	const token = `s3cret/p@ss:wo rd%+"&`
	var out bytes.Buffer
	l := newServerLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), token)
	u := &url.URL{Scheme: "nats", Host: "h:1", User: url.UserPassword(routeUser, token)}
	for _, say := range []func(string, ...any){l.Noticef, l.Warnf, l.Errorf, l.Debugf, l.Tracef, l.Fatalf} {
		say("Removed route %v, %s", u, token)
	}
	for _, where := range []string{out.String(), l.fatal().Error()} {
		if strings.Contains(where, "s3cret") || strings.Contains(where, "rd%") {
			t.Errorf("shows the token: %s", where)
		}
		if !strings.Contains(where, "nats://gatecast:[redacted]@h:1, [redacted]") {
			t.Errorf("got %s", where)
		}
	}
	empty := newServerLog(slog.New(slog.NewTextHandler(&out, nil)), "")
	if empty.Errorf("all %d well", 1); !strings.Contains(out.String(), "all 1 well") {
		t.Errorf("without a token: %s", out.String())
	}
}
