import datetime
import decimal
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import types

import pytest
from conftest import OLD_SECRET, ROOT, SECRET
from django.contrib.auth import get_user_model, logout
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends import signed_cookies
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import transaction
from django.http import HttpRequest
from django.test.utils import override_settings

import gatecast.django as gc
from gatecast import BadRequest, session_hash
from gatecast.django.keys import derive_keys
from gatecast.django.project import Project


# Settings


@pytest.mark.parametrize("wrong,text", [(None, "is missing"), ({}, "is missing"), ("nats://x", "is missing"), ({"url": "nats://x", "tokn": 1}, "tokn"), ({"url": "nats://x", "namespace": "A B"}, "namespace"), ({"url": "nats://x", "user_prefix": 7}, "user_prefix")])
def test_wrong_settings(wrong, text):
    with override_settings(GATECAST=wrong), pytest.raises(ImproperlyConfigured, match=text):
        gc.get_publisher()


def test_one_publisher_a_process(site):
    assert gc.get_publisher() is gc.get_publisher()
    before = gc.get_publisher()
    with override_settings(GATECAST={"url": site.url}):
        assert gc.get_publisher() is not before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_while_another_thread_makes_the_publisher(site):
    gc.reset_publisher()
    with gc._mutex:  # as that thread holds it
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                done = threading.Thread(target=gc.get_publisher, daemon=True)
                done.start()
                done.join(10)
                status = int(done.is_alive())
            finally:
                os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_publisher_is_had_without_the_lock(site):
    publisher = gc.get_publisher()
    got = []
    with gc._mutex:
        reader = threading.Thread(target=lambda: got.append(gc.get_publisher()), daemon=True)
        reader.start()
        reader.join(10)
    assert got == [publisher]


# Sending


@pytest.mark.parametrize("send", [lambda d: gc.group_send("g", d), lambda d: gc.get_publisher().group_send_many([("g", d)])])
def test_lazy_text_is_in_the_language_of_the_caller(site, send):
    from django.utils.translation import gettext_lazy, override

    with override("de"):
        send({"what": gettext_lazy("Monday")})
    assert json.loads(site.published[0][2]) == {"what": "Montag"}


def test_json_as_django_writes_it(site):
    gc.group_send("g", {"at": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), "price": decimal.Decimal("1.50")})
    assert json.loads(site.published[0][2]) == {"at": "2026-01-02T03:04:05Z", "price": "1.50"}


def test_on_commit(site, tables):
    data = {"n": 1}
    with transaction.atomic():
        gc.group_send("g", data, on_commit=True)
        data["n"] = 2
        assert site.published == []
    assert [m[2] for m in site.published] == [b'{"n":1}']
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        gc.group_send("g", 1, on_commit=True)
        raise ZeroDivisionError
    assert len(site.published) == 1


def test_a_failure_after_commit_is_logged(site, tables, caplog):
    site.answer = lambda subject, body: {"ok": False, "code": "forbidden"}
    with transaction.atomic():
        gc.group_send("g", 1, on_commit=True)
    assert "after commit: forbidden" in caplog.text
    with pytest.raises(BadRequest), transaction.atomic():
        gc.group_send("a b", 1, on_commit=True)


def test_users_by_instance_or_id(site):
    User = get_user_model()
    gc.notify(User(pk=42), 1)
    gc.notify(43, 1)
    gc.disconnect(user=User(pk=44))
    assert [m[0] for m in site.published] == ["gc.in.user.42", "gc.in.user.43", "gc.ctl.disconnect"]
    assert json.loads(site.published[2][2]) == {"user": "44"}
    with pytest.raises(BadRequest):
        gc.notify(User(), 1)


