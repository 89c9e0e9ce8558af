//go:build linux

package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/bench/codec"
)

// needChannels skips the test if what Channels needs is not here.
func needChannels(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Redis and Python servers, which takes seconds")
	}
	if _, err := findDebian("redis-server", "redis-server"); err != nil {
		missing(t, "%v", err)
	}
	if _, err := rivalPython(Options{}); err != nil {
		missing(t, "%v", err)
	}
}

// needNchan skips the test if nginx or nchan is not here.
func needNchan(t *testing.T) {
	t.Helper()
	if _, err := findDebian("nginx", "nginx-light"); err != nil {
		missing(t, "%v", err)
	}
	if _, err := findNchan(); err != nil {
		missing(t, "%v", err)
	}
}

// The whole of what a rival can, on one start: Python takes seconds for it.
func TestChannelsServesOnDaphneAndUvicorn(t *testing.T) {
	needChannels(t)
	for _, tt := range []struct {
		name      string
		target    Target
		options   Options
		processes int // at least
	}{
		{"daphne", daphne, Options{Conns: 10, Loops: 2}, 2},
		{"two nodes of daphne on one Redis", daphne, Options{Conns: 10, Nodes: 2}, 3},
		{"uvicorn with two workers", uvicorn, Options{Conns: 10, Loops: 2}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, c := begun(t, tt.target, tt.options)
			if got := in.PIDs(); len(got) < tt.processes {
				t.Errorf("processes are %v, want at least %d with Redis", got, tt.processes)
			}
			v := in.Version()
			if !strings.HasPrefix(v, tt.target.Name()+" ") || !strings.Contains(v, "channels_redis 4.") || !strings.Contains(v, ", Redis ") {
				t.Errorf("version is %q", v)
			}
			delivers(t, in, c, []uint32{1}, []uint32{1, 2}, []uint32{2}, []uint32{3, 1, 2})
			moves(t, in, c)
			posts(t, in, c)
			speaks(t, in, c)
		})
	}
}

func TestNchanServes(t *testing.T) {
	needNchan(t)
	in, c := begun(t, nchanTarget{}, Options{Conns: 10, Loops: 2})
	if got := in.PIDs(); len(got) != 3 {
		t.Errorf("processes are %v, want a master and two workers", got)
	}
	if v := in.Version(); !strings.HasPrefix(v, "nginx/") || !strings.Contains(v, ", nchan") {
		t.Errorf("version is %q", v)
	}
	delivers(t, in, c, []uint32{codec.NchanGroup}, []uint32{codec.NchanGroup}, []uint32{codec.NchanGroup})
	posts(t, in, c)
	speaks(t, in, c)
}

// A socket is upgraded only once it is subscribed, by whatever worker: what is published then arrives.
func TestNchanDeliversWhatIsPublishedAtOnceAfterTheUpgrade(t *testing.T) {
	needNchan(t)
	in, c := begun(t, nchanTarget{}, Options{Conns: 10, Loops: 2})
	publisher := newPoster(t, c)
	for turn := range uint32(50) {
		groups := []uint32{3*turn + 10, 3*turn + 11, 3*turn + 12}
		members := []*dialled{
			dial(t, in.Addrs()[0], c, codec.Client{Groups: groups[:1]}),
			dial(t, in.Addrs()[0], c, codec.Client{Groups: groups}),
		}
		for seq := range uint32(3) {
			for _, g := range groups {
				publisher.post(g, seq)
			}
		}
		for _, m := range members {
			m.gets(3, m.client.Groups...)
			_ = m.conn.Close()
		}
	}
}

// speaks checks that members publish to their own group.
func speaks(t *testing.T, in Instance, c codec.Codec) {
	t.Helper()
	const messages = 20
	a := dial(t, in.Addrs()[0], c, codec.Client{Index: 0, Groups: []uint32{5}})
	b := dial(t, in.Addrs()[0], c, codec.Client{Index: 1, Groups: []uint32{5}})
	for seq := range uint32(messages) {
		a.send(c.Publish(nil, 5, stamp(5, seq)))
	}
	a.gets(messages, 5)
	b.gets(messages, 5)
}

// poster publishes by HTTP over one connection.
type poster struct {
	t     *testing.T
	codec codec.Poster
	conn  net.Conn
	r     *bufio.Reader
}

func newPoster(t *testing.T, c codec.Codec) *poster {
	t.Helper()
	p := &poster{t: t, codec: c.(codec.Poster)}
	var err error
	if p.conn, err = net.DialTimeout("tcp", p.codec.PostAddr().String(), patience); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.conn.Close() })
	p.r = bufio.NewReader(p.conn)
	return p
}

