package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Plan is the layout of a run: Conns clients, numbered from 0, in Groups groups.
type Plan struct {
	Conns    int     `json:"conns"`
	Groups   int     `json:"groups"`
	PerConn  int     `json:"per_conn"` // groups a client is in
	Shared   int     `json:"shared"`   // see Share; 0 = not so
	Zipf     float64 `json:"zipf"`     // exponent of the groups' popularity with publishers; 0 = each in its turn
	Personal bool    `json:"personal"` // group i is the one that client i's user has by itself: nobody joins
}

// Check says what is wrong with a plan.
func (p Plan) Check() error {
	switch {
	case p.Conns < 1:
		return fmt.Errorf("%d connections; at least 1", p.Conns)
	case p.Groups < 1 || p.PerConn < 1:
		return fmt.Errorf("%d groups, %d a connection; at least 1", p.Groups, p.PerConn)
	case p.PerConn > p.Groups:
		return fmt.Errorf("%d groups a connection of %d groups in all", p.PerConn, p.Groups)
	case p.Conns*p.PerConn < p.Groups:
		return fmt.Errorf("%d groups for %d memberships: some would be empty", p.Groups, p.Conns*p.PerConn)
	case p.Personal && (p.Groups != p.Conns || p.PerConn != 1):
		return fmt.Errorf("personal groups are one a connection")
	case p.Shared < 0 || p.Shared > 0 && (p.Personal || p != p.Share(p.Shared)):
		return fmt.Errorf("%d groups, %d a connection, shared by %d: these make the groups alone", p.Groups, p.PerConn, p.Shared)
	case p.Zipf < 0 || math.IsNaN(p.Zipf) || math.IsInf(p.Zipf, 0):
		return fmt.Errorf("a zipf exponent of %v; 0 or more", p.Zipf)
	}
	return nil
}

// Share lays the groups out as sites do: group 0 is everybody's, and each of the others is of so many clients.
func (p Plan) Share(clients int) Plan {
	p.Shared, p.Groups, p.PerConn = clients, 1+(p.Conns+clients-1)/clients, 2
	return p
}

// Of returns the groups of client i, in the order it joins them. Unless they are shared, two groups have few members in common: the
// distances between a client's groups are 0, 1, 4, 9, …, of which no two pairs are equally far apart, as long as there are groups enough.
func (p Plan) Of(i int) []uint32 {
	if p.Shared > 0 {
		return []uint32{0, uint32(1 + i/p.Shared)}
	}
	groups := make([]uint32, p.PerConn)
	for j := range groups {
		step := j
		if last := p.PerConn - 1; last*last < p.Groups {
			step = j * j
		}
		groups[j] = uint32((i + step) % p.Groups)
	}
	return groups
}

// Sizes returns how many members each group has.
func (p Plan) Sizes() []int {
	sizes := make([]int, p.Groups)
	for i := range p.Conns {
		for _, g := range p.Of(i) {
			sizes[g]++
		}
	}
	return sizes
}

// Picker returns the group of publication 0, 1, 2, …; the same ones for the same seed.
func (p Plan) Picker(seed uint64) func() uint32 {
	if p.Zipf == 0 {
		next := uint32(math.MaxUint32)
		return func() uint32 {
			next = (next + 1) % uint32(p.Groups)
			return next
		}
	}
	// The cumulated weights 1/(rank+1)^s, searched by a uniform number; rand.Zipf needs an exponent above 1.
	cumulated, sum := make([]float64, p.Groups), 0.0
	for rank := range cumulated {
		sum += math.Pow(float64(rank+1), -p.Zipf)
		cumulated[rank] = sum
	}
	source := rand.New(rand.NewPCG(seed, 0))
	return func() uint32 {
		x, lo, hi := source.Float64()*sum, 0, len(cumulated)-1
		for lo < hi {
			if mid := (lo + hi) / 2; cumulated[mid] <= x {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		return uint32(lo)
	}
}
