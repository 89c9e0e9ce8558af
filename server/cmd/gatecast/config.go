package main

import (
	"fmt"
	"io"
	"os"

	"github.com/gatecast/gatecast/server/config"
)

// configInit writes the golden file to standard output, or to -out unless that exists.
func configInit(c *call) error {
	out := c.flags.String("out", "", "write to this `file`, which must not exist, instead of standard output")
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	if *out == "" {
		return config.WriteTOML(c.stdout)
	}
	f, err := os.OpenFile(*out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640) // secrets will stand in it
	if err != nil {
		return fmt.Errorf("write the config: %w", err)
	}
	if err := config.WriteTOML(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "wrote %s; fill in [authn.django] or [authn.jwt], then: gatecast config check -config %s\n", *out, *out)
	return nil
}

// configCheck loads the configuration as serve would.
func configCheck(c *call) error {
	c.flags.config()
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	s, err := c.load()
	if err != nil {
		return err
	}
	from := s.Input.Path
	if from == "" {
		from = "the defaults (no config.toml here)"
	}
	fmt.Fprintf(c.stdout, "ok: %s\n", from)
	return nil
}

// configPrint shows what serve would use; a configuration that does not work is shown too, then judged.
func configPrint(c *call) error {
	c.flags.config()
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	s, err := c.read()
	if err != nil {
		return err
	}
	if checked, err := config.Load(c.flags.input()); err == nil {
		s = checked // with what -dev and the checks made of it
	} else {
		defer fmt.Fprintln(c.stderr, "warning: this configuration does not work; see: gatecast config check")
	}
	return s.Print(c.stdout)
}

func configDoc(c *call) error {
	args, err := c.parse(0, 1)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return config.WriteMarkdown(c.stdout)
	}
	text, ok := config.Explain(args[0])
	if !ok {
		return fmt.Errorf("%s", text)
	}
	_, err = io.WriteString(c.stdout, text)
	return err
}
