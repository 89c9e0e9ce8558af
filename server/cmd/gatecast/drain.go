package main

import (
	"fmt"
	"net/http"
)

// drain asks one node to leave as on SIGTERM.
func drain(c *call) error {
	url, key := c.apiFlags()
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	a, err := c.openAPI(*url, *key)
	if err != nil {
		return err
	}
	if _, err := a.call(http.MethodPost, "drain", nil); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, "draining")
	return nil
}
