// Package ticket verifies one-time tickets: short-lived credentials that an application signs for one login, for clients that can only put a credential
// into an address, and for users that another system has logged in.
//
//	ticket ─► shape (else not mine) ─► signature ─► age ─► who and what (payload.go) ─► used before, anywhere? (ledger.go) ─► Identity
//
// A ticket is what django.core.signing.dumps makes of a JSON object, with the salt "gatecast.ticket"; gatecast.django.ticket of the Python client makes
// one. The [Ledger] of a node burns each ticket in the whole cluster before it is accepted: all nodes are asked, and one that cannot be asked is a reason
// to let nobody in. See docs/adr/0021.
package ticket
