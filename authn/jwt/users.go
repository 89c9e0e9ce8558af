package jwt

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django"
)

// site gives the users that o names, nil if it names none. One that is no longer named stays open until Close, and is asked nothing: a reload may be given up, and
// a login may be under way.
func (v *Verifier) site(ctx context.Context, o *Options) (*django.Users, error) {
	if o.Users == "" {
		return nil, nil
	}
	v.mu.Lock()
	users := v.sites[o.Users]
	v.mu.Unlock()
	if users != nil {
		return users, nil
	}
	if o.Site.Database == "" {
		return nil, fmt.Errorf("%q has no database; a section that is new needs a restart", o.Users)
	}
	users, err := django.OpenUsers(ctx, o.Site, v.log)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sites[o.Users] = users
	return users, nil
}

// login is verify, and what the site says of the token's user.
func (v *Verifier) login(ctx context.Context, token string) (*authn.Identity, error) {
	r := v.ring.Load() // once: by options of another moment the user could be another one
	claims, id, err := v.verify(r, token)
	if err != nil || r.users == nil {
		return id, err
	}
	key := id.ID // as the claim has it: with users there is no user_prefix here
	found, err := r.users.Find(ctx, []string{key})
	if err != nil {
		return nil, err
	}
	if claim := r.opts.RevokeTokenClaim; claim != "" {
		if sum, _ := claims[claim].(string); len(sum) == 2*md5.Size {
			id.Ref += authn.Secret(sum) // a sweep compares it again
		}
		delete(id.Attrs, claim)
	}
	return r.judge(id, found[key])
}

// judge completes a login with what the site says of its user, nil if there is none, as SimpleJWT's JWTAuthentication.get_user does.
func (r *ring) judge(login *authn.Identity, user *django.User) (*authn.Identity, error) {
	id, err := r.users.Complete(login, user)
	if err == nil && r.opts.RevokeTokenClaim != "" && login.Ref[markSize:] != passwordSum(user.Password) {
		return nil, authn.Refuse(reasonPassword, errors.New("the password is another one since the token was made, or the token does not say"))
	}
	return id, err
}

// passwordSum is get_md5_hash_password of SimpleJWT. What is summed is the salted hash that the user table has.
func passwordSum(password authn.Secret) authn.Secret {
	sum := md5.Sum([]byte(password))
	return authn.Secret(strings.ToUpper(hex.EncodeToString(sum[:])))
}

// sweep looks again at the users of logins, whose keys answers tells of: one query for a batch. A key that cannot be told about does not keep an inactive user in.
func (r *ring) sweep(ctx context.Context, ids []*authn.Identity, answers []authn.Recheck) {
	var asked []int
	for i := range ids {
		if refused := (*authn.Refused)(nil); !errors.As(answers[i].Err, &refused) {
			asked = append(asked, i)
		}
	}
	for batch := range slices.Chunk(asked, r.users.Batch()) {
		keys := make([]string, len(batch))
		for j, i := range batch {
			if key, ok := strings.CutPrefix(ids[i].ID, r.opts.Site.UserPrefix); ok { // else it came in when another user_prefix held: nobody of the site
				keys[j] = key
			}
		}
		found, err := r.users.Find(ctx, keys)
		for j, i := range batch {
			if err != nil {
				answers[i].Err = err
			} else if a := r.recheck(ids[i], found[keys[j]]); a != (authn.Recheck{}) {
				answers[i] = a
			}
		}
	}
}

func (r *ring) recheck(old *authn.Identity, user *django.User) authn.Recheck {
	now, err := r.judge(old, user)
	switch {
	case err != nil:
		return authn.Recheck{Err: err}
	case now.ID != old.ID: // it came in before users was set, by another spelling
		return authn.Recheck{Err: authn.Refuse(reasonOther, nil)}
	}
	return django.Compare(old, now)
}
