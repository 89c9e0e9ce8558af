//go:build !race && !framedebug

package loop

const frameDebug = false
