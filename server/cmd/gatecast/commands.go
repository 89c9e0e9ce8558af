package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gatecast/gatecast/server/config"
)

// command is one sub-command.
type command struct {
	name  string // one or two words
	args  string // for the usage line
	about string // one line for help
	run   func(*call) error
}

// commands is every sub-command in the order of help.
func commands() []command {
	return []command{
		{"serve", "", "run a node (the default command)", serve},
		{"config init", "", "write a config.toml with every setting, its default and why", configInit},
		{"config check", "", "say what is wrong with the configuration", configCheck},
		{"config print", "", "show every value and where it came from", configPrint},
		{"config doc", "[KEY]", "explain a setting, a section, or all of them", configDoc},
		{"token make", "USER", "sign a JWT for a user with authn.jwt.secret or a private key", tokenMake},
		{"token check", "TOKEN", "say who a token is and what it may do", tokenCheck},
		{"session check", "COOKIE", "say why a session cookie (value or name=value), or a token with -token, is accepted or refused, and with -explain GROUP what it may do there", sessionCheck},
		{"pub", "GROUP JSON", "send a message to a group", pub},
		{"sub", "GROUP...", "print the messages of groups, a line each", sub},
		{"connections", "", "list the connections of the cluster", connections},
		{"disconnect", "conn=ID | user=ID | session=HASH", "close connections", disconnect},
		{"drain", "", "make the node leave politely", drain},
		{"bench", "SCENARIO", "measure this server or another; runs gatecast-bench", bench},
		{"doctor", "", "check the configuration against this machine", doctor},
		{"version", "", "print the version", printVersion},
	}
}

// call is one invocation of a sub-command.
type call struct {
	command
	words  []string // what follows the command's name
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	flags  *flags
}

// usageError is a wrong command line: exit code 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// errSaid means failure that was already explained on standard output: exit code 1, nothing more to print.
var errSaid = errors.New("see above")

// errHelped means that -h was asked for and answered.
var errHelped = errors.New("helped")

// run executes one command line and returns the exit code.
func run(words []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(words) > 0 && (words[0] == "help" || words[0] == "-h" || words[0] == "-help" || words[0] == "--help") {
		return help(words[1:], stdout, stderr)
	}
	cmd, rest, err := find(words)
	if err == nil {
		c := &call{command: cmd, words: rest, stdin: stdin, stdout: stdout, stderr: stderr}
		c.flags = newFlags(c)
		err = cmd.run(c)
	}
	return exitCode(err, stderr)
}

func exitCode(err error, stderr io.Writer) int {
	var usage *usageError
	switch {
	case err == nil || errors.Is(err, errHelped):
		return 0
	case errors.Is(err, errSaid):
		return 1
	case errors.Is(err, errMayNotHear):
		return 3
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "gatecast:", usage.text)
		return 2
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(stderr, "gatecast:", strings.TrimPrefix(line, "gatecast: ")) // the Go client's errors begin so too
	}
	return 1
}

// find splits a command line into the command and what follows its name. A line that begins with a flag, or is empty,
// is serve's.
func find(words []string) (command, []string, error) {
	if len(words) == 0 || strings.HasPrefix(words[0], "-") {
		return commands()[0], words, nil
	}
	var names, second []string
	for _, c := range commands() {
		first, rest, two := strings.Cut(c.name, " ")
		switch {
		case !two && first == words[0]:
			return c, words[1:], nil
		case two && first == words[0]:
			second = append(second, rest)
			if len(words) > 1 && words[1] == rest {
				return c, words[2:], nil
			}
		}
		names = append(names, c.name)
	}
	if second != nil {
		return command{}, nil, &usageError{fmt.Sprintf("write: gatecast %s %s", words[0], strings.Join(second, "|"))}
	}
	return command{}, nil, &usageError{fmt.Sprintf("unknown command %q%s; see: gatecast help", words[0], config.Suggest(words[0], names))}
}

func help(words []string, stdout, stderr io.Writer) int {
	if len(words) > 0 {
		cmd, _, err := find(words)
		if err == nil {
			c := &call{command: cmd, words: []string{"-h"}, stdout: stdout, stderr: stderr}
			c.flags = newFlags(c)
			err = cmd.run(c)
		}
		return exitCode(err, stderr)
	}
	fmt.Fprint(stdout, "gatecast: groups, messages and logins for WebSockets, carried by NATS\n\nUsage: gatecast COMMAND [flags] [arguments]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(stdout, "  %-14s %s\n", c.name, c.about)
	}
	fmt.Fprint(stdout, "\nFlags of a command: gatecast COMMAND -h. Settings: gatecast config doc.\n")
	return 0
}
