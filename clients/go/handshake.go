package gatecast

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// openLink does the WebSocket handshake. The caller reads the welcome.
func openLink(ctx context.Context, address, token string, o *Options) (*link, error) {
	u, header, protocols, err := handshakeFor(address, token, o)
	if err != nil {
		return nil, err
	}
	refused := &HandshakeError{}
	d := ws.Dialer{
		Protocols: protocols,
		Header:    ws.HandshakeHeaderHTTP(header),
		NetDial:   o.NetDial,
		TLSConfig: o.TLS,
		OnStatusError: func(status int, _ []byte, resp io.Reader) {
			refused.read(status, resp)
		},
	}
	conn, br, _, err := d.Dial(ctx, u)
	if err != nil {
		if refused.Status != 0 {
			return nil, refused
		}
		return nil, fmt.Errorf("gatecast: connect: %w", err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	l := &link{
		conn:    conn,
		src:     br,
		max:     o.MaxMessage,
		out:     make(chan outFrame, outgoing),
		done:    make(chan struct{}),
		written: make(chan struct{}),
		gone:    make(chan struct{}),
		calls:   make(map[int64]*pendingCall),
	}
	go l.write() // ends with done, or after a close frame
	return l, nil
}

// handshakeFor puts the token where its carrier says.
func handshakeFor(address, token string, o *Options) (string, http.Header, []string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", nil, nil, fmt.Errorf("gatecast: address: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return "", nil, nil, fmt.Errorf("gatecast: address %q must start with ws:// or wss://", u.Redacted())
	}
	header := o.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	protocols := []string{Subprotocol}
	if token != "" {
		switch o.Carrier {
		case CarrierHeader:
			header.Set("Authorization", "Bearer "+token)
		case CarrierSubprotocol:
			protocols = append(protocols, "bearer64."+base64.RawURLEncoding.EncodeToString([]byte(token)))
		case CarrierQuery:
			q := u.Query()
			q.Set("token", token)
			u.RawQuery = q.Encode()
		}
	}
	return u.String(), header, protocols, nil
}

// read fills in what the server says instead of 101.
func (e *HandshakeError) read(status int, raw io.Reader) {
	e.Status, e.Body = status, http.StatusText(status)
	resp, err := http.ReadResponse(bufio.NewReader(raw), nil)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 && s <= 3600 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // what came is enough for a message
	if line, _, _ := strings.Cut(string(body), "\n"); strings.TrimSpace(line) != "" {
		e.Body = strings.TrimSpace(line)
	}
}
