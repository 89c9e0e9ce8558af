package main

import (
	"os"
	_ "time/tzdata" // authn.django.time_zone must be known in a container without zone files too
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