def test_user_prefix_goes_before_the_ids_of_instances(cluster):
    User = get_user_model()
    with override_settings(GATECAST={"url": cluster.url, "user_prefix": "shop-"}):
        gc.notify(User(pk=42), 1)
        gc.notify("shop-43", 1)
        gc.disconnect(user=User(pk=44))
        gc.revalidate(User(pk=45))
    gc.reset_publisher()
    assert [(m[0], m[2]) for m in cluster.published] == [
        ("gc.in.user.shop-42", b"1"),
        ("gc.in.user.shop-43", b"1"),
        ("gc.ctl.disconnect", b'{"user": "shop-44"}'),
        ("gc.ctl.revalidate", b'{"user": "shop-45"}'),
    ]


def test_revalidate(site, tables, caplog):
    User = get_user_model()
    gc.revalidate(User(pk=42))
    gc.revalidate(43)
    with transaction.atomic():
        gc.revalidate(44, on_commit=True)
        assert len(site.published) == 2
    assert [(m[0], json.loads(m[2])) for m in site.wait(3)] == [("gc.ctl.revalidate", {"user": id}) for id in ("42", "43", "44")]
    site.answer = lambda subject, body: {"ok": False, "code": "forbidden"}
    with transaction.atomic():
        gc.revalidate(45, on_commit=True, wait=True)
    assert "revalidate of user 45 after commit: forbidden" in caplog.text
    for wrong in (User(), "", b"42", None, 1.5, True, {"user": 42}, [[42, 43]], [42, None]):
        with pytest.raises(BadRequest):
            gc.revalidate(wrong)


def test_revalidate_many(site, tables):
    User = get_user_model()
    User.objects.all().delete()
    User.objects.bulk_create(User(pk=n, username="many%d" % n) for n in range(1, 1002))
    for many in ([1, "2"], {User(pk=1), 2}, (n for n in "12"), User.objects.filter(pk__lt=3), User.objects.filter(pk__lt=3).values_list("pk", flat=True)):
        site.published.clear()
        gc.revalidate(many)
        assert sorted(json.loads(site.published[0][2])["users"]) == ["1", "2"] and len(site.published) == 1
    site.published.clear()
    gc.revalidate([])
    assert site.published == []
    with transaction.atomic():
        gc.revalidate(User.objects.all(), on_commit=True)
        assert site.published == []
    users = [json.loads(m[2]) for m in site.wait(3)]
    assert sorted(int(u) for body in users for u in body.get("users", [body.get("user")])) == list(range(1, 1002))


def test_revalidate_after_the_commit_waits_for_nothing(site, tables, caplog):
    asked, go = threading.Event(), threading.Event()

    def answer(subject, body):
        asked.set()
        go.wait(30)
        return {"ok": True}

    site.answer = answer
    gc.revalidate(42, on_commit=True)
    assert "after commit" not in caplog.text  # as a call that waited in vain says
    assert asked.wait(10)
    go.set()


# Logout


def logged_in(store=SessionStore, user=None):
    request = HttpRequest()
    request.user = user or get_user_model()(pk=42)
    request.session = store()
    request.session["x"] = 1
    request.session.save()
    return request


def test_logout_disconnects_the_session_by_its_hash(site, tables):
    request = logged_in()
    key = request.session.session_key
    logout(request)
    subject, _, body, _ = site.wait(1)[0]
    assert subject == "gc.ctl.disconnect"
    assert json.loads(body) == {"session": session_hash(key), "code": 4401, "reason": "logged out"}
    assert key.encode() not in body


def test_logout_with_signed_cookies_closes_the_user_too(site):
    request = logged_in(signed_cookies.SessionStore)
    key = request.session.session_key
    logout(request)
    assert [(s, json.loads(b)) for s, _, b, _ in site.wait(2)] == [
        ("gc.ctl.disconnect", {"session": session_hash(key), "code": 4401, "reason": "logged out"}),
        ("gc.ctl.disconnect", {"user": "42", "code": 4401, "reason": "logged out"}),
    ]


@pytest.mark.parametrize("store", [SessionStore, signed_cookies.SessionStore])
def test_logout_of_nobody_tells_nobody(site, tables, store):
    logout(logged_in(store, AnonymousUser()))
    gc.group_send("after", 1)  # on the same connection
    assert [m[0] for m in site.published] == ["gc.in.after"]


