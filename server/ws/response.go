package ws

// AppendUpgradeResponse appends the 101 answer to a request that passed CheckUpgrade. subprotocol "" sends no Sec-WebSocket-Protocol.
func AppendUpgradeResponse(dst []byte, r *Request, subprotocol string) []byte { panic("stub") }

// AppendHTTPResponse appends a whole response with "Connection: close" and Content-Length; Content-Type is text/plain unless headers has one.
func AppendHTTPResponse(dst []byte, status int, headers [][2]string, body string) []byte {
	panic("stub")
}

// AppendHTTPError appends the response for a refused request, with the headers its status asks for (Allow, Upgrade, Sec-WebSocket-Version).
func AppendHTTPError(dst []byte, e *HTTPError) []byte { panic("stub") }
