package token

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django"
)

// ref is what finds a token's row again: no more of the token than its row has.
type ref struct {
	kind          int
	lookup, value string
}

func (r ref) secret() authn.Secret {
	return authn.Secret(string(rune('0'+r.kind)) + r.lookup + "\n" + r.value)
}

func parseRef(s authn.Secret) ref {
	lookup, value, _ := strings.Cut(string(s[1:]), "\n")
	return ref{kind: int(s[0] - '0'), lookup: lookup, value: value}
}

// Revalidate implements authn.Revalidator: two queries for a batch of logins of a kind.
func (v *Verifier) Revalidate(ctx context.Context, ids []*authn.Identity) []authn.Recheck {
	answers := make([]authn.Recheck, 0, len(ids))
	for batch := range slices.Chunk(ids, v.users.Batch()) {
		answers = append(answers, v.sweep(ctx, batch)...)
	}
	return answers
}

func (v *Verifier) sweep(ctx context.Context, ids []*authn.Identity) []authn.Recheck {
	answers := make([]authn.Recheck, len(ids))
	all := func(err error) []authn.Recheck {
		for i := range answers {
			answers[i] = authn.Recheck{Err: err}
		}
		return answers
	}
	refs := make([]ref, len(ids))
	lookups := make([]map[string]bool, len(v.kinds))
	for i, id := range ids {
		refs[i] = parseRef(id.Ref)
		if lookups[refs[i].kind] == nil {
			lookups[refs[i].kind] = map[string]bool{}
		}
		lookups[refs[i].kind][refs[i].lookup] = true
	}
	rows := make([]map[string][]django.TokenRow, len(v.kinds)) // by lookup
	for i, k := range v.kinds {
		if lookups[i] == nil {
			continue
		}
		found, err := v.users.Tokens(ctx, k.table(), slices.Collect(maps.Keys(lookups[i])))
		if err != nil {
			return all(err)
		}
		rows[i] = map[string][]django.TokenRow{}
		for _, row := range found {
			rows[i][row.Lookup] = append(rows[i][row.Lookup], row)
		}
	}
	good := make([]*django.TokenRow, len(ids))
	asked := map[string]bool{}
	for i, r := range refs {
		if good[i], answers[i].Err = v.judge(rows[r.kind][r.lookup], r); good[i] != nil {
			asked[good[i].User] = true
		}
	}
	if len(asked) == 0 {
		return answers
	}
	users, err := v.users.Find(ctx, slices.Collect(maps.Keys(asked)))
	for i, row := range good {
		switch {
		case row == nil:
		case err != nil:
			answers[i].Err = err
		default:
			answers[i] = v.recheck(ids[i], refs[i], row, users[row.User])
		}
	}
	return answers
}

func (v *Verifier) recheck(old *authn.Identity, r ref, row *django.TokenRow, user *django.User) authn.Recheck {
	id, err := v.identity(r, row, user)
	switch {
	case err != nil:
		return authn.Recheck{Err: err}
	case id.ID != old.ID:
		return authn.Recheck{Err: authn.Refuse(reasonOther, nil)}
	}
	return django.Compare(old, id)
}
