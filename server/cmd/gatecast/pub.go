package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// pub sends one message through the HTTP API.
func pub(c *call) error {
	url, key := c.apiFlags()
	args, err := c.parse(2, 2)
	if err != nil {
		return err
	}
	data := []byte(args[1])
	if args[1] == "-" {
		if data, err = io.ReadAll(c.stdin); err != nil {
			return fmt.Errorf("read the message: %w", err)
		}
	}
	if !json.Valid(data) {
		return c.misuse("%q is not JSON; a text needs its quotes too: '\"hello\"'", short(string(data)))
	}
	a, err := c.openAPI(*url, *key, "publish")
	if err != nil {
		return err
	}
	group, err := json.Marshal(args[0])
	if err != nil {
		return err
	}
	// Not encoding/json, which would rewrite the message: it arrives byte for byte.
	answer, err := a.call(http.MethodPost, "group_send", fmt.Appendf(nil, `{"group":%s,"data":%s}`, group, data))
	if err != nil {
		return err
	}
	var ok struct{ Seq uint64 }
	if json.Unmarshal(answer, &ok) == nil && ok.Seq > 0 {
		fmt.Fprintf(c.stdout, "sent as %d\n", ok.Seq)
		return nil
	}
	fmt.Fprintln(c.stdout, "sent")
	return nil
}

// short bounds what an error repeats of an argument.
func short(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
