"""Gatecast in a Django project: put "gatecast.django" into INSTALLED_APPS and the address into settings.

    GATECAST = {"url": "nats://127.0.0.1:4222", "user": "django", "token": "…", "namespace": "gc"}

    from gatecast.django import group_send
    group_send("chat.7", {"text": "hello"}, on_commit=True)
"""

import logging
import threading

from ..errors import BadRequest, GatecastError
from ..names import group_name
from ..publisher import Encoded, encode, session_hash
from ..threaded import Publisher

__all__ = ["disconnect", "get_publisher", "group_send", "notify", "session_hash"]

log = logging.getLogger("gatecast")

_OPTIONS = frozenset(["url", "name", "token", "user", "password", "namespace", "tls", "timeout"])
_mutex = threading.Lock()
_publisher = None


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
    return dict(options)


def get_publisher():
    """The Publisher of this process; after a fork the child's is its own. It writes JSON as Django does (dates, Decimal, UUID, lazy text)."""
    global _publisher
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


def notify(user, data, **options):
    """group_send to the personal group of a user: a model instance or an id."""
    return group_send(group_name("user", _user_id(user)), data, **options)


def disconnect(*, user=None, **options):
    """Close the connections of a user (a model instance or an id), a session or a conn; see Publisher.disconnect."""
    return get_publisher().disconnect(user=None if user is None else _user_id(user), **options)


def _user_id(user):
    meta = getattr(user, "_meta", None)
    if meta is None:
        return user
    if user.pk is None:
        raise BadRequest("the user has no id yet: save it first")
    return meta.pk.value_to_string(user)  # as login() writes it into the session
