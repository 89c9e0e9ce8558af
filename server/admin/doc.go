// Package admin serves a node's HTTP API, health, metrics and admin page on a listener of its own.
//
// The flow of a request: [Server] finds its route in one table (routes.go), the key of the Authorization header gives a role
// (auth.go), the body is decoded strictly (body.go) and becomes one call of the [Node] (send.go, call.go, inspect.go). Whatever goes
// wrong is an [Error] with a code, mapped to an HTTP status in one place (errors.go).
//
// The package knows no sockets, groups or broker: package server hands it a [Node] and the [Metric] table, package config its
// [Options]. It uses net/http, never its DefaultServeMux.
package admin
