//go:build linux

package result

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Environment is where a result was measured.
type Environment struct {
	Commit   string  `json:"commit"` // of the harness
	Go       string  `json:"go"`
	Kernel   string  `json:"kernel"`
	CPU      string  `json:"cpu"`
	CPUs     int     `json:"cpus"`
	Memory   uint64  `json:"memory_bytes"`
	Files    uint64  `json:"files_limit"`
	Load     string  `json:"load"`          // of the last 1, 5 and 15 minutes, when the run began
	Noise999 float64 `json:"noise_p999_us"` // what other programs take: p99.9 and the longest
	NoiseMax float64 `json:"noise_max_us"`  // gap in a loop that only reads the clock
}

// probeTime is how long the noise probe spins.
const probeTime = 200 * time.Millisecond

// ReadEnvironment looks at the machine; it spins for a moment to hear its noise.
func ReadEnvironment() Environment {
	e := Environment{Go: runtime.Version(), CPUs: runtime.NumCPU(), CPU: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				e.Commit = s.Value + e.Commit
			case s.Key == "vcs.modified" && s.Value == "true":
				e.Commit += "-dirty"
			}
		}
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		e.Kernel = string(bytes.TrimRight(uts.Release[:], "\x00"))
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				e.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		e.Memory = uint64(info.Totalram) * uint64(info.Unit)
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		e.Files = limit.Max
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		e.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	e.Noise999, e.NoiseMax = probeNoise()
	return e
}

// probeNoise spins and looks for gaps.
func probeNoise() (p999, longest float64) {
	var gaps []float64
	begin := time.Now()
	for last := begin; ; {
		now := time.Now()
		gaps = append(gaps, float64(now.Sub(last))/1e3)
		if last = now; now.Sub(begin) > probeTime {
			break
		}
	}
	slices.Sort(gaps)
	return gaps[len(gaps)*999/1000], gaps[len(gaps)-1]
}
