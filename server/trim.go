package server

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A storm of handshakes leaves several times the memory of its conns as garbage, and Go gives that back to the system only as
// new garbage is made: a node whose conns rest would keep it for hours. So the node gives it back when it has become quiet.
const (
	trimEvery  = 5 * time.Second  // looks at the heap; reading three counters
	trimPause  = 10 * time.Second // between two trims at least: each is two collections
	trimAtMost = 4 << 20          // bytes a second allocated by a node that counts as quiet
	trimWorth  = 2 << 20          // bytes that a trim must promise, and an eighth of the live heap, beyond what is known to be scattered
)

// heap is what the runtime says of its memory, in bytes, and how often it has collected.
type heap struct{ allocated, live, held, collections uint64 }

// heapSamples is what read asks the runtime.
func heapSamples() []metrics.Sample {
	return []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
	}
}

func (h *heap) read(samples []metrics.Sample) {
	metrics.Read(samples)
	h.allocated, h.live = samples[0].Value.Uint64(), samples[1].Value.Uint64()
	h.held = samples[2].Value.Uint64() + samples[3].Value.Uint64() + samples[4].Value.Uint64()
	h.collections = samples[5].Value.Uint64()
}

// trim gives memory back to the system, when the node is quiet and there is enough of it, until ctx ends.
func (n *Node) trim(ctx context.Context) {
	samples := heapSamples()
	var now, before, after heap
	var scattered uint64 // bytes that a trim did not return: they lie between live objects
	before.read(samples)
	last := time.Now()
	for tick := time.NewTicker(trimEvery); ; {
		select {
		case <-tick.C:
		case <-n.swept: // it leaves garbage, but is over: the next look goes by what comes from now on
			now.read(samples)
			n.pruneHeap(&now, before)
			before, last = now, time.Time{}
			continue
		case <-ctx.Done():
			tick.Stop()
			return
		}
		now.read(samples)
		n.pruneHeap(&now, before)
		if worthTrimming(now, before, scattered) && time.Since(last) >= trimPause {
			n.pruned.Store(0)
			runtime.GC() // the first lets pools go, the second finds what they held
			debug.FreeOSMemory()
			last = time.Now()
			after.read(samples)
			scattered = leftBy(now, after)
			now.collections = after.collections
		}
		before = now
	}
}

// pruneHeap prunes, and takes from what lives now what was pruned since the last collection: that one still counted it.
func (n *Node) pruneHeap(now *heap, before heap) {
	if now.collections != before.collections {
		n.pruned.Store(0)
	}
	n.prune()
	now.live -= min(now.live, uint64(n.pruned.Load()))
}

// rest is what is held and not live, in bytes.
func (h *heap) rest() uint64 { return h.held - min(h.live, h.held) }

// worthTrimming tells whether the node was quiet since before and holds much that is not live, beyond what is scattered.
func worthTrimming(now, before heap, scattered uint64) bool {
	quiet := now.allocated-before.allocated < uint64(trimAtMost*trimEvery.Seconds())
	return quiet && now.rest() > scattered+max(trimWorth, now.live/8)
}

// leftBy returns the bytes that another trim would not return either. One that returned much says nothing of that: what it found may have been
// of logins that still went on, or cached ones that lived a little longer.
func leftBy(before, after heap) uint64 {
	if before.held > after.held+trimWorth {
		return 0
	}
	return after.rest()
}
