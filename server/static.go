package server

import (
	"github.com/gatecast/gatecast/server/ws"
)

// Static serves pages on the socket listener: the demo of -dev. It is asked on a loop and must not block.
type Static func(path string) (contentType string, headers [][2]string, body []byte, ok bool)

// serveStatic answers a request that is for no conn.
func (o *owner) serveStatic(slot uint32, req *ws.Request) {
	if o.node.static != nil {
		if contentType, headers, body, ok := o.node.static(req.Path); ok { // never cached: it may hold tokens
			headers = append([][2]string{{"Content-Type", contentType}, {"X-Content-Type-Options", "nosniff"}, {"Cache-Control", "no-store"}}, headers...)
			o.node.counters.handshake("static", "page")
			o.respond(slot, ws.AppendHTTPResponse(o.frame[:0], 200, headers, string(body)))
			return
		}
	}
	o.refuse(slot, 404, "path", "nothing is served here; sockets connect to "+o.node.opts.Path)
}
