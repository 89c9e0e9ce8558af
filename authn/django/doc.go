// Package django verifies Django logins without Django: it reads the session that a browser's cookie names, checks what Django itself would
// check, and says which user it is. It never writes to or deletes from Django's tables.
//
// The flow of one [Verifier.Verify]:
//
//	credential.go  is this a session key or a signed cookie, and whose name does it carry
//	sessions.go    the session, by key, from where the engine keeps it: database.go (query 1), package cache, or a file
//	signing.go     the signature, with the key of today and the fallbacks; the timestamp; the zlib body. legacy.go: those of SHA-1
//	session.go     the three keys of the JSON that name the login; unpickle.go: the same of a pickle
//	gates.go       what require_session_keys and require_auth_methods ask of it
//	verify.go      backend allow-list, then the user with groups and permissions (query 2), is_active, password hash
//
// A database that hangs, or a table, is left alone for a moment: silence.go.
//
// SECRET_KEY is not needed here. Every check uses a key that is derived from it ([DeriveKeys], or manage.py gatecast_keys), so a leaked
// config of ours cannot sign password resets or CSRF tokens of the site.
//
// The algorithms are those of django/core/signing.py, django/contrib/sessions/backends/{base,db,cached_db,cache,file,signed_cookies}.py,
// django/contrib/auth/__init__.py (get_user) and base_user.py (_get_session_auth_hash); they are byte-identical in Django 3.2 to 6.1
// for what is done here.
package django
