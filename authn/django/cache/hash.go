package cache

import "hash/crc32"

// hash picks one of several servers for a key, as a client library does that has them in this order.
type hash func(servers []string, key string) int

var hashes = map[string]hash{
	"pymemcache":       rendezvous,
	"pylibmc":          oneAtATime,
	"python-memcached": crc,
}

// rendezvous is pymemcache.client.rendezvous.RendezvousHash: the highest murmur3 of server and key, and of equals the last by name.
func rendezvous(servers []string, key string) int {
	best, high := 0, int64(-1)
	for i, server := range servers {
		score := int64(murmur3(server + "-" + key))
		if score > high || score == high && server > servers[best] {
			best, high = i, score
		}
	}
	return best
}

// murmur3 is MurmurHash3 x86 32 bit with seed 0, over the code points of text as pymemcache has it, which for ASCII are its bytes.
func murmur3(text string) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	scramble := func(k uint32) uint32 {
		k *= c1
		return (k<<15 | k>>17) * c2
	}
	var h uint32
	rest := text
	for ; len(rest) >= 4; rest = rest[4:] {
		h ^= scramble(uint32(rest[0]) | uint32(rest[1])<<8 | uint32(rest[2])<<16 | uint32(rest[3])<<24)
		h = (h<<13|h>>19)*5 + 0xe6546b64
	}
	if len(rest) > 0 {
		var k uint32
		for i := len(rest) - 1; i >= 0; i-- {
			k = k<<8 | uint32(rest[i])
		}
		h ^= scramble(k)
	}
	h ^= uint32(len(text))
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}

// oneAtATime is libmemcached's default, which pylibmc keeps: Bob Jenkins's hash, modulo the number of servers.
func oneAtATime(servers []string, key string) int {
	var h uint32
	for i := range len(key) {
		h += uint32(key[i])
		h += h << 10
		h ^= h >> 6
	}
	h += h << 3
	h ^= h >> 11
	h += h << 15
	return int(h % uint32(len(servers)))
}

// crc is python-memcached's cmemcache_hash, modulo the number of servers.
func crc(servers []string, key string) int {
	h := crc32.ChecksumIEEE([]byte(key)) >> 16 & 0x7fff
	return int(max(h, 1) % uint32(len(servers)))
}
