//go:build linux

package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what some processes cost: CPU and switches since their start, memory and descriptors now.
type Usage struct {
	CPU time.Duration // on a processor, all threads, from schedstat
	// User and System are the shares of CPU in user space and in the kernel, as the kernel divides it by where it finds threads at
	// its ticks: right over seconds, a guess over few ticks of 10 ms. Nothing more exact is told of another process.
	User, System time.Duration
	RSS          int64 // bytes
	Anon         int64 // bytes of RSS that are no file's
	Threads      int
	Files        int   // open descriptors
	Switches     int64 // context switches, voluntary or not
}

// tick is the unit of /proc/PID/stat's times on every Linux that Go runs on (USER_HZ = 100).
const tick = 10 * time.Millisecond

// Read adds up the usage of the processes.
func Read(pids ...int) (Usage, error) {
	var sum Usage
	for _, pid := range pids {
		u, err := read(filepath.Join("/proc", strconv.Itoa(pid)))
		if err != nil {
			return Usage{}, fmt.Errorf("read usage of process %d: %w", pid, err)
		}
		sum = sum.Plus(u)
	}
	return sum, nil
}

// Plus is the usage of both.
func (u Usage) Plus(o Usage) Usage {
	return Usage{
		CPU: u.CPU + o.CPU, User: u.User + o.User, System: u.System + o.System, RSS: u.RSS + o.RSS, Anon: u.Anon + o.Anon,
		Threads: u.Threads + o.Threads, Files: u.Files + o.Files, Switches: u.Switches + o.Switches,
	}
}

// Since is what was used between before and u; memory, threads and files are the change.
func (u Usage) Since(before Usage) Usage {
	d := Usage{
		CPU: u.CPU - before.CPU, User: u.User - before.User, System: u.System - before.System,
		RSS: u.RSS - before.RSS, Anon: u.Anon - before.Anon,
		Threads: u.Threads - before.Threads, Files: u.Files - before.Files, Switches: u.Switches - before.Switches,
	}
	// Threads that ended took their schedstat with them; the ticks of the process keep them.
	ticks := d.User + d.System
	if d.CPU < ticks-10*tick {
		d.CPU = ticks
	}
	if ticks > 0 { // ticks give the proportion, schedstat the amount
		d.User = time.Duration(float64(d.CPU) * float64(d.User) / float64(ticks))
		d.System = d.CPU - d.User
	}
	return d
}

func read(dir string) (u Usage, err error) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, err
	}
	if u.User, u.System, err = parseStat(stat); err != nil {
		return u, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return u, err
	}
	u.RSS, u.Anon = field(status, "VmRSS:")<<10, field(status, "RssAnon:")<<10
	files, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return u, err
	}
	u.Files = len(files)
	tasks, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		return u, err
	}
	for _, t := range tasks {
		task := filepath.Join(dir, "task", t.Name())
		sched, err := os.ReadFile(filepath.Join(task, "schedstat"))
		if errors.Is(err, os.ErrNotExist) {
			continue // a thread that ended since
		}
		if err != nil {
			return u, err
		}
		cpu, err := parseSchedstat(sched)
		if err != nil {
			return u, err
		}
		status, err := os.ReadFile(filepath.Join(task, "status"))
		if err != nil {
			continue
		}
		u.CPU += cpu
		u.Switches += field(status, "voluntary_ctxt_switches:") + field(status, "nonvoluntary_ctxt_switches:")
		u.Threads++
	}
	return u, nil
}

// parseSchedstat returns the time on a processor: "<on cpu ns> <waiting ns> <timeslices>".
func parseSchedstat(b []byte) (time.Duration, error) {
	f := bytes.Fields(b)
	if len(f) != 3 {
		return 0, fmt.Errorf("schedstat %q has not three fields", b)
	}
	ns, err := strconv.ParseInt(string(f[0]), 10, 64)
	if err != nil || ns < 0 {
		return 0, fmt.Errorf("schedstat %q begins with no time", b)
	}
	return time.Duration(ns), nil
}

// parseStat returns utime and stime, fields 14 and 15. The second field is a name in brackets that may hold anything.
func parseStat(b []byte) (user, system time.Duration, err error) {
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 13 {
		return 0, 0, fmt.Errorf("stat %q is too short", b)
	}
	u, err1 := strconv.ParseInt(f[11], 10, 64)
	s, err2 := strconv.ParseInt(f[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, err
	}
	return time.Duration(u) * tick, time.Duration(s) * tick, nil
}

// field returns the number of the line of a status file that begins with name; 0 if there is none.
func field(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			if f := bytes.Fields(rest); len(f) > 0 {
				n, _ := strconv.ParseInt(string(f[0]), 10, 64)
				return n
			}
		}
	}
	return 0
}
