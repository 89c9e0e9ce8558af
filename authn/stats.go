package authn

import (
	"cmp"
	"slices"
)

// Stats is a snapshot for metrics.
type Stats struct {
	CacheHits, CacheMisses uint64
	CacheShared            uint64 // waited for another's lookup of the same credential
	CacheEntries           int
	Tombstones             int
	Revoked                uint64 // logins refused because their session was revoked
	RowsAnswered           uint64 // queries of SQL rules that the database answered
	RowsFailed             uint64 // and those that it did not, but for those whose login gave up waiting
	RowsCached             uint64 // answers to SQL rules that needed no query
	Answers                []Answer
}

// Answer counts how often a verifier gave an answer, from the cache or not.
type Answer struct {
	Verifier string
	Outcome  Outcome
	Reason   string // as in Step
	Count    uint64
}

type answerKey struct {
	verifier string
	outcome  Outcome
	reason   string
}

// maxAnswers bounds the kinds of answers counted apart, should a verifier invent reasons.
const maxAnswers = 512

func (c *Chain) count(l *link, err error) {
	if err != nil && isPending(err) {
		return
	}
	k := answerKey{verifier: l.name}
	k.outcome, k.reason = outcomeOf(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.counts[k]; !known && len(c.counts) >= maxAnswers {
		k.reason = "other"
	}
	c.counts[k]++
}

// Stats counts since start.
func (c *Chain) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.CacheEntries = len(c.accepted.entries) + len(c.others.entries)
	s.Tombstones = len(c.graves.until)
	for k, n := range c.counts {
		s.Answers = append(s.Answers, Answer{Verifier: k.verifier, Outcome: k.outcome, Reason: k.reason, Count: n})
	}
	slices.SortFunc(s.Answers, func(a, b Answer) int {
		return cmp.Or(cmp.Compare(a.Verifier, b.Verifier), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Reason, b.Reason))
	})
	return s
}
