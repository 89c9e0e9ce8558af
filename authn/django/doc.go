// Package django verifies Django logins without Django: it reads the session that a browser's cookie names, checks what Django itself would
// check, and says which user it is. It never writes to or deletes from Django's tables.
//
// The flow of one [Verifier.Verify]:
//
//	credential.go  is this a session key or a signed cookie, and whose name does it carry
//	database.go    engine db: the session's row, by key (query 1)
//	signing.go     the signature, with the key of today and the fallbacks; the timestamp; the zlib body
//	session.go     the three keys of the JSON that name the login
//	verify.go      backend allow-list, then the user with groups and permissions (query 2), is_active, password hash
//
// SECRET_KEY is not needed here. Every check uses a key that is derived from it ([DeriveKeys], or manage.py gatecast_keys), so a leaked
// config of ours cannot sign password resets or CSRF tokens of the site.
//
// The algorithms are those of django/core/signing.py, django/contrib/sessions/backends/{base,db,signed_cookies}.py,
// django/contrib/auth/__init__.py (get_user) and base_user.py (_get_session_auth_hash); they are byte-identical in Django 3.2 to 6.1
// for what is done here.
package django
