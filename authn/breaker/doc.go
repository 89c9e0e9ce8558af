// Package breaker keeps logins from waiting for another side that does not answer, such as a database that hangs.
//
//	question ─► [Breaker.Enter] ─► it is asked ─► [Breaker.Leave] counts what came of it
//	                  └─ the other side is being left alone ─► [ErrOpen], at once
//
// [Breaker.Ask] is the three in one, for those whose errors are Go's own.
package breaker
