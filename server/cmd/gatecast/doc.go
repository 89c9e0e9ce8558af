// Command gatecast is the server and its tools.
//
// The flow: main calls run, which finds the sub-command in one table (commands.go); each sub-command is a function in a
// file of its own that reads its flags and arguments through [call.parse] and returns an error. serve.go wires the
// product: config → verifiers → authn.Chain → server.Node → admin.Server, then waits for signals.
//
// Exit codes: 0 done, 1 it did not work (one line on standard error says why), 2 the command line is wrong.
package main
