// Package pgtest starts a real PostgreSQL server for a test, on a free port of 127.0.0.1, from the binaries of the system's package.
//
// The flow: [Start] makes a cluster in a temporary folder and a server on it, [Server.CreateDatabase] gives each test a database of its own, and the end of the test
// stops the server. So does the death of the test's process.
package pgtest
