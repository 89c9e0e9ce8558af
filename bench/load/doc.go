// Package load publishes: open loop, where publication k is due at t0 + k/rate whatever the target does, or windowed, where
// the next one waits until one of those in flight has reached everybody. A [Publisher] is one socket and one goroutine; how
// late it woke for each due time is kept apart from how long the target took, so that a slow generator is seen as such.
package load
