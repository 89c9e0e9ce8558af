// Command gatecast-bench is the load harness; `gatecast bench` runs it. Package bench has its flow.
package main
