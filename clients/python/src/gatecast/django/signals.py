"""Logging out closes the session's sockets, everywhere; other changes of logins are told when they are committed."""

import logging
import time

from ..errors import GatecastError
from . import disconnect, session_hash
from .changes import UNAUTHORIZED

log = logging.getLogger("gatecast")

WAIT = 0.5  # seconds a logout waits for the cluster at most
HURRY = 30.0  # seconds that logouts do not wait at all, after one that waited in vain

_hurry_until = 0.0  # by time.monotonic; threads may overwrite each other


def connect():
    from django.contrib.auth.signals import user_logged_out

    from . import changes, sessions, tokens

    user_logged_out.connect(logged_out, dispatch_uid="gatecast.logged_out")
    changes.connect()
    sessions.connect()
    tokens.connect()


def logged_out(sender, request=None, user=None, **_):
    """Receiver of user_logged_out. Django sends it before it deletes the session, so the key is still known; Gatecast refuses the session from then on
    without looking at it. It is not put off to the end of the transaction, for one that is late is a hole. The price: after a logout that rolls back,
    Gatecast refuses the session for ten minutes (a signed cookie: for its age), though Django still takes it.

    It waits until every node refuses the session, so that nobody is let in with it once the page of the logout is there.

    A signed cookie is written anew, with another signature, whenever the session changes, and each one of a login is a session of its own to Gatecast.
    Nobody knows them all, so the user's connections are closed as well.
    """
    if user is None:  # nobody was logged in: an anonymous visitor may call the logout page as often as they like
        return
    try:
        from django.contrib.sessions.backends.signed_cookies import SessionStore

        session = getattr(request, "session", None)
        key = getattr(session, "session_key", None)
        if key:
            _end(session_hash(key))
        if isinstance(session, SessionStore):
            disconnect(user=user, code=UNAUTHORIZED, reason="logged out", wait=False)
    except Exception:
        log.exception("logout: the session's sockets may stay open until the next sweep")


def _end(session):
    """Revoke a session, and wait for that a little while; a cluster that does not answer must not hold up the site."""
    global _hurry_until
    wait = WAIT if time.monotonic() >= _hurry_until else False
    why = "no answer within %s s" % WAIT
    try:
        answer = disconnect(session=session, code=UNAUTHORIZED, reason="logged out", wait=wait)
    except GatecastError as e:
        answer, why = None, e
    if wait and answer is None:
        _hurry_until = time.monotonic() + HURRY
        log.error("logout: %s; the session's sockets may stay open until the next sweep, and for %d s logouts do not wait for Gatecast", why, HURRY)
