// Package demo holds the page that -dev serves: two users side by side who join groups, send, and get refused.
//
// The package knows no sockets: package server asks [Page] for the page of "/" and [Asset] for what it loads, and answers from its
// own HTTP scanner, with [Policy] as Content-Security-Policy. The page's element ids are a contract with the browser test; they are
// listed at the top of page.html.
package demo
