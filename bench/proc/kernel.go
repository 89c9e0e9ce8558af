//go:build linux

package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// socketCaches are the slab caches that grow with TCP connections and who waits for them: the connection itself, its inode, file and
// dentry, and what epoll and security modules keep of it. The kernel merges caches of the same size: where eventpoll_pwq goes by
// another name, its 72 bytes a socket are missing. Caches that other things fill too, kmalloc-*, are left out.
var socketCaches = []string{
	"TCP", "TCPv6", "tw_sock_TCP", "request_sock_TCP", "tcp_bind_bucket", "tcp_bind2_bucket", "sock_inode_cache", "filp", "dentry",
	"ep_head", "eventpoll_epi", "eventpoll_pwq", "lsm_file_cache", "lsm_inode_cache", "skbuff_head_cache", "skbuff_fclone_cache",
	"skbuff_small_head",
}

// Sockets is the kernel memory, in bytes, of all sockets of the machine.
type Sockets struct {
	Slab   int64 // objects; see socketCaches
	Queues int64 // pages of what waits in TCP queues
}

// Total is all of it.
func (s Sockets) Total() int64 { return s.Slab + s.Queues }

// ReadSockets reads /proc/slabinfo, which only root may, and /proc/net/sockstat.
func ReadSockets() (s Sockets, err error) {
	slab, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return s, err
	}
	stat, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return s, err
	}
	var err1, err2 error
	s.Slab, err1 = parseSlab(slab)
	pages, err2 := parseSockstat(stat)
	s.Queues = pages * int64(os.Getpagesize())
	return s, errors.Join(err1, err2)
}

// parseSlab adds up the socket caches: "<name> <active objects> <objects> <size of one> …".
func parseSlab(b []byte) (sum int64, err error) {
	wanted := make(map[string]bool)
	for _, name := range socketCaches {
		wanted[name] = true
	}
	found := false
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) < 4 || !wanted[f[0]] {
			continue
		}
		active, err1 := strconv.ParseInt(f[1], 10, 64)
		size, err2 := strconv.ParseInt(f[3], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return 0, fmt.Errorf("slabinfo: %w", err)
		}
		sum, found = sum+active*size, true
	}
	if !found {
		return 0, errors.New("slabinfo has none of the caches of sockets")
	}
	return sum, nil
}

// parseSockstat returns the pages of TCP's queues: "TCP: inuse 2 orphan 0 tw 15 alloc 2 mem 17".
func parseSockstat(b []byte) (pages int64, err error) {
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) == 0 || f[0] != "TCP:" {
			continue
		}
		for i := 1; i+1 < len(f); i += 2 {
			if f[i] == "mem" {
				return strconv.ParseInt(f[i+1], 10, 64)
			}
		}
	}
	return 0, errors.New("sockstat has no memory of TCP")
}
