"""Writes vectors.json: what real Django and its cache libraries keep for a login, byte by byte.

Needs redis-server and memcached in PATH and, in the Python that runs it:
    pip install "Django~=5.2" django-redis pymemcache pylibmc python-memcached
A Python with Django 3.2 writes vectors-3.2.json instead: pickled sessions and those of DEFAULT_HASHING_ALGORITHM = "sha1".
"""

import base64
import contextlib
import datetime
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from unittest import mock

import django
from django.conf import settings

HERE = pathlib.Path(__file__).parent
SECRET = "django-insecure-vectors-0123456789abcdefghijklmnopqrstuvwxyz"
PASSWORD = "pbkdf2_sha256$260000$vectorsalt$Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyMDE="
KEY = "alicealicealicealicealicealice00"
scratch = tempfile.TemporaryDirectory()
settings.configure(
    SECRET_KEY=SECRET,
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SESSION_FILE_PATH=scratch.name,
)
django.setup()
from django.contrib.auth.models import User
from django.core import signing
from django.core.management import call_command


def login(**more):
    user = User(pk=42, password=PASSWORD)
    return {"_auth_user_id": "42", "_auth_user_backend": "django.contrib.auth.backends.ModelBackend", "_auth_user_hash": user.get_session_auth_hash(), **more}


BIG = {"cart": ["thing number %d" % i for i in range(60)]}
out = {"django": django.get_version(), "vectors": []}


def add(name, value, **more):
    raw = value if isinstance(value, bytes) else value.encode()
    out["vectors"].append({"name": name, "value": base64.b64encode(raw).decode(), **more})