func (p *poster) post(group, seq uint32) {
	p.t.Helper()
	if _, err := p.conn.Write(p.codec.Post(nil, group, stamp(group, seq))); err != nil {
		p.t.Fatal(err)
	}
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode/100 != 2 {
		p.t.Fatalf("post: %s, %v", res.Status, err)
	}
}

func TestRivalsSayWhatTheyCannot(t *testing.T) {
	for _, tt := range []struct {
		target  Target
		options Options
		says    string // "" = it can
	}{
		{daphne, Options{Nodes: 2, Moves: true, HTTP: true, Personal: true, Speaks: true}, ""},
		{uvicorn, Options{Login: "session"}, "no login"},
		{uvicorn, Options{PerConn: 2000}, "1000 fit"},
		{nchanTarget{}, Options{HTTP: true, PerConn: 3}, ""},
		{nchanTarget{}, Options{Speaks: true, PerConn: 1}, ""},
		{nchanTarget{}, Options{Groups: 3, PerConn: 3}, "publish by HTTP"},
		{nchanTarget{}, Options{Speaks: true, PerConn: 2}, "all of its groups"},
		{nchanTarget{}, Options{Moves: true}, "stay in the groups"},
		{nchanTarget{}, Options{Nodes: 2}, "one nginx"},
		{nchanTarget{}, Options{Personal: true}, "no groups by themselves"},
		{nchanTarget{}, Options{Login: "jwt"}, "no login"},
		{nchanTarget{}, Options{HTTP: true, PerConn: 300}, "255"},
	} {
		if got := tt.target.Cannot(tt.options); (got == "") != (tt.says == "") || !strings.Contains(got, tt.says) {
			t.Errorf("%s.Cannot(%+v) = %q, want %q", tt.target.Name(), tt.options, got, tt.says)
		}
	}
}

func TestRivalsThatAreNotInstalledSayHowToInstallThem(t *testing.T) {
	given := func(dir string) Options { return Options{Binaries: map[string]string{"rivals": dir}} }
	none := filepath.Join(t.TempDir(), "none")
	if _, err := rivalPython(given(none)); err == nil || !strings.Contains(err.Error(), "make bench-rivals") {
		t.Errorf("no directory: %v", err)
	}
	if _, err := rivalPython(given(t.TempDir())); err == nil || !strings.Contains(err.Error(), "bench/rivals/install python") {
		t.Errorf("an empty directory: %v", err)
	}
	_, err := findDebian("no-such-program", "a-package")
	if err == nil || !strings.Contains(err.Error(), "apt-get install a-package") {
		t.Errorf("no program: %v", err)
	}
}

// A server that ends while it starts is told of with its own words, and what was started before it ends too.
func TestChannelsThatDoNotStartLeaveNothing(t *testing.T) {
	needChannels(t)
	t.Setenv("TMPDIR", t.TempDir())
	broken := *daphne
	broken.args = func(addr netip.AddrPort, workers int) []string { return []string{"no_such_module:application"} }
	in, err := broken.Start(t.Context(), Options{Conns: 1})
	if err == nil {
		t.Fatal(errors.Join(errors.New("it started"), in.Stop()))
	}
	if !strings.Contains(err.Error(), "no_such_module") {
		t.Errorf("Start = %v, want daphne's own words", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFamilyKnowsItsChildrenAndEndsThem(t *testing.T) {
	r := &rival{dir: t.TempDir()}
	f, err := startFamily(exec.Command("sh", "-c", "sleep 600 & sleep 600 & wait"))
	if err != nil {
		t.Fatal(err)
	}
	r.stages = [][]family{{f}}
	if err := r.awaits(t.Context(), f, func(context.Context) error {
		if n := len(f.PIDs()); n != 3 {
			return fmt.Errorf("%d processes", n)
		}
		return nil
	}); err != nil {
		t.Fatal(errors.Join(err, r.Stop()))
	}
	pids := f.PIDs()
	if !slices.Contains(pids, f.cmd.Process.Pid) {
		t.Errorf("PIDs = %v, without the first, %d", pids, f.cmd.Process.Pid)
	}
	// sh leaves its children to us.
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if running(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
}

// running reports whether there is such a process and it is no zombie, which somebody else will reap.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestRivalsAreFoundTogether(t *testing.T) {
	if found, err := Find([]string{"daphne", "uvicorn", "nchan"}); err != nil || len(found) != 3 {
		t.Errorf("Find = %v, %v", found, err)
	}
	if _, err := Find([]string{"daphne", "uvicorn", "daphne"}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("Find of one twice = %v", err)
	}
}
