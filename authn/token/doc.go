// Package token verifies the tokens that Django REST framework's authtoken and django-rest-knox keep in a site's database.
//
//	token ─► kind, by its shape (else not mine) ─► the table's row ─► constant-time compare, expiry ─► the user, is_active ─► Identity
//
// What a kind looks like and how it is stored is in kind.go; database and users are those of package django. A token that is deleted ends its Conns at
// the next sweep, or at once when the site says revalidate, which the Python client does by itself.
package token
