package e2e

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs what a user types, with what is printed. Beside testscript's commands there are
//
//	ports NAME…      set each variable to a free port
//	ready PORT       wait until the admin listener there says ready
//	listen PORT      occupy a port until the script ends
//	members PORT KEY GROUP
//	                 wait until the node says that group has a member
func TestScripts(t *testing.T) {
	t.Parallel()
	bin := gatecast(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(bin)+string(filepath.ListSeparator)+os.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ports": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, name := range args {
					ts.Setenv(name, strconv.Itoa(freePort(t)))
				}
			},
			"ready": func(ts *testscript.TestScript, _ bool, args []string) {
				deadline := time.Now().Add(startLimit)
				for {
					res, err := adminClient.Get("http://127.0.0.1:" + args[0] + "/readyz")
					if err == nil {
						res.Body.Close()
						if res.StatusCode == http.StatusOK {
							return
						}
					}
					if time.Now().After(deadline) {
						ts.Fatalf("not ready: %v", err)
					}
				}
			},
			"members": func(ts *testscript.TestScript, _ bool, args []string) {
				n := &node{t: t, api: "127.0.0.1:" + args[0]}
				deadline := time.Now().Add(patience)
				for {
					_, raw, err := n.tryCall(args[1], "GET", "/api/v1/groups", nil)
					if err == nil && strings.Contains(string(raw), strconv.Quote(args[2])) {
						return
					}
					if time.Now().After(deadline) {
						ts.Fatalf("no member in %s: %s %v", args[2], raw, err)
					}
				}
			},
			"listen": func(ts *testscript.TestScript, _ bool, args []string) {
				ln, err := net.Listen("tcp", "127.0.0.1:"+args[0])
				ts.Check(err)
				ts.Defer(func() { ln.Close() })
			},
		},
	})
}
