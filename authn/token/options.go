package token

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// Options are the section [authn.token]. The database and the users are those of [authn.django], and so is user_prefix.
type Options struct {
	// Kinds lists the kinds of tokens the site gives out: "drf" (rest_framework.authtoken) and "knox" (django-rest-knox). Empty: no tokens.
	Kinds []string `toml:"kinds"`
	// DRFTable is the table of the model Token of rest_framework.authtoken. May have a schema: "site.authtoken_token".
	DRFTable string `toml:"drf_table"`
	// KnoxTable is the table of knox's AuthToken, or of the site's KNOX_TOKEN_MODEL.
	KnoxTable string `toml:"knox_table"`
	// KnoxVersion is the major version of django-rest-knox: 5 or 4 (4.2 and later; those before salt their digests). They store tokens differently.
	KnoxVersion int `toml:"knox_version"`
	// KnoxPrefix is the site's REST_KNOX TOKEN_PREFIX.
	KnoxPrefix string `toml:"knox_prefix"`
	// KnoxLength is the site's REST_KNOX AUTH_TOKEN_CHARACTER_LENGTH: the hex characters behind the prefix.
	KnoxLength int `toml:"knox_length"`
	// KnoxHash is the site's REST_KNOX SECURE_HASH_ALGORITHM: "sha512" or "sha3_512".
	KnoxHash string `toml:"knox_hash"`
}

// DefaultOptions returns the defaults of config.toml, which are those of the two packages.
func DefaultOptions() Options {
	return Options{DRFTable: "authtoken_token", KnoxTable: "knox_authtoken", KnoxVersion: 5, KnoxLength: 64, KnoxHash: "sha512"}
}

// Values of Options.Kinds.
const (
	KindDRF  = "drf"
	KindKnox = "knox"
)

var (
	tableName  = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_$-]{0,62}(\.[\p{L}_][\p{L}\p{N}_$-]{0,62})?$`)
	knoxPrefix = regexp.MustCompile(`^[A-Za-z0-9._~+/-]{0,10}$`) // CONSTANTS.MAXIMUM_TOKEN_PREFIX_LENGTH of knox; RFC 6750's characters of a token
)

// Validate reports every value that cannot work.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.token."+format, args...)) }
	for i, kind := range o.Kinds {
		switch {
		case kind != KindDRF && kind != KindKnox:
			bad(`kinds has %q, which is none; there are "drf" and "knox"`, kind)
		case slices.Contains(o.Kinds[:i], kind):
			bad("kinds has %q twice", kind)
		}
	}
	table := func(key, value string) {
		if !tableName.MatchString(value) {
			bad("%s is %q: want a table's name, such as %q", key, value, "authtoken_token")
		}
	}
	table("drf_table", o.DRFTable)
	table("knox_table", o.KnoxTable)
	if o.KnoxVersion != 4 && o.KnoxVersion != 5 {
		bad("knox_version is %d: want 4 or 5", o.KnoxVersion)
	}
	if !knoxPrefix.MatchString(o.KnoxPrefix) {
		bad("knox_prefix: want the site's TOKEN_PREFIX, at most 10 characters")
	}
	if o.KnoxVersion == 4 && o.KnoxPrefix != "" {
		bad("knox_prefix: knox 4 has none; set knox_version = 5 or take it out")
	}
	if o.KnoxLength < 32 || o.KnoxLength > 256 || o.KnoxLength%2 != 0 {
		bad("knox_length is %d: want an even number from 32 to 256", o.KnoxLength)
	}
	if _, ok := hashes[o.KnoxHash]; !ok {
		bad(`knox_hash is %q: want "sha512" or "sha3_512"`, o.KnoxHash)
	}
	return errors.Join(errs...)
}
