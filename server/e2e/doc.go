// Package e2e tests the built gatecast binary from outside: nodes are separate processes, Django is a real
// site, the browser is a real Chromium and the brokers' other clients are plain nats.go and nats-py.
//
// The flow of a test: [TestMain] builds the binary once (with the race detector when the tests have it), a
// test writes a config and starts nodes, waits on /readyz, speaks to them over sockets of its own, and at the
// end every node must leave on SIGTERM with exit code 0, without a data race or a panic in its log.
//
// The package has no code outside its tests. What other programs run has folders: django/ is the site,
// browser/ drives Chromium, python/ publishes with nats-py, autobahn/ names the runner of the Autobahn test suite.
// testdata/script has the scripts of the command line.
//
// GATECAST_TEST_NO_SKIP=1 turns every skip for a missing program into a failure; continuous integration sets it.
// GATECAST_TEST_MODE=portable runs every node that a test does not give a mode of its own in portable mode; make portable sets it.
// With -short the heavy tests (10,000 conns, every Django version, the browser) are left out.
package e2e
