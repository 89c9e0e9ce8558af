"""Logging out closes the session's sockets, everywhere."""

import logging

from . import get_publisher, session_hash

log = logging.getLogger("gatecast")

UNAUTHORIZED = 4401


def connect():
    from django.contrib.auth.signals import user_logged_out

    user_logged_out.connect(logged_out, dispatch_uid="gatecast.logged_out")


def logged_out(sender, request=None, user=None, **_):
    """Receiver of user_logged_out. Django sends it before it deletes the session, so the key is still known; Gatecast refuses the session from then on
    without looking at it. It is not put off to the end of the transaction: a logout that rolls back costs a reconnect, one that is late is a hole.
    """
    try:
        key = getattr(getattr(request, "session", None), "session_key", None)
        if key:
            get_publisher().disconnect(session=session_hash(key), code=UNAUTHORIZED, reason="logged out", wait=False)
    except Exception:
        log.exception("logout: the session's sockets may stay open until the next sweep")
