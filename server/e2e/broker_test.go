package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// argVar carries the argument of a role.
const argVar = "GATECAST_E2E_ARG"

// role is the test binary re-executed as one of roles.
func role(t testing.TB, name, arg string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(cleanEnv(), roleVar+"="+name, argVar+"="+arg)
	return cmd
}

// runBroker is a plain NATS server on the port of its argument, until its input ends.
func runBroker() error {
	port, err := strconv.Atoi(os.Getenv(argVar))
	if err != nil {
		return err
	}
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: port, Authorization: serviceToken, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("the NATS server does not come up")
	}
	fmt.Println(`{"ok":true}`)
	bufio.NewReader(os.Stdin).ReadByte()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// externalConf makes a node use the NATS server on port.
func externalConf(port int) conf {
	return conf{
		"broker.url":      fmt.Sprintf("nats://127.0.0.1:%d", port),
		"broker.token":    serviceToken,
		"broker.listen":   nil,
		"broker.services": nil,
	}
}

// TestExternalBroker: nodes on an existing NATS server do all that nodes with their own do; while it is away they
// are not ready, refuse sends, keep their sockets, and memberships come back by themselves.
func TestExternalBroker(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	broker := startOrders(t, role(t, "broker", strconv.Itoa(port)))
	a := startNode(t, "a", externalConf(port))
	b := startNode(t, "b", externalConf(port))
	a.waitPeers(2)
	b.waitPeers(2)

	one, two := dialUser(t, a, "one"), dialUser(t, b, "two")
	one.add("room.ext")
	two.add("room.ext")
	one.groupSend("room.ext", "hello")
	one.wantData("room.ext", "hello")
	two.wantData("room.ext", "hello")
	for i := range 60 {
		if err := joinRound(one, two, fmt.Sprintf("room.ext.%d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	// The personal group, and a service of that NATS.
	nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", port), nats.Token(serviceToken), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if answer := ingress(t, nc, "gc.in.user.two", []byte(`{"hi":2}`)); answer["ok"] != true {
		t.Fatalf("ingress answered %v", answer)
	}
	two.wantData("user.two", map[string]any{"hi": 2})
	for i := range 500 {
		if err := nc.Publish("gc.in.room.ext", []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 500 {
		one.wantData("room.ext", i)
		two.wantData("room.ext", i)
	}
	nc.Close()

	// Gone.
	broker.kill()
	for _, n := range []*node{a, b} {
		body := ""
		eventually(t, patience, func() string { return "node " + n.name + " is still ready: " + body }, func() bool {
			status, text, err := n.get("/readyz")
			body = text
			return err == nil && status == 503
		})
		if !strings.Contains(body, "broker") {
			t.Errorf("/readyz of node %s says %q, want the reason", n.name, body)
		}
		if status, _, err := n.get("/healthz"); err != nil || status != 200 {
			t.Errorf("/healthz of node %s: %d %v", n.name, status, err)
		}
	}
	one.refused("unavailable", msg{"op": "group_send", "group": "room.ext", "data": "lost"})
	r := one.ask(msg{"op": "group_add", "group": "room.ext.new"})
	if r.op() != "error" || (r.code() != "unavailable" && r.code() != "timeout") {
		t.Errorf("group_add without a broker answered %v, want unavailable", r)
	}
	status, answer := a.call(publishKey, "POST", "/api/v1/group_send", map[string]any{"group": "room.ext", "data": 1})
	if status != 503 || apiCode(answer) != "unavailable" {
		t.Errorf("group_send by the API: %d %v, want 503 unavailable", status, answer)
	}
	one.quiet()
	two.quiet()

	// Back: nothing is said to the sockets, and everything works again.
	startOrders(t, role(t, "broker", strconv.Itoa(port)))
	a.waitReady()
	b.waitReady()
	one.groupSend("room.ext", "again")
	one.wantData("room.ext", "again")
	two.wantData("room.ext", "again")
	for i := range 60 {
		if err := joinRound(two, one, fmt.Sprintf("room.back.%d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*socket{one, two} {
		for _, m := range s.queue {
			t.Errorf("user %s was told %v", s.user, m)
		}
	}
}

// apiCode is the code of an API error.
func apiCode(answer map[string]any) string {
	e, _ := answer["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

// kill ends a helper as a crash would.
func (o *orders) kill() {
	o.finished = true
	o.cmd.Process.Kill()
	o.cmd.Wait()
	o.closeIn()
}
