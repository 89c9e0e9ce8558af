package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gatecast/gatecast/server/config"
)

// flags are the flags of one call. Those that load a configuration are added by [flags.config].
type flags struct {
	*flag.FlagSet
	configPath string
	dev        bool
	set        list
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func newFlags(c *call) *flags {
	f := &flags{FlagSet: flag.NewFlagSet(c.name, flag.ContinueOnError)}
	f.SetOutput(io.Discard) // parse prints by itself
	return f
}

// config adds -config, -dev and -set.
func (f *flags) config() {
	f.StringVar(&f.configPath, "config", "", "path of config.toml; default $GATECAST_CONFIG, else ./config.toml if it exists")
	f.BoolVar(&f.dev, "dev", false, "for trying out: adds ready logins for two users and refuses to listen beyond this machine")
	f.Var(&f.set, "set", "section.key=value: overrides the file and the environment; may be repeated")
}

// input is where the settings of this call come from.
func (f *flags) input() config.Input {
	return config.Input{Path: config.Find(f.configPath), Environ: os.Environ(), Set: f.set, Dev: f.dev}
}

// parse reads flags and arguments, in any order; what follows "--" is no flag. It wants min to max arguments, any
// number if max is negative.
func (c *call) parse(min, max int) ([]string, error) {
	var args []string
	words, verbatim := c.words, []string(nil)
	for i, w := range words {
		if w == "--" {
			words, verbatim = words[:i], words[i+1:]
			break
		}
	}
	for {
		switch err := c.flags.Parse(words); {
		case errors.Is(err, flag.ErrHelp):
			c.usage()
			return nil, errHelped
		case err != nil:
			return nil, c.misuse("%v", err)
		}
		if words = c.flags.Args(); len(words) == 0 {
			break
		}
		args, words = append(args, words[0]), words[1:]
	}
	args = append(args, verbatim...)
	if len(args) < min || max >= 0 && len(args) > max {
		return nil, c.misuse("want %s, got %d arguments", argsText(c.args), len(args))
	}
	return args, nil
}

func argsText(args string) string {
	if args == "" {
		return "no arguments"
	}
	return args
}

// misuse is a usageError that shows the right line.
func (c *call) misuse(format string, args ...any) error {
	line := strings.TrimSpace("gatecast " + c.name + " [flags] " + c.args)
	return &usageError{fmt.Sprintf(format, args...) + "; usage: " + line}
}

func (c *call) usage() {
	fmt.Fprintf(c.stdout, "Usage: %s\n\n%s.\n", strings.TrimSpace("gatecast "+c.name+" [flags] "+c.args), capital(c.about))
	first := true
	c.flags.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(c.stdout, "\nFlags:\n")
			first = false
		}
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(c.stdout, "  %-22s %s\n", strings.TrimSpace("-"+f.Name+" "+kind), text)
	})
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// load reads the configuration and prints its warnings.
func (c *call) load() (*config.Settings, error) {
	s, err := config.Load(c.flags.input())
	if err != nil {
		return nil, err
	}
	for _, w := range s.Warnings {
		fmt.Fprintln(c.stderr, "warning:", w)
	}
	return s, nil
}

// read decodes the configuration without checks across sections, for commands that need only a part of it.
func (c *call) read() (*config.Settings, error) { return config.Read(c.flags.input()) }
