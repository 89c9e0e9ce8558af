//go:build linux

package compare

import (
	"math"
	"slices"
)

// alpha is the chance of calling noise a difference.
const alpha = 0.05

// exactUpTo is how many values both samples may have for the exact distribution; above, the normal one is near enough.
const exactUpTo = 60

// mannWhitney returns the two-sided probability that samples of one distribution differ as much in their ranks as these, and the
// share of pairs in which b's value is the larger, ties counting half.
func mannWhitney(a, b []float64) (p, larger float64) {
	n, m := len(a), len(b)
	if n == 0 || m == 0 {
		return 1, 0.5
	}
	ranks, ties := midranks(slices.Concat(a, b))
	sum := 0 // of a's ranks, twice
	for _, r := range ranks[:n] {
		sum += r
	}
	larger = 1 - (float64(sum)/2-float64(n*(n+1))/2)/float64(n*m)
	if n+m > exactUpTo {
		return normal(n, m, ties, larger), larger
	}
	less, more, all := 0.0, 0.0, 0.0
	for s, ways := range sums(ranks, n) {
		all += ways
		if s <= sum {
			less += ways
		}
		if s >= sum {
			more += ways
		}
	}
	return min(1, 2*min(less, more)/all), larger
}

// midranks returns twice the rank of each value, from 2 on; equal ones share the mean of theirs. ties is the sum of t³-t over
// groups of t equal values.
func midranks(v []float64) (ranks []int, ties float64) {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case v[i] < v[j]:
			return -1
		case v[i] > v[j]:
			return 1
		}
		return 0
	})
	ranks = make([]int, len(v))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && v[order[j]] == v[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			ranks[k] = i + 1 + j // twice the mean of i+1 … j
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	return ranks, ties
}

// sums returns in how many ways n of the ranks add up to each sum.
func sums(ranks []int, n int) []float64 {
	total := 0
	for _, r := range ranks {
		total += r
	}
	ways := make([][]float64, n+1) // by how many are taken
	for k := range ways {
		ways[k] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for _, r := range ranks {
		for k := n; k > 0; k-- {
			for s := total; s >= r; s-- {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	return ways[n]
}

// normal is the approximation for many values, corrected for ties and for continuity.
func normal(n, m int, ties, larger float64) float64 {
	x, y, all := float64(n), float64(m), float64(n+m)
	deviation := math.Sqrt(x * y / 12 * (all + 1 - ties/(all*(all-1))))
	if deviation == 0 {
		return 1
	}
	z := max(0, math.Abs(larger-0.5)*x*y-0.5) / deviation
	return math.Erfc(z / math.Sqrt2)
}

// leastP is the smallest probability that samples of these sizes can have.
func leastP(n, m int) float64 {
	ways := 1.0 // n+m over n
	for i := range n {
		ways *= float64(m+i+1) / float64(i+1)
	}
	return min(1, 2/ways)
}

// leastRepeats is how many repeats two equally large samples need for a difference to be possible.
func leastRepeats() int {
	n := 1
	for leastP(n, n) >= alpha {
		n++
	}
	return n
}

// worthwhile is the number of repeats above which it is better to say that there is nothing to see.
const worthwhile = 200

// neededRepeats is how many repeats each sample should have to show, with a chance of 80 %, a difference such as seen here:
// Noether, Sample size determination for some common nonparametric tests, 1987. 0 means that there is none in sight.
func neededRepeats(larger float64) int {
	const zs = 1.96 + 0.84 // of alpha on two sides, and of 80 %
	off := larger - 0.5
	if off == 0 {
		return 0
	}
	n := math.Ceil(zs * zs / (3 * off * off) / 2)
	if n > worthwhile {
		return 0
	}
	return max(leastRepeats(), int(n))
}
