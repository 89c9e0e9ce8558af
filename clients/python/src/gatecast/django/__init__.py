"""Gatecast in a Django project: put "gatecast.django" into INSTALLED_APPS and the address into settings.

    GATECAST = {"url": "nats://127.0.0.1:4222", "user": "django", "token": "…", "namespace": "gc", "user_prefix": ""}

    from gatecast.django import group_send
    group_send("chat.7", {"text": "hello"}, on_commit=True)
"""

import logging
import os
import threading

from ..errors import BadRequest, GatecastError
from ..names import group_name
from ..publisher import AT_ONCE, Encoded, encode, ids_of, session_hash
from ..threaded import Publisher
from .tickets import ticket

__all__ = ["disconnect", "get_publisher", "group_send", "notify", "revalidate", "session_hash", "ticket"]

log = logging.getLogger("gatecast")

_OPTIONS = frozenset(["url", "name", "token", "user", "password", "namespace", "tls", "timeout", "user_prefix"])
_mutex = threading.Lock()  # guards the making of _publisher
_publisher = None


def _after_fork():
    global _mutex
    _mutex = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def publisher_options():
    """The arguments of Publisher from settings.GATECAST."""
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    options = getattr(settings, "GATECAST", None)
    if not isinstance(options, dict) or "url" not in options:
        raise ImproperlyConfigured('settings.GATECAST is missing: set it to a dict with "url", "user" and "token" of a [[broker.services]] entry of Gatecast\'s config.toml')
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise ImproperlyConfigured("settings.GATECAST has unknown keys %s; known are %s" % (", ".join(unknown), ", ".join(sorted(_OPTIONS))))
    user_prefix()
    return {k: v for k, v in options.items() if k != "user_prefix"}


def user_prefix():
    """What stands before the ids of this site's users, as authn.django.user_prefix of Gatecast's config.toml."""
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    options = getattr(settings, "GATECAST", None)
    prefix = options.get("user_prefix", "") if isinstance(options, dict) else ""
    if not isinstance(prefix, str):
        raise ImproperlyConfigured("settings.GATECAST: user_prefix is %r; want text, the same as authn.django.user_prefix" % (prefix,))
    return prefix


def get_publisher():
    """The Publisher of this process; after a fork the child's is its own. It writes JSON as Django does (dates, Decimal, UUID, lazy text)."""
    global _publisher
    publisher = _publisher
    if publisher is not None:
        return publisher
    with _mutex:
        if _publisher is None:
            from django.core.exceptions import ImproperlyConfigured
            from django.core.serializers.json import DjangoJSONEncoder

            options = publisher_options()
            try:
                _publisher = Publisher(options.pop("url"), default=DjangoJSONEncoder().default, **options)
            except ValueError as e:
                raise ImproperlyConfigured("settings.GATECAST: %s" % e) from e
        return _publisher


def reset_publisher():
    """Close the Publisher; the next call makes one of the settings as they are then."""
    global _publisher
    with _mutex:
        publisher, _publisher = _publisher, None
    if publisher is not None:
        publisher.close()


def group_send(group, data, *, on_commit=False, using=None, format="json", **options):
    """Put one message to every member of a group.

    With on_commit=True it is sent once the transaction of database `using` has committed, and not if it rolls back; data is read now. Then a failure is
    logged and not raised, for what the caller did is done. The other arguments are those of Publisher.group_send.
    """
    publisher = get_publisher()
    if not on_commit:
        return publisher.group_send(group, data, format=format, **options)

    from django.db import transaction

    from ..names import escape

    escape(group)
    body = Encoded(encode(data, format, publisher._default))

    def send():
        try:
            publisher.group_send(group, body, format=format, **options)
        except GatecastError as e:
            log.error("group_send to %s after commit: %s: %s", group, e.code, e)

    transaction.on_commit(send, using=using)
    return None


def revalidate(user, *, on_commit=False, using=None, **options):
    """Look at the logins of a user (a model instance or an id) again, or of as many as an iterable of them has, after a change of password, rights or is_active.

    Gatecast reads what is committed: within a transaction use on_commit=True, as in group_send. The ids are read now. Nothing is waited for then, unless
    wait says so, and a failure is logged.
    """
    publisher, users = get_publisher(), ids_of(user, _user_id)

    def send():
        if len(users) > AT_ONCE:
            calls = [("revalidate", {"user": users[i : i + AT_ONCE]}) for i in range(0, len(users), AT_ONCE)]
            return publisher.control_many(calls, **options)
        return publisher.revalidate(users, **options) if users else None

    if not on_commit:
        return send()

    from django.db import transaction

    options.setdefault("wait", False)

    def send_quietly():
        try:
            send()
        except GatecastError as e:
            log.error("revalidate of %s after commit: %s: %s", "user " + users[0] if len(users) == 1 else "%d users" % len(users), e.code, e)

    transaction.on_commit(send_quietly, using=using)
    return None


def notify(user, data, **options):
    """group_send to the personal group of a user: a model instance or an id."""
    return group_send(group_name("user", _user_id(user)), data, **options)


def disconnect(*, user=None, **options):
    """Close the connections of a user (a model instance or an id), a session or a conn; see Publisher.disconnect."""
    return get_publisher().disconnect(user=None if user is None else _user_id(user), **options)


def _user_id(user):
    """An id as Gatecast knows it: that of a model instance gets user_prefix, one that is given is taken as it is."""
    meta = getattr(user, "_meta", None)
    if meta is None:
        return user
    if user.pk is None:
        raise BadRequest("the user has no id yet: save it first")
    return user_prefix() + meta.pk.value_to_string(user)  # as login() writes it into the session
