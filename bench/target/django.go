//go:build linux

package target

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// djangoSite is a database as a Django 5 project has it, with users who are logged in. It is written here from Django's sources and
// not by what gatecast verifies with, so that the two cannot be wrong together.
type djangoSite struct {
	database   string   // path of a SQLite file
	sessionKey string   // derived from the site's SECRET_KEY, hex
	hashKey    string   // so too
	cookies    []string // of user i
}

// The salts of keys: django/contrib/sessions/backends/base.py and django/contrib/auth/base_user.py, Django 5.2.
const (
	sessionSalt = "django.contrib.sessions.SessionStore"
	hashSalt    = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
)

// djangoTables are what migrations of Django 5.2 make on SQLite, of the two tables that a login needs.
const djangoTables = `
CREATE TABLE "auth_user" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "password" varchar(128) NOT NULL, "last_login" datetime NULL,
	"is_superuser" bool NOT NULL, "username" varchar(150) NOT NULL UNIQUE, "last_name" varchar(150) NOT NULL, "email" varchar(254) NOT NULL,
	"is_staff" bool NOT NULL, "is_active" bool NOT NULL, "date_joined" datetime NOT NULL, "first_name" varchar(150) NOT NULL);
CREATE TABLE "django_session" ("session_key" varchar(40) NOT NULL PRIMARY KEY, "session_data" text NOT NULL, "expire_date" datetime NOT NULL);
CREATE INDEX "django_session_expire_date_a5c62663" ON "django_session" ("expire_date");
`

// makeDjangoSite writes a database at the path with so many users, each with a session.
func makeDjangoSite(ctx context.Context, path string, users int) (_ *djangoSite, err error) {
	secret := rand.Text() + rand.Text()
	session, hash := deriveKey(sessionSalt+"signer", secret), deriveKey(hashSalt, secret)
	site := &djangoSite{database: path, sessionKey: hex.EncodeToString(session), hashKey: hex.EncodeToString(hash)}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err = errors.Join(err, db.Close()); err != nil {
			err = fmt.Errorf("make a Django database: %w", err)
		}
	}()
	if _, err := db.ExecContext(ctx, djangoTables); err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // of nothing, once committed
	now := time.Now().UTC()
	const layout = "2006-01-02 15:04:05.000000"
	for i := range users {
		password := "pbkdf2_sha256$1000000$" + rand.Text()[:22] + "$" + base64.StdEncoding.EncodeToString([]byte(rand.Text()+rand.Text()[:6]))
		if _, err := tx.ExecContext(ctx,
			`INSERT INTO auth_user (id, password, is_superuser, username, last_name, email, is_staff, is_active, date_joined, first_name)
			VALUES (?, ?, 0, ?, '', '', 0, 1, ?, '')`, i+1, password, fmt.Sprintf("user%d", i+1), now.Format(layout)); err != nil {
			return nil, err
		}
		key := strings.ToLower(rand.Text() + rand.Text())[:32]
		data := fmt.Sprintf(`{"_auth_user_id":"%d","_auth_user_backend":"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"%s"}`,
			i+1, hex.EncodeToString(mac(hash, password)))
		if _, err := tx.ExecContext(ctx, `INSERT INTO django_session (session_key, session_data, expire_date) VALUES (?, ?, ?)`,
			key, signDjango(session, data, now), now.Add(14*24*time.Hour).Format(layout)); err != nil {
			return nil, err
		}
		site.cookies = append(site.cookies, "sessionid="+key)
	}
	return site, tx.Commit()
}

// deriveKey is the key of django.utils.crypto.salted_hmac with SHA-256.
func deriveKey(salt, secret string) []byte {
	sum := sha256.Sum256([]byte(salt + secret))
	return sum[:]
}

func mac(key []byte, value string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(value))
	return h.Sum(nil)
}

// signDjango is django.core.signing.dumps with compress=True: the data, when, and the signature, with colons between.
func signDjango(key []byte, data string, at time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	body := encode([]byte(data))
	var small bytes.Buffer
	z := zlib.NewWriter(&small)
	_, _ = z.Write([]byte(data)) // a buffer takes everything
	_ = z.Close()
	if small.Len() < len(data)-1 {
		body = "." + encode(small.Bytes())
	}
	value := body + ":" + base62(at.Unix())
	return value + ":" + encode(mac(key, value))
}

// base62 writes a number with the digits 0-9, A-Z, a-z, as django.core.signing does. math/big has the small letters first.
func base62(n int64) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, big.NewInt(n).Text(62))
}
