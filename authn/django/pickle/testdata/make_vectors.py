"""Writes vectors.json: pickles of CPython, in every protocol, with what is expected of them. Run with any Python 3.8 or later."""

import base64
import collections
import datetime
import decimal
import json
import pathlib
import pickle
import uuid

LOGIN = {"_auth_user_id": "42", "_auth_user_backend": "django.contrib.auth.backends.ModelBackend", "_auth_user_hash": "699d8fb602d0cd6a54da0e08ecec5d0849ffc2c1c0f0d21e1bd7d5bc0b133fc3"}
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)
loop = {"_auth_user_id": "42", "list": []}
loop["self"] = loop
loop["list"].append(loop["list"])

# name, value, and how a reader without Python sees it: str(value) of what has no name in JSON is "<module.name>"
VALUES = [
    ("a login", LOGIN, LOGIN),
    ("numbers", [0, 1, -1, 255, 256, 65535, 65536, -129, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1, -(2**63), 2**63, 10**30, 1.5, -0.25, 1e300], [0, 1, -1, 255, 256, 65535, 65536, -129, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1, -(2**63), "<builtins.int>", "<builtins.int>", 1.5, -0.25, 1e300]),
    ("words", [None, True, False, "", [], {}, ()], [None, True, False, "", [], {}, []]),
    ("text", ["Zoë 🐉", "a\nb\\u0041\r\x00\x1a'\"", "x" * 300], ["Zoë 🐉", "a\nb\\u0041\r\x00\x1a'\"", "x" * 300]),
    ("tuples", [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)], [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]),
    ("a shared value", [LOGIN, LOGIN, LOGIN], [LOGIN, LOGIN, LOGIN]),
    ("many entries", {"cart": list(range(2500)), **LOGIN}, {"cart": list(range(2500)), **LOGIN}),
    ("objects", {"at": NOW, "price": decimal.Decimal("1.50"), "id": uuid.UUID(int=7), "day": NOW.date(), "ordered": collections.OrderedDict(a=1), **LOGIN}, {"at": "<datetime.datetime>", "price": "<decimal.Decimal>", "day": "<datetime.date>", "ordered": "<collections.OrderedDict>", **LOGIN}),
    ("keys that are no text", {1: "a", (1, 2): "b", None: "c", "k": "d"}, {"k": "d"}),
    ("itself", loop, {"_auth_user_id": "42"}),
]


def vectors():
    for name, value, want in VALUES:
        for protocol in range(6):
            made = pickle.dumps(value, protocol)
            if len(made) > 4000 and protocol not in (0, 5):
                continue
            yield {"name": name, "protocol": protocol, "pickle": base64.b64encode(made).decode(), "want": want}
    # bytes are objects before protocol 3, bytearray before 5, sets before 4
    for protocol in (3, 4, 5):
        yield {"name": "bytes", "protocol": protocol, "pickle": base64.b64encode(pickle.dumps([b"\x00\xff", b"y" * 300], protocol)).decode(), "want": ["b:00ff", "b:" + "79" * 300]}
    yield {"name": "a bytearray", "protocol": 5, "pickle": base64.b64encode(pickle.dumps(bytearray(b"\x01"), 5)).decode(), "want": "b:01"}
    for protocol in (4, 5):
        yield {"name": "sets", "protocol": protocol, "pickle": base64.b64encode(pickle.dumps([{1}, frozenset([2])], protocol)).decode(), "want": [[1], [2]]}
    # Python 2, whose str is STRING, BINSTRING or SHORT_BINSTRING
    text = b"(dp0\nS'_auth_user_id'\np1\nI42\nsS'it\\'s \\x01\\n'\np2\nL7L\ns."
    binary = b"\x80\x02}q\x00(U\x0d_auth_user_idK*U\x07it's \x01\n\x8a\x01\x07T\x01\x00\x00\x00tNu."
    for protocol, made in ((0, text), (2, binary)):
        value = pickle.loads(made)
        yield {"name": "Python 2", "protocol": protocol, "pickle": base64.b64encode(made).decode(), "want": value}


path = pathlib.Path(__file__).with_name("vectors.json")
path.write_text("[\n" + ",\n".join(json.dumps(v) for v in vectors()) + "\n]\n")
