package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gatecast/gatecast/authn/jwt"
	gatecast "github.com/gatecast/gatecast/clients/go"
	"github.com/gatecast/gatecast/server/config"
)

// sub joins groups as a client and prints "group<TAB>data" for each message.
func sub(c *call) error {
	c.flags.config()
	url := c.flags.String("url", "", "`address` of the socket listener, such as ws://127.0.0.1:8080/ws; default server.listen of the configuration")
	token := c.flags.String("token", "", "`token` to log in with; default one made with authn.jwt.secret for -user, if there is a secret")
	user := c.flags.String("user", "gatecast-cli", "user `id` of the token that is made")
	count := c.flags.Int("count", 0, "stop after this `number` of messages; 0 = never")
	groups, err := c.parse(1, -1)
	if err != nil {
		return err
	}
	if err := c.fillSub(url, token, *user); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	conn, err := gatecast.Dial(ctx, *url, gatecast.Options{Token: *token, Groups: groups, OnState: c.tellState})
	if err != nil {
		return fmt.Errorf("%s: %w", *url, err)
	}
	defer conn.Close()
	for n := 1; ; n++ {
		m, err := conn.Receive(ctx)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(c.stdout, "%s\t%s\n", m.Group, m.Data); err != nil || n == *count {
			return err
		}
	}
}

// tellState keeps who watches informed while the conn comes back.
func (c *call) tellState(s gatecast.StateChange) {
	if s.State == gatecast.StateWaiting {
		fmt.Fprintf(c.stderr, "gatecast: connection lost (%v); again in %v\n", s.Err, s.Retry.Round(time.Millisecond))
	}
}

// fillSub finds the address and makes a token where none was given.
func (c *call) fillSub(url, token *string, user string) error {
	if *url != "" && *token != "" {
		return nil
	}
	s, err := c.read()
	if err != nil {
		return err
	}
	if *url == "" {
		*url = socketURL(s)
	}
	if *token == "" && s.Config.Authn.JWT.Secret != "" {
		*token, err = signToken(s, "jwt", jwt.Claims{User: user, Lifetime: defaultTTL})
	}
	return err
}

func socketURL(s *config.Settings) string {
	scheme := "ws://"
	if s.Config.Server.TLS.Cert != "" {
		scheme = "wss://"
	}
	return scheme + dialable(s.Config.Server.Listen) + "/" + strings.TrimPrefix(s.Config.Server.Path, "/")
}
