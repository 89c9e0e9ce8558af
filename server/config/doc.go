// Package config turns config.toml, the environment and flags into each package's Options.
//
// [Load] starts from [Default], stores the file's values, then GATECAST_… variables, then -set flags, and remembers
// for every key where its value came from ([Settings.Origin]). What it cannot place or does not like is an [Error]
// with the file's line and what would be right. Secrets may come from files: a key tagged secret:"true" in its
// Options has a twin with "_file" behind its name.
//
// The same structs describe themselves: [WriteTOML] is the golden config.toml and [WriteMarkdown] the reference,
// both made of the Options' doc comments, which `make docs` copies into docs_gen.go.
//
// A running node calls [Settings.Reload]: it takes over what can change without closing a socket and says which
// other keys wait for a restart.
package config
