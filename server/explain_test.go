package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/admin"
	"github.com/gatecast/gatecast/server/wire"
)

// roomsOf is a RowSource that knows the rooms of nobody but one user.
type roomsOf string

func (u roomsOf) Rows(_ context.Context, _ *authn.Query, user string) ([]string, error) {
	if user != string(u) {
		return nil, errors.New("down")
	}
	return []string{"1"}, nil
}

// A login whose rows are not known does not keep the others from being explained.
func TestOneLoginWithoutRowsIsExplainedAsThat(t *testing.T) {
	c := testConfig(t, "auto")
	n, _ := startAlone(t, c)
	n.chain.AskRows(roomsOf("43"))
	dial(t, n, "/ws", "42").want(`{"op":"welcome"}`)
	rules, err := authn.CompileRules([]authn.Rule{{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Join: []string{"room.{row.room}"}}})
	if err != nil {
		t.Fatal(err)
	}
	n.chain.SetRules(rules)
	dial(t, n, "/ws", "43").want(`{"op":"welcome"}`)
	for user, allowed := range map[string]bool{"42": false, "43": true} {
		answer, err := n.Explain(t.Context(), &admin.Explain{Group: "room.1", User: user})
		if err != nil {
			t.Fatal(err)
		}
		logins := answer.(map[string]any)["logins"].([]Explained)
		if len(logins) != 1 || logins[0].User != user || logins[0].Subscribe.Allowed != allowed || strings.Contains(logins[0].Error, "not known yet") == allowed || logins[0].Join.Reasons == nil {
			t.Errorf("of user %s: %+v", user, logins)
		}
	}
}

func TestWhichNodesDidNotAnswer(t *testing.T) {
	for err, want := range map[error]admin.Error{
		broker.ErrTimeout: {Code: wire.CodeTimeout, Message: "node b did not answer in time"},
		fmt.Errorf("ask: %w", context.DeadlineExceeded): {Code: wire.CodeTimeout, Message: "node b did not answer in time"},
		errors.New("unknown verb explain"):              {Code: wire.CodeUnavailable, Message: "node b cannot tell: unknown verb explain"},
	} {
		if got := notTold("b", err); *got != want {
			t.Errorf("%v is told as %+v, want %+v", err, *got, want)
		}
	}
}
