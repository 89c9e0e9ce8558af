package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// disconnect closes the conns of a user, of a Django session, or one.
func disconnect(c *call) error {
	url, key := c.apiFlags()
	code := c.flags.Int("code", 0, "close `code`, 3000 to 4999; default 4410, which clients do not reconnect on")
	reason := c.flags.String("reason", "", "`text` for the client, at most 123 bytes")
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	what, id, ok := strings.Cut(args[0], "=")
	if !ok || id == "" || what != "conn" && what != "user" && what != "session" {
		return c.misuse("say whom: conn=ID, user=ID or session=HASH")
	}
	body := map[string]any{what: id}
	if *code != 0 {
		body["code"] = *code
	}
	if *reason != "" {
		body["reason"] = *reason
	}
	a, err := c.openAPI(*url, *key)
	if err != nil {
		return err
	}
	request, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := a.call(http.MethodPost, "disconnect", request)
	if err != nil {
		return err
	}
	var closed struct{ Conns int }
	if err := json.Unmarshal(answer, &closed); err != nil {
		return fmt.Errorf("the node's answer is no JSON: %w", err)
	}
	fmt.Fprintf(c.stdout, "closed %d\n", closed.Conns)
	return nil
}
