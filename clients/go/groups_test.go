package gatecast

import (
	"context"
	"errors"
	"testing"
)

func TestGroupAddThatGaveUpLeavesNoMembership(t *testing.T) {
	s := newFakeServer(t)
	c, fc := s.dial(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	added := make(chan error, 1)
	go func() { added <- c.GroupAdd(ctx, "slow", nil) }()
	id := fc.want(t, `{"op":"group_add","id":$id,"group":"slow"}`)
	cancel()
	if err := await(t, added, "GroupAdd"); !errors.Is(err, context.Canceled) {
		t.Fatalf("GroupAdd = %v", err)
	}
	fc.want(t, `{"op":"group_discard","group":"slow"}`)
	fc.mustSend(t, `{"op":"ok","id":%d,"group":"slow"}`, id)
	_ = fc.closeWith(1012, "")
	fc2 := s.login() // would be met by a group_add
	go func() { _, _ = c.Ping(t.Context()) }()
	fc2.want(t, `{"op":"ping","id":$id}`)
}

func TestGroupAddWaitsForTheNextConnection(t *testing.T) {
	s := newFakeServer(t)
	c, fc := s.dial(Options{})
	added := make(chan error, 1)
	go func() { added <- c.GroupAdd(t.Context(), "a", nil) }()
	fc.want(t, `{"op":"group_add","id":$id,"group":"a"}`)
	fc.conn.Close() // before the reply
	fc2 := s.login()
	fc2.mustSend(t, `{"op":"ok","id":%d,"group":"a"}`, fc2.want(t, `{"op":"group_add","id":$id,"group":"a"}`))
	if err := await(t, added, "GroupAdd"); err != nil {
		t.Error(err)
	}
}

func TestGroupAddAgainReplacesTheHandler(t *testing.T) {
	c, fc := newFakeServer(t).dial(Options{})
	got := make(chan string, 2)
	for _, name := range []string{"first", "second"} {
		added := make(chan error, 1)
		go func() { added <- c.GroupAdd(t.Context(), "a", func(Message) { got <- name }) }()
		fc.mustSend(t, `{"op":"ok","id":%d,"group":"a"}`, fc.want(t, `{"op":"group_add","id":$id,"group":"a"}`))
		if err := await(t, added, "GroupAdd"); err != nil {
			t.Fatal(err)
		}
		fc.mustSend(t, `{"op":"message","group":"a","data":1}`)
		if g := await(t, got, "a message"); g != name {
			t.Errorf("the %s handler heard it, want the %s", g, name)
		}
	}
	// A refused one leaves the second in place.
	added := make(chan error, 1)
	go func() { added <- c.GroupAdd(t.Context(), "a", func(Message) { got <- "third" }) }()
	fc.mustSend(t, `{"op":"error","id":%d,"code":"rate_limited","message":"slower"}`, fc.want(t, `{"op":"group_add","id":$id,"group":"a"}`))
	if err := await(t, added, "GroupAdd"); CodeOf(err) != CodeRateLimited {
		t.Errorf("GroupAdd = %v", err)
	}
	fc.mustSend(t, `{"op":"message","group":"a","data":1}`)
	if g := await(t, got, "a message"); g != "second" {
		t.Errorf("the %s handler heard it, want the second", g)
	}
}
