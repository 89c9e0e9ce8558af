"""One-time tickets: a credential for one WebSocket, for clients that can only put one into an address."""

import secrets

from ..errors import BadRequest
from ..publisher import session_hash

SALT = "gatecast.ticket"


def ticket(who, *, perms=(), attrs=None, grants=None, max_age=None):
    """A ticket for one login within a minute (authn.ticket.max_age), as text.

    who is a request, whose user and session it is then for: the login ends with the session, and a logout closes it. Or a user: that login lasts until
    disconnect(user=…). The ticket carries the user's id, Django groups and whether they are staff or superuser, and of perms ("app.codename") those that the
    user has. attrs are texts or lists of texts for {attr.NAME} in [[grants]]. grants are given beside those of the rules, as
    {"join": [], "subscribe": [], "publish": [], "deny": []}. max_age are seconds, less than authn.ticket.max_age.
    """
    from django.core import signing

    session = getattr(who, "session", None)
    user = getattr(who, "user", who)
    if getattr(user, "pk", None) is None:
        raise BadRequest("nobody is logged in: a ticket is for a user that is saved")
    if not getattr(user, "is_active", True):
        raise BadRequest("the user is not active")
    payload = {"user": user._meta.pk.value_to_string(user), "id": secrets.token_urlsafe(12)}
    if getattr(user, "is_superuser", False):
        payload["kind"] = "superuser"
    elif getattr(user, "is_staff", False):
        payload["kind"] = "staff"
    if hasattr(user, "groups"):
        payload["groups"] = sorted(user.groups.values_list("name", flat=True))
    held = [name for name in perms if user.has_perm(name)]
    for name, value in (("perms", held), ("attrs", attrs), ("grants", grants), ("age", max_age)):
        if value:
            payload[name] = value
    if session is not None and session.session_key:
        payload["session"] = session_hash(session.session_key)
        payload["expires"] = int(session.get_expiry_date().timestamp())
    return signing.dumps(payload, salt=SALT)
