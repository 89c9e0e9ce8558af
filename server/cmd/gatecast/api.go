package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/server/config"
)

// api calls the HTTP API of a running node.
type api struct {
	url, key string
}

// apiFlags adds the flags of every command that talks to a running node.
func (c *call) apiFlags() (url, key *string) {
	c.flags.config()
	url = c.flags.String("url", "", "`address` of the admin listener, such as http://127.0.0.1:8081; default admin.listen of the configuration")
	key = c.flags.String("key", "", "an admin `key`; default the first of [[admin.keys]] whose role allows the call")
	return url, key
}

// openAPI finds the node's address and a key with one of roles. The configuration is read only if a flag is missing.
func (c *call) openAPI(url, key string, roles ...string) (*api, error) {
	a := &api{url: strings.TrimSuffix(url, "/"), key: key}
	if a.url != "" && a.key != "" {
		return a, nil
	}
	s, err := c.read()
	if err != nil {
		return nil, err
	}
	if a.url == "" {
		if s.Config.Admin.Listen == "" {
			return nil, errors.New("admin.listen is empty, so the node serves no HTTP API; set it, or use -url")
		}
		a.url = "http://" + dialable(s.Config.Admin.Listen)
	}
	if a.key == "" {
		a.key = fittingKey(s, roles)
	}
	return a, nil
}

// fittingKey is the first key with one of roles; a weaker role comes first, so that the strong key stays unused.
func fittingKey(s *config.Settings, roles []string) string {
	for _, role := range append(slices.Clone(roles), "admin") {
		for _, k := range s.Config.Admin.Keys {
			if k.Role == role {
				return k.Key
			}
		}
	}
	return ""
}

// dialable turns a listen address into one to connect to: 0.0.0.0 and :: mean this machine.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// call sends a request with a JSON body, if it is not nil, and returns the answer's JSON. What the node refuses is an
// error with its code and text.
func (a *api) call(method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.url+"/api/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("-url %q is no address; write http://host:port", a.url)
	}
	if a.key != "" {
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no node answers at %s: %w; is it running? (-url, admin.listen)", a.url, errors.Unwrap(err))
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read the node's answer: %w", err)
	}
	return answer, refusal(res.StatusCode, answer, a)
}

func refusal(status int, answer []byte, a *api) error {
	var reply struct {
		Error *struct{ Code, Message string }
	}
	if err := json.Unmarshal(answer, &reply); err != nil && status == http.StatusOK {
		return fmt.Errorf("%s is no gatecast admin listener", a.url)
	}
	switch {
	case reply.Error != nil && reply.Error.Code == "unauthorized":
		return fmt.Errorf("unauthorized: %s; add [[admin.keys]] to the configuration, or use -key", reply.Error.Message)
	case reply.Error != nil:
		return fmt.Errorf("%s: %s", reply.Error.Code, reply.Error.Message)
	case status != http.StatusOK:
		return fmt.Errorf("%s answered %d; is it a gatecast admin listener?", a.url, status)
	}
	return nil
}