def test_logout_inside_a_transaction_does_not_wait_for_it(site, tables):
    with transaction.atomic():
        logout(logged_in())
        site.wait(1)


@pytest.mark.parametrize("settings", [None, {"url": "nats://127.0.0.1:1", "timeout": 0.2}])
def test_logout_works_without_gatecast(settings, tables, caplog):
    with override_settings(GATECAST=settings):
        request = logged_in()
        logout(request)
        gc.reset_publisher()
    assert request.session.session_key is None
    assert caplog.records


def test_logout_without_a_session(site):
    from gatecast.django.signals import logged_out

    user = get_user_model()(pk=42)
    logged_out(sender=None)
    logged_out(sender=None, user=user)
    logged_out(sender=None, user=user, request=HttpRequest())
    assert site.published == []


# Keys


def test_derived_keys_are_djangos():
    assert derive_keys(SECRET) == {
        "session_key": "7df65d1425960b3b643ee46e4229f44e307c6f7be3e2ec6e81b1bd4cc6d583ca",
        "cookie_key": "7be48875cae96c2f018f05542dcda3cd748810dd6141bddd46bcdfb7849016a6",
        "hash_key": "db1b8d438a2b0af5d596dada2cd811c06b8957699a8de9f4c96d0ec7d0f45c60",
        "ticket_key": "49ad8e2b180cce9adb5553e37d753ddceced1c0f076ec199f721c3135291fc64",
    }
    assert derive_keys(SECRET.encode()) == derive_keys(SECRET)


def test_keys_are_what_this_django_signs_with():
    import base64
    import hashlib
    import hmac

    from django.contrib.auth.models import User
    from django.core import signing

    def mac(key, value):
        return hmac.new(bytes.fromhex(key), value.encode(), hashlib.sha256)

    def good(key, token):
        value, _, signature = token.rpartition(":")
        return base64.urlsafe_b64encode(mac(key, value).digest()).rstrip(b"=").decode() == signature

    keys = derive_keys(SECRET)
    assert good(keys["session_key"], SessionStore().encode({"a": 1}))
    assert good(keys["cookie_key"], signing.dumps({}, salt="django.contrib.sessions.backends.signed_cookies"))
    assert good(keys["ticket_key"], signing.dumps({}, salt="gatecast.ticket"))
    assert mac(keys["hash_key"], "pw").hexdigest() == User(password="pw").get_session_auth_hash()


