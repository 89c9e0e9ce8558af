"""The keys that a Gatecast node verifies logins with, derived so that SECRET_KEY itself never leaves the project."""

import hashlib

from django.utils.encoding import force_bytes

# django.core.signing.Signer and django.utils.crypto.salted_hmac: key = SHA-256(salt + secret); Signer adds "signer" to its salt.
COOKIE_SALT = "django.contrib.sessions.backends.signed_cookies"
HASH_SALT = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
TICKET_SALT = "gatecast.ticket"
SESSION_SALT = "django.contrib.sessions.SessionStore"


def derive(salt, secret):
    return hashlib.sha256(force_bytes(salt) + force_bytes(secret)).hexdigest()


def derive_legacy_keys(secret, store="SessionStore"):
    """The SHA-1 keys of Django before 3.1, and of 3.1 and 3.2 with DEFAULT_HASHING_ALGORITHM = "sha1"."""

    def sha1(salt):
        return hashlib.sha1(force_bytes(salt) + force_bytes(secret)).hexdigest()

    return {
        "legacy_session_key": sha1("django.contrib.sessions" + store),
        "legacy_cookie_key": sha1(COOKIE_SALT + "signer"),
        "legacy_hash_key": sha1(HASH_SALT),
    }


def derive_keys(secret, session_salt=SESSION_SALT):
    """The four keys of one SECRET_KEY, by their names in config.toml."""
    return {
        "session_key": derive(session_salt + "signer", secret),
        "cookie_key": derive(COOKIE_SALT + "signer", secret),
        "hash_key": derive(HASH_SALT, secret),
        "ticket_key": derive(TICKET_SALT + "signer", secret),
    }
