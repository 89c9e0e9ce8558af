// Package codec speaks the protocols of the servers that are measured. A [Codec] is made from a [Spec], plain data, so that any
// process of a run can speak to a server that another one started. A codec has no state: what it knows of a client is in [Client].
package codec