@contextlib.contextmanager
def server(*command):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = subprocess.Popen([c.replace("PORT", str(port)) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def memcached():
    return server("memcached", "-u", "nobody", "-U", "0", "-l", "127.0.0.1", "-p", "PORT")


def memcached_get(port, key):
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"get %s\r\nquit\r\n" % key.encode())
        answer = b""
        while part := s.recv(65536):
            answer += part
    head, _, rest = answer.partition(b"\r\n")
    if head == b"END":
        return None
    _, _, flags, size = head.split()
    return int(flags), rest[: int(size)]


def caches(backend, location, **more):
    from django.core.cache import CacheHandler

    return CacheHandler({"default": {"BACKEND": backend, "LOCATION": location, **more}})["default"]


def redis_formats():
    import redis

    django_redis = "django_redis.cache.RedisCache"
    with server("redis-server", "--port", "PORT", "--bind", "127.0.0.1", "--save", "", "--dir", scratch.name) as port:
        url = "redis://127.0.0.1:%d/1" % port
        zlib, gzip = "django_redis.compressors.zlib.ZlibCompressor", "django_redis.compressors.gzip.GzipCompressor"
        js = "django_redis.serializers.json.JSONSerializer"
        for name, backend, options in [
            ("Django's RedisCache", "django.core.cache.backends.redis.RedisCache", {}),
            ("django-redis", django_redis, {}),
            ("django-redis, JSON", django_redis, {"SERIALIZER": js}),
            ("django-redis, zlib", django_redis, {"COMPRESSOR": zlib}),
            ("django-redis, JSON and zlib", django_redis, {"SERIALIZER": js, "COMPRESSOR": zlib}),
            ("django-redis, gzip", django_redis, {"COMPRESSOR": gzip}),
            ("django-redis, lzma", django_redis, {"COMPRESSOR": "django_redis.compressors.lzma.LzmaCompressor"}),
        ]:
            cache = caches(backend, url, OPTIONS=options)
            for size, data in (("small", login()), ("large", login(**BIG))):
                cache.set(KEY, data)
                add("%s, %s" % (name, size), redis.Redis(port=port, db=1).get(":1:" + KEY), cache="redis")


def memcached_formats():
    from pymemcache import serde

    with memcached() as port:
        for name, backend, options in [
            ("pymemcache", "PyMemcacheCache", {}),
            ("pymemcache, compressed", "PyMemcacheCache", {"serde": serde.compressed_serde}),
            ("pylibmc", "PyLibMCCache", {}),
            ("python-memcached", None, {}),
        ]:
            for size, data in (("small", login()), ("large", login(**BIG))):
                if backend:
                    caches("django.core.cache.backends.memcached." + backend, "127.0.0.1:%d" % port, OPTIONS=options).set(KEY, data)
                else:
                    import memcache

                    memcache.Client(["127.0.0.1:%d" % port], pickleProtocol=5).set(":1:" + KEY, data, min_compress_len=500)
                flags, value = memcached_get(port, ":1:" + KEY)
                add("%s, %s" % (name, size), value, cache="memcached", flags=flags)
        import pylibmc

        pylibmc.Client(["127.0.0.1:%d" % port]).set(":1:" + KEY, login(**BIG), min_compress_len=500)
        flags, value = memcached_get(port, ":1:" + KEY)
        add("pylibmc, compressed", value, cache="memcached", flags=flags)


def memcached_hashes():
    import memcache

    keys = [":1:django.contrib.sessions.cache" + "%032d" % (i * 7919) for i in range(30)] + ["a", "ab", "abc", "abcd", "abcde"]
    with memcached() as a, memcached() as b, memcached() as c:
        servers = ["127.0.0.1:%d" % p for p in (a, b, c)]
        for client in ("pymemcache", "pylibmc", "python-memcached"):
            if client == "python-memcached":
                cache = memcache.Client(servers)
                made = cache.set
            else:
                cache = caches("django.core.cache.backends.memcached." + {"pymemcache": "PyMemcacheCache", "pylibmc": "PyLibMCCache"}[client], servers, KEY_FUNCTION=lambda key, *_: key)
                made = cache.set
            at = []
            for key in keys:
                made(client + key, 1)
                at.append([memcached_get(p, client + key) is not None for p in (a, b, c)].index(True))
            out.setdefault("hashes", []).append({"client": client, "servers": servers, "keys": [client + k for k in keys], "at": at})


def other_caches():
    from django.core.cache.backends.db import DatabaseCache
    from django.db import connection

    call_command("createcachetable", "cache_table")
    cache = DatabaseCache("cache_table", {})
    cache.set(KEY, login(), 1000)
    with connection.cursor() as cursor:
        cursor.execute("SELECT cache_key, value FROM cache_table")
        key, value = cursor.fetchone()
    add("DatabaseCache", value, cache="db", key=key)
    with tempfile.TemporaryDirectory() as folder:
        for name, timeout in (("FileBasedCache", 10**9), ("FileBasedCache without end", None)):
            caches("django.core.cache.backends.filebased.FileBasedCache", folder).set(KEY, login(**BIG), timeout)
            (file,) = pathlib.Path(folder).iterdir()
            add(name, file.read_bytes(), cache="file", key=":1:" + KEY, file=file.name)


def file_sessions():
    from django.contrib.sessions.backends.file import SessionStore

    for name, more in (("a file", {}), ("a file with an end in seconds", {"_session_expiry": 3600}), ("a file with an end", {"_session_expiry": "2100-01-02T03:04:05.000006+00:00"}), ("a file to the browser's end", {"_session_expiry": 0})):
        store = SessionStore(KEY)
        store._session_cache = login(**more)
        store.save(must_create=not any(pathlib.Path(scratch.name).glob("sessionid*")))
        (file,) = pathlib.Path(scratch.name).glob("sessionid*")
        add(name, file.read_bytes(), file=file.name)


def old_sessions():
    from django.contrib.sessions.backends.signed_cookies import SessionStore as Cookies
    from django.contrib.sessions.backends.db import SessionStore

    at = datetime.datetime(2100, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    settings.SESSION_SERIALIZER = "django.contrib.sessions.serializers.PickleSerializer"
    add("a pickled session", SessionStore().encode(login(**BIG)))
    add("a pickled session with an end", SessionStore().encode(login(_session_expiry=at)))
    add("a pickled signed cookie", signing.dumps(login(), compress=True, salt="django.contrib.sessions.backends.signed_cookies", serializer=SessionStore().serializer))
    settings.SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
    with mock.patch.object(settings, "DEFAULT_HASHING_ALGORITHM", "sha1", create=True):
        data = login()
        add("a session of before 3.1", SessionStore().encode(data))
        add("a signed cookie of before 3.1", signing.dumps(data, compress=True, salt="django.contrib.sessions.backends.signed_cookies", serializer=SessionStore().serializer))
    settings.SESSION_SERIALIZER = "django.contrib.sessions.serializers.PickleSerializer"
    with mock.patch.object(settings, "DEFAULT_HASHING_ALGORITHM", "sha1", create=True):
        add("a pickled session of before 3.1", SessionStore().encode(login()))


if django.VERSION < (4, 0):
    with mock.patch("time.time", lambda: 1700000000.0):
        old_sessions()
    name = "vectors-3.2.json"
else:
    with mock.patch.object(signing.time, "time", lambda: 1700000000.0):
        file_sessions()
    redis_formats()
    memcached_formats()
    memcached_hashes()
    other_caches()
    name = "vectors.json"
lines = ",\n".join(json.dumps(v) for v in out["vectors"])
hashes = ",\n".join(json.dumps(h) for h in out.get("hashes", []))
(HERE / name).write_text('{"django": %s,\n"vectors": [\n%s\n],\n"hashes": [\n%s\n]}\n' % (json.dumps(out["django"]), lines, hashes))
