package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// TestReload: SIGHUP and POST reload apply grants, keys and origins to open sockets; a bad file changes nothing
// and says why.
func TestReload(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", nil)
	s := dialUser(t, n, "kim")
	s.add("chat.1")
	s.refused("forbidden", msg{"op": "group_add", "group": "news.1"})

	line := n.logs.len()
	n.reload(conf{
		"grants":     []conf{{"to": "authenticated", "join": []string{"news.all"}, "subscribe": []string{"news.>"}, "publish": []string{"news.>"}}},
		"admin.keys": []conf{{"key": adminKey, "role": "admin"}},
	})
	n.logs.waitLine(t, line, "reload")
	if m := s.must("group_added"); m.str("group") != "news.all" {
		t.Errorf("got %v, want group_added of news.all", m)
	}
	if m := s.must("group_discarded"); m.str("group") != "chat.1" {
		t.Errorf("got %v, want group_discarded of chat.1", m)
	}
	s.add("news.1")
	s.refused("forbidden", msg{"op": "group_add", "group": "chat.1"})
	if status, _ := n.call(publishKey, "POST", "/api/v1/group_send", map[string]any{"group": "news.1", "data": 1}); status != 401 {
		t.Errorf("a key taken out of the file answers %d, want 401", status)
	}

	// A file that cannot work.
	path := filepath.Join(n.dir, "config.toml")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line = n.logs.len()
	if err := os.WriteFile(path, append([]byte("grunts = 1\n"), good...), 0o600); err != nil {
		t.Fatal(err)
	}
	n.signal(sighup)
	n.logs.waitLine(t, line, "reload", "grunts", "nothing was changed")
	s.groupSend("news.1", "still here")
	s.wantData("news.1", "still here")
	status, answer := n.call(adminKey, "POST", "/api/v1/reload", nil)
	if status < 400 || apiCode(answer) == "" {
		t.Errorf("POST reload of a bad file: %d %v, want an error", status, answer)
	}
	// And a good one through the API.
	n.conf = conf{"grants": []conf{{"to": "authenticated", "subscribe": []string{"chat.>"}}}}.over(n.conf)
	n.conf.write(t, n.dir)
	if status, answer := n.call(adminKey, "POST", "/api/v1/reload", nil); status != 200 || answer["ok"] != true {
		t.Fatalf("POST reload: %d %v", status, answer)
	}
	s.add("chat.2")
	s.refused("forbidden", msg{"op": "group_send", "group": "chat.2", "data": 1})

	// What only a restart can change is said, not silently ignored.
	line = n.logs.len()
	n.reload(conf{"server.listen": freeAddr(t)})
	n.logs.waitLine(t, line, "server.listen")
	s.ok(msg{"op": "ping"})
}
