// Command gen writes what is generated from the code: the Options' doc comments into server/config/docs_gen.go, and
// from there and from the tables of codes and metrics server/docs/config.md, codes.md, metrics.md and the golden
// config.toml. Run it with `make docs`; the shape tests compare the files with what it would write.
//
// The doc comments go first and need a second run of the program, because the reference is made of what is compiled in:
// gen starts itself again with the argument "references".
package main
