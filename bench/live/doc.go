// Package live shows a measurement while it is made: on a terminal a few lines that are drawn anew twice a second, below the plain
// line of each finished run; anywhere else only those plain lines.
//
//	view.go      View: what the measuring calls, and the goroutine that draws
//	lines.go     what is drawn
//	terminal.go  whether there is a terminal, and how wide
package live
