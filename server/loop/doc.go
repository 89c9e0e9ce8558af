// Package loop owns the sockets: event loops that read, write and close them for a [Handler] above.
package loop
