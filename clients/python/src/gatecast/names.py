"""Names of groups and the NATS subjects that carry them. The vectors in clients/conformance/names.json hold for every client.

A name has 1 to 200 bytes of UTF-8 without spaces, control characters, ``*`` and ``>``; dots separate its tokens.
"""

import unicodedata

from .errors import BadRequest

MAX_NAME = 200
MAX_USER_ID = 128

_PASS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_ESCAPED = [chr(c) if c in _PASS else "=%02X" % c for c in range(256)]
_QUOTED = [chr(c) if c in _PASS else "%%%02X" % c for c in range(256)]
_USER = "user."


def _utf8(value, what):
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadRequest("%s %r is not Unicode text" % (what, value), "bad_group") from None


def _control(value):
    return any(unicodedata.category(c) == "Cc" for c in value)


def check_name(name):
    """Raise BadRequest if name is not the name of a group."""
    if not isinstance(name, str):
        raise BadRequest("group name %r is not text" % (name,), "bad_group")
    if not name:
        raise BadRequest("group name is empty", "bad_group")
    data = _utf8(name, "group name")
    if _control(name) or any(c.isspace() for c in name):
        raise BadRequest("group name %r has a space or control character; use '-' or '_'" % name, "bad_group")
    if "*" in name or ">" in name:
        raise BadRequest("group name %r has a wildcard, which is for grants only" % name, "bad_group")
    if len(data) > MAX_NAME and not _is_user_group(name):
        raise BadRequest("group name is %d bytes long; at most %d" % (len(data), MAX_NAME), "bad_group")


def check_user_id(user_id):
    """Raise BadRequest if user_id cannot be a user's id: 1 to 128 bytes, no control characters."""
    size = len(_utf8(user_id, "user id"))
    if size == 0:
        raise BadRequest("user id is empty")
    if size > MAX_USER_ID:
        raise BadRequest("user id is %d bytes long; at most %d" % (size, MAX_USER_ID))
    if _control(user_id):
        raise BadRequest("user id %r has a control character" % user_id)


def _is_user_group(name):
    # The personal group of a long or unusual id is the only name that may be longer.
    from urllib.parse import unquote_to_bytes

    if not name.startswith(_USER):
        return False
    try:
        user_id = unquote_to_bytes(name[len(_USER) :]).decode("utf-8")
        check_user_id(user_id)
    except (UnicodeDecodeError, BadRequest):
        return False
    return _USER + quote(user_id) == name


def escape(name):
    """The subject tokens of a group's name: bytes of ``[A-Za-z0-9_-]`` pass, others become ``=XX``; dots separate tokens unless one would be empty."""
    check_name(name)
    tokens = name.split(".")
    if "" in tokens:
        return "".join([_ESCAPED[c] for c in name.encode("utf-8")])
    return ".".join(["".join([_ESCAPED[c] for c in token.encode("utf-8")]) for token in tokens])


def quote(value):
    """One token for a value that comes from an identity: bytes of ``[A-Za-z0-9_-]`` pass, others become ``%XX``."""
    return "".join([_QUOTED[c] for c in _utf8(str(value), "value")])


def group_name(kind, value):
    """The group of one thing: ``group_name("user", 42)`` is ``"user.42"``, the personal group of user 42."""
    value = str(value)
    if kind == "user":
        check_user_id(value)
    name = kind + "." + quote(value)
    check_name(name)
    return name
