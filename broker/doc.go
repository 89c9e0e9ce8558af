// Package broker carries messages between nodes.
package broker
