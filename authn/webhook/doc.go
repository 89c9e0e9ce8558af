// Package webhook asks the application who somebody is, for logins that nothing else here can verify: sessions in memory, custom backends, opaque tokens.
//
//	credential ─► question (cookies and headers of the allow-lists, token, path, address) ─► breaker ─► POST ─► answer ─► Identity
//
// The application answers 200 with a user or without one, 401 or 403. Everything else, also no answer in time, is no answer at all: nobody is let in or
// thrown out because of it. Answers are cached by the chain, keyed by the whole question.
package webhook
