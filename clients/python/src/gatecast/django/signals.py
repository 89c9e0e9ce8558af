"""Logging out closes the session's sockets, everywhere."""

import logging

from . import disconnect, session_hash

log = logging.getLogger("gatecast")

UNAUTHORIZED = 4401


def connect():
    from django.contrib.auth.signals import user_logged_out

    from . import tokens

    user_logged_out.connect(logged_out, dispatch_uid="gatecast.logged_out")
    tokens.connect()


def logged_out(sender, request=None, user=None, **_):
    """Receiver of user_logged_out. Django sends it before it deletes the session, so the key is still known; Gatecast refuses the session from then on
    without looking at it. It is not put off to the end of the transaction, for one that is late is a hole. The price: after a logout that rolls back,
    Gatecast refuses the session for ten minutes (a signed cookie: for its age), though Django still takes it.

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
            disconnect(session=session_hash(key), code=UNAUTHORIZED, reason="logged out", wait=False)
        if isinstance(session, SessionStore):
            disconnect(user=user, code=UNAUTHORIZED, reason="logged out", wait=False)
    except Exception:
        log.exception("logout: the session's sockets may stay open until the next sweep")
