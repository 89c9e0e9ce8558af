// Package brokertest starts brokers in one process and holds the suite that every kind of broker passes.
package brokertest
