package js

import _ "embed"

// Module is gatecast.js, an ES module without dependencies. Do not modify it.
//
//go:embed gatecast.js
var Module []byte