def run(*args):
    out, err = io.StringIO(), io.StringIO()
    call_command("gatecast_keys", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def known_keys(struct):
    """The toml keys of a Go struct of authn/django."""
    source = "".join((ROOT / "authn/django" / f).read_text() for f in ("options.go", "keys.go"))
    body = re.search(r"type %s struct \{(.*?)\n\}" % struct, source, re.S)[1]
    return set(re.findall(r'toml:"(\w+)"', body))


def parse(toml):
    """Sections as lists of dicts: every value that is printed is JSON too."""
    sections = {}
    for line in toml.splitlines():
        if line.startswith("["):
            sections.setdefault(line.strip("[]"), []).append({})
            current = sections[line.strip("[]")][-1]
        elif line and not line.startswith("#"):
            key, _, value = line.partition(" = ")
            assert key not in current
            current[key] = json.loads(value)
    return sections


@override_settings(SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=[OLD_SECRET])
def test_fallbacks_are_none_before_django_4_1(monkeypatch):
    monkeypatch.setattr("django.VERSION", (4, 0, 10, "final", 0))
    assert set(parse(run()[0])) == {"authn.django"}
    monkeypatch.setattr("django.VERSION", (4, 1, 0, "final", 0))
    assert set(parse(run()[0])) == {"authn.django", "authn.django.fallbacks"}


@override_settings(SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=[OLD_SECRET])
def test_command_prints_a_section_that_gatecast_knows():
    out, err = run()
    sections = parse(out)
    assert set(sections) == {"authn.django", "authn.django.fallbacks"}
    (section,) = sections["authn.django"]
    assert set(section) <= known_keys("Options")
    assert [set(f) for f in sections["authn.django.fallbacks"]] == [known_keys("Keys")]
    assert {k: section[k] for k in known_keys("Keys")} == derive_keys(SECRET)
    assert sections["authn.django.fallbacks"] == [derive_keys(OLD_SECRET)]
    assert SECRET not in out + err and OLD_SECRET not in out + err
    assert section == {
        **derive_keys(SECRET),
        "engine": "db",
        "session_table": "django_session",
        "database": section["database"],
        "cookie_name": "sessionid",
        "cookie_age": "1209600s",
        "user_table": "auth_user",
        "user_id_column": "id",
        "verify_hash": True,
        "backends": ["django.contrib.auth.backends.ModelBackend"],
        "use_tz": True,
    }
    if sys.version_info >= (3, 11):
        import tomllib

        assert tomllib.loads(out)["authn"]["django"]["engine"] == "db"


@pytest.mark.parametrize(
    "engine,name,remark",
    [
        ("django.contrib.sessions.backends.db", "db", ""),
        ("django.contrib.sessions.backends.cached_db", "db", "in the database too"),
        ("django.contrib.sessions.backends.signed_cookies", "signed_cookies", "cannot be revoked"),
        ("django.contrib.sessions.backends.cache", "cache", "no other process can read"),
        ("django.contrib.sessions.backends.file", "file", "session_file_path = "),
    ],
)
def test_engines(engine, name, remark):
    with override_settings(SESSION_ENGINE=engine):
        out, _ = run()
    assert parse(out)["authn.django"][0]["engine"] == name
    assert remark in out


def test_a_session_store_of_another_name_has_another_key(monkeypatch):
    class MySession(SessionStore):
        pass

    MySession.__qualname__ = "MySession"
    monkeypatch.setitem(sys.modules, "my_sessions", types.SimpleNamespace(SessionStore=MySession))
    with override_settings(SESSION_ENGINE="my_sessions"):
        out, _ = run()
    section = parse(out)["authn.django"][0]
    assert section["session_key"] == derive_keys(SECRET, "django.contrib.sessions.MySession")["session_key"] != derive_keys(SECRET)["session_key"]
    assert section["engine"] == "db"


@pytest.mark.parametrize(
    "database,open_dsn,secret_dsn",
    [
        ({"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/a b%/db.sqlite3"}, "sqlite:///srv/a b%/db.sqlite3", None),
        ({"ENGINE": "django.db.backends.postgresql", "NAME": "site", "USER": "u", "PASSWORD": "p@ss/word", "HOST": "db", "PORT": 5432}, "postgres://u:PASSWORD@db:5432/site", "postgres://u:p%40ss%2Fword@db:5432/site"),
        ({"ENGINE": "django.db.backends.postgresql", "NAME": "si te", "USER": "u", "HOST": "::1", "OPTIONS": {"sslmode": "require"}}, "postgres://u@[::1]/si%20te?sslmode=require", None),
        ({"ENGINE": "django.contrib.gis.db.backends.postgis", "NAME": "site"}, "postgres:///site?host=/var/run/postgresql", None),
        ({"ENGINE": "django.db.backends.postgresql", "NAME": "site", "HOST": "/run/pg", "PORT": "6432"}, "postgres:///site?host=/run/pg&port=6432", None),
        ({"ENGINE": "django.db.backends.postgresql", "NAME": "site", "HOST": "db", "OPTIONS": {"options": "-c search_path=a,b"}}, "postgres://db/site?options=-c%20search_path%3Da%2Cb", None),
        ({"ENGINE": "django.db.backends.postgresql", "NAME": None, "HOST": "db", "OPTIONS": {"service": "s"}}, "postgres://db/", None),
    ],
)
def test_database_addresses(database, open_dsn, secret_dsn):
    assert Project(False).dsn(database) == open_dsn
    assert Project(True).dsn(database) == (secret_dsn or open_dsn)


def test_options_of_postgresql_that_are_left_out_are_told():
    options = {"service": "s", "passfile": "/f", "sslpassword": "hunter2", "sslmode": "require", "options": "-c x=y"}
    p = Project()
    p.dsn({"ENGINE": "django.db.backends.postgresql", "NAME": "x", "OPTIONS": options})
    (note,) = [n for n in p.notes if "OPTIONS" in n]
    assert "passfile, service, sslpassword;" in note and "hunter2" not in note


@pytest.mark.parametrize(
    "use_tz,zone,database,want,note",
    [
        (True, "Europe/Berlin", {}, (True, None), False),
        (False, "Europe/Berlin", {}, (False, "Europe/Berlin"), False),
        (False, None, {}, (False, "UTC"), True),
        (True, "UTC", {"TIME_ZONE": "Asia/Tokyo"}, (False, "Asia/Tokyo"), False),
        (True, "UTC", {"TIME_ZONE": "Asia/Tokyo", "ENGINE": "django.db.backends.postgresql", "NAME": "x"}, (True, None), False),
    ],
)
def test_the_zone_of_times_without_one(monkeypatch, use_tz, zone, database, want, note):
    project = Project()
    project.values.pop("use_tz"), project.values.pop("time_zone", None)
    project.notes = []
    project._settings = {"ENGINE": "django.db.backends.sqlite3", "TIME_ZONE": None, **database}
    monkeypatch.setattr("gatecast.django.project.settings", types.SimpleNamespace(USE_TZ=use_tz, TIME_ZONE=zone))
    project._times()
    assert (project.values["use_tz"], project.values.get("time_zone")) == want
    assert any("TIME_ZONE is None" in n for n in project.notes) == note


def test_the_user_prefix_is_printed():
    with override_settings(GATECAST={"url": "nats://x", "user_prefix": "shop-"}):
        out, _ = run()
    section = parse(out)["authn.django"][0]
    assert section["user_prefix"] == "shop-" and set(section) <= known_keys("Options")


def test_what_toml_wants_escaped():
    with override_settings(SESSION_COOKIE_NAME='a\x7f"\n', AUTHENTICATION_BACKENDS=["no\x7f.\nsuch"]):
        out, _ = run()
    assert "\x7f" not in out
    section = parse(out)["authn.django"][0]
    assert section["cookie_name"] == 'a\x7f"\n' and section["backends"] == ["no\x7f.\nsuch"]
    if sys.version_info >= (3, 11):
        import tomllib

        assert tomllib.loads(out)["authn"]["django"]["cookie_name"] == 'a\x7f"\n'


MYSQL = {"ENGINE": "django.db.backends.mysql", "NAME": "site"}


@pytest.mark.parametrize(
    "database,open_dsn,secret_dsn",
    [
        (MYSQL, "mysql://127.0.0.1/site", None),
        ({**MYSQL, "HOST": "db", "PORT": 3307, "USER": "u", "PASSWORD": "p@ss/word"}, "mysql://u:PASSWORD@db:3307/site", "mysql://u:p%40ss%2Fword@db:3307/site"),
        ({**MYSQL, "HOST": "/run/mysqld/mysqld.sock", "USER": "u"}, "mysql://u@/site?socket=/run/mysqld/mysqld.sock", None),
        ({**MYSQL, "HOST": "::1", "OPTIONS": {"charset": "utf8mb4", "ssl": {"ca": "/etc/ca.pem"}}}, "mysql://[::1]/site?ca=/etc/ca.pem&tls=true", None),
        ({**MYSQL, "HOST": "db", "OPTIONS": {"ssl_mode": "REQUIRED"}}, "mysql://db/site?tls=skip-verify", None),
    ],
)
def test_mysql_addresses(database, open_dsn, secret_dsn):
    assert Project(False).dsn(database) == open_dsn
    assert Project(True).dsn(database) == (secret_dsn or open_dsn)


def test_another_database_is_told_so():
    p = Project(False)
    assert p.dsn({"ENGINE": "django.db.backends.oracle", "NAME": "x"}) == ""
    assert any("oracle is not supported" in n for n in p.notes)
    p.dsn({**MYSQL, "OPTIONS": {"read_default_file": "/etc/my.cnf", "charset": "utf8mb4"}})
    assert any("read_default_file;" in n for n in p.notes)


@pytest.mark.parametrize("serializer,value,note", [("x.PickleSerializer", "pickle", False), ("x.OtherSerializer", None, True), ("x.JSONSerializer", None, False)])
def test_serializers(serializer, value, note):
    with override_settings(SESSION_SERIALIZER=serializer):
        out, err = run()
    assert parse(out)["authn.django"][0].get("serializer") == value
    assert ("Gatecast reads JSON and pickles only" in err) == note


REDIS, DJANGO_REDIS, PYMEMCACHE = "django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache", "django.core.cache.backends.memcached.PyMemcacheCache"


def upper(key, prefix, version):
    return "%s/%s/V%s" % (prefix, key, version)


def hashed(key, prefix, version):
    return str(hash(key))


@pytest.mark.parametrize(
    "cache,want,note",
    [
        ({"BACKEND": REDIS, "LOCATION": "redis://127.0.0.1:6379"}, {"cache": "redis://127.0.0.1:6379"}, ""),
        ({"BACKEND": REDIS, "LOCATION": "redis://u:p%40ss@a:1/2,redis://b:1/2", "KEY_PREFIX": "shop", "VERSION": 3}, {"cache": "redis://u:PASSWORD@a:1/2", "cache_key_prefix": "shop", "cache_version": 3}, ""),
        ({"BACKEND": REDIS, "LOCATION": ["rediss://a:1"], "OPTIONS": {"db": 5, "password": "hunter2"}}, {"cache": "rediss://:PASSWORD@a:1/5"}, ""),
        ({"BACKEND": REDIS, "LOCATION": "unix:///run/redis.sock?db=1"}, {"cache": "unix:///run/redis.sock?db=1"}, ""),
        ({"BACKEND": REDIS, "LOCATION": "redis://u:p%40ss@a:1?username=old&password=older&db=3"}, {"cache": "redis://u:PASSWORD@a:1?db=3"}, ""),
        ({"BACKEND": REDIS, "LOCATION": "unix:///run/redis.sock?password=p%40ss"}, {"cache": "unix://:PASSWORD@/run/redis.sock"}, ""),
        ({"BACKEND": REDIS, "LOCATION": "rediss://a:1?password=hunter2&ssl_ca_certs=/ca.pem"}, {"cache": "rediss://:PASSWORD@a:1?ssl_ca_certs=/ca.pem"}, ""),
        ({"BACKEND": REDIS, "LOCATION": "rediss://a:1/2?socket_timeout=1&ssl_keyfile=/k&ssl_password=hunter2"}, {"cache": "rediss://a:1/2?ssl_keyfile=/k"}, "not in cache: ssl_password;"),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": "redis://a:1/2", "OPTIONS": {"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"}}, {"cache": "redis://a:1/2"}, ""),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": "redis://a:1/2", "OPTIONS": {"COMPRESSOR": "django_redis.compressors.lz4.Lz4Compressor"}}, {"cache": "redis://a:1/2"}, "compresses with lz4"),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": "redis://a:1/2", "OPTIONS": {"SERIALIZER": "django_redis.serializers.msgpack.MSGPackSerializer"}}, {"cache": "redis://a:1/2"}, "MSGPackSerializer is not read"),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": "redis://a:1/2", "KEY_FUNCTION": upper}, {"cache": "redis://a:1/2", "cache_key_format": "/{key}/V1"}, ""),
        ({"BACKEND": REDIS, "LOCATION": "redis://a:1/2", "KEY_FUNCTION": hashed}, {"cache": "redis://a:1/2"}, "KEY_FUNCTION changes keys"),
        ({"BACKEND": PYMEMCACHE, "LOCATION": "127.0.0.1:11211"}, {"cache": "memcached://127.0.0.1:11211"}, ""),
        ({"BACKEND": PYMEMCACHE, "LOCATION": ["a:1", "b:2"]}, {"cache": "memcached://a:1,b:2?client=pymemcache"}, ""),
        ({"BACKEND": PYMEMCACHE, "LOCATION": "unix:/run/m.sock"}, {"cache": "memcached:///run/m.sock"}, ""),
        ({"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache_table"}, {"cache": "db://cache_table"}, ""),
        ({"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "/var/tmp/c"}, {"cache": "file:///var/tmp/c"}, ""),
    ],
)
@pytest.mark.parametrize("engine", ["cache", "cached_db"])
def test_caches(engine, cache, want, note):
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends." + engine, CACHES={"default": cache}):
        out, err = run()
    section = parse(out)["authn.django"][0]
    assert section["engine"] == engine and set(section) <= known_keys("Options")
    assert {k: v for k, v in section.items() if k.startswith("cache")} == want
    assert note in err and not any(secret in out + err for secret in ("hunter2", "p%40ss", "p@ss", "older"))
    if "PASSWORD" in section["cache"]:
        assert "cache_file" in out
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends." + engine, CACHES={"default": cache}):
            assert Project(True).values["cache"] == section["cache"].replace("PASSWORD", "hunter2" if "rediss" in section["cache"] else "p%40ss")


def test_a_project_without_the_address_is_told():
    out, err = run()
    assert "settings.GATECAST is missing" in err and "# NOTE: settings.GATECAST is missing" in out
    with override_settings(GATECAST={"url": "nats://127.0.0.1:4222", "user": "django", "token": "t"}):
        out, err = run()
    assert "settings.GATECAST" not in out + err


def test_legacy_keys_only_when_asked_for():
    out, _ = run()
    assert "legacy" not in out
    out, _ = run("--legacy-sha1")
    section = parse(out)["authn.django"][0]
    assert section["legacy_hash_key"] == hashlib.sha1(b"django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash" + SECRET.encode()).hexdigest()
    assert set(section) <= known_keys("Options") and {"legacy_session_key", "legacy_cookie_key"} <= set(section)


def test_sites_with_otp_are_told_of_the_gate(monkeypatch):
    assert "otp_device_id" not in run()[0]
    monkeypatch.setattr("gatecast.django.project.OTP", ("django.contrib.auth",))  # installed here as django_otp is there
    assert 'require_session_keys = ["otp_device_id"]' in run()[0]


def test_a_custom_user_model(tmp_path):
    """In a process of its own: AUTH_USER_MODEL is fixed once Django is set up."""
    app = tmp_path / "accounts"
    app.mkdir()
    (app / "__init__.py").write_text("")
    (app / "models.py").write_text(
        textwrap.dedent("""
        import uuid
        from django.contrib.auth.models import AbstractUser
        from django.db import models

        class Member(AbstractUser):
            key = models.UUIDField(primary_key=True, default=uuid.uuid4, db_column="member_key")
            class Meta:
                db_table = "club_members"
            def get_session_auth_hash(self):
                return "mine"
        """)
    )
    (app / "backends.py").write_text(
        textwrap.dedent("""
        from django.contrib.auth.backends import ModelBackend

        class Backend(ModelBackend):
            def get_user(self, user_id):
                return None
        """)
    )
    (tmp_path / "site_settings.py").write_text(
        textwrap.dedent("""
        SECRET_KEY = "x" * 50
        INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "accounts", "gatecast.django"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
        AUTH_USER_MODEL = "accounts.Member"
        AUTHENTICATION_BACKENDS = ["accounts.backends.Backend", "django.contrib.auth.backends.ModelBackend"]
        SESSION_COOKIE_NAME = "club"
        SESSION_COOKIE_AGE = 3600
        USE_TZ = False
        TIME_ZONE = "Europe/Berlin"
        """)
    )
    done = subprocess.run([sys.executable, "-m", "django", "gatecast_keys", "--settings", "site_settings", "--pythonpath", str(tmp_path)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    section = parse(done.stdout)["authn.django"][0]
    assert set(section) <= known_keys("Options")
    want = {
        "user_table": "club_members",
        "user_id_column": "member_key",
        "verify_hash": False,
        "cookie_name": "club",
        "cookie_age": "3600s",
        "use_tz": False,
        "time_zone": "Europe/Berlin",
        "database": "sqlite://" + str(tmp_path / "db.sqlite3"),
        "backends": ["accounts.backends.Backend", "django.contrib.auth.backends.ModelBackend"],
    }
    assert {k: section[k] for k in want} == want
    assert "get_session_auth_hash is the project's own" in done.stderr
    assert "accounts.backends.Backend has its own get_user" in done.stderr


# Tokens of other packages


def test_a_deleted_token_has_the_user_looked_at_again(site, tables, caplog):
    from django.db import connection, models

    from gatecast.django.tokens import token_deleted

    class Token(models.Model):  # what rest_framework.authtoken and knox have in common
        key = models.CharField(max_length=40, primary_key=True)
        user_id = models.IntegerField()

        class Meta:
            app_label = "tokens"

    models.signals.post_delete.connect(token_deleted, sender=Token)
    with connection.schema_editor() as editor:
        editor.create_model(Token)
    try:
        Token.objects.bulk_create(Token(key=key, user_id=user) for key, user in (("a", 42), ("b", 42), ("c", 43), ("d", 44)))
        with transaction.atomic():
            Token.objects.get(key="a").delete()
            assert site.published == []  # not before the commit
        (subject, _, body, _), = site.wait(1)
        assert (subject, json.loads(body)) == ("gc.ctl.revalidate", {"user": "42"})
        Token.objects.filter(user_id__in=[42, 43]).delete()
        assert sorted(json.loads(p[2])["user"] for p in site.wait(3)[1:]) == ["42", "43"]
        with override_settings(GATECAST={"url": site.url, "user_prefix": "shop-"}):
            Token.objects.get(key="d").delete()
            assert json.loads(site.wait(4)[3][2]) == {"user": "shop-44"}
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Token)
    assert not caplog.records


# Tickets


def test_a_ticket_says_who_and_of_which_session(tables):
    from django.contrib.auth.models import Group
    from django.core import signing

    user = get_user_model().objects.create_user("ticket-ada", is_staff=True)
    user.groups.add(Group.objects.create(name="Ünï"))
    request = logged_in(user=user)
    a, b = gc.ticket(request), gc.ticket(request)
    assert a != b
    said = signing.loads(a, salt="gatecast.ticket", max_age=60)
    assert (said["user"], said["kind"], said["groups"], said["session"]) == (str(user.pk), "staff", ["Ünï"], session_hash(request.session.session_key))
    assert abs(said["expires"] - datetime.datetime.now().timestamp() - 1209600) < 60
    assert set(said) == {"user", "id", "kind", "groups", "session", "expires"}

    grants = {"subscribe": ["room.7"]}
    said = signing.loads(gc.ticket(user, perms=["auth.add_user"], attrs={"team": "red"}, grants=grants, max_age=5), salt="gatecast.ticket")
    assert (said["attrs"], said["grants"], said["age"]) == ({"team": "red"}, grants, 5)
    assert "session" not in said and "perms" not in said
    user.is_superuser = True
    said = signing.loads(gc.ticket(user, perms=["auth.add_user"]), salt="gatecast.ticket")
    assert (said["kind"], said["perms"]) == ("superuser", ["auth.add_user"])


def test_no_ticket_for_nobody(tables):
    request = logged_in(user=AnonymousUser())
    for who in (request, AnonymousUser(), get_user_model()(), get_user_model()(pk=1, is_active=False)):
        with pytest.raises(BadRequest):
            gc.ticket(who)
