package e2e

import "syscall"

const (
	sighup  = syscall.SIGHUP
	sigterm = syscall.SIGTERM
	sigstop = syscall.SIGSTOP
	sigcont = syscall.SIGCONT
)
