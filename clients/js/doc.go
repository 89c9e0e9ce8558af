// Package js carries the JavaScript client into the binary, so that the demo page serves the one copy there is; see [Module].
package js
