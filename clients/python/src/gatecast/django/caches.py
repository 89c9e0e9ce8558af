"""Where a project's cache is, as the key cache of [authn.django]."""

import os
import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.core.cache import caches
from django.db import router

PASSWORD = "PASSWORD"  # stands for the password; a node refuses to start with it
KEY = "gatecast-key"
MEMCACHED = {"PyMemcacheCache": "pymemcache", "PyLibMCCache": "pylibmc", "MemcachedCache": "python-memcached"}
REDIS_PASSED_ON = ("db", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile")  # in the address of a node's cache too
REDIS_HARMLESS = ("username", "password", "timeout", "socket_timeout", "socket_connect_timeout", "socket_keepalive", "max_connections", "health_check_interval", "retry_on_timeout", "client_name", "protocol")
READ = ("", "zlib", "gzip", "identity")  # the compressors of django-redis that a node undoes


class Cache:
    """values are keys of [authn.django], address is "" if no other process can read the cache."""

    def __init__(self, alias, with_password=False):
        self.with_password = with_password
        self.values, self.notes, self.comment, self.address = {}, [], "", ""
        self.settings = settings.CACHES[alias]
        self.options = {k.lower(): v for k, v in (self.settings.get("OPTIONS") or {}).items()}
        self.cache = caches[alias]
        module, _, name = self.settings["BACKEND"].rpartition(".")
        if module == "django.core.cache.backends.redis" or module == "django_redis.cache":
            self.address = self._redis(module)
        elif name in MEMCACHED:
            self.address = self._memcached(MEMCACHED[name])
        elif module == "django.core.cache.backends.db":
            self.address = "db://" + self.cache._table.replace('"', "")
            if router.db_for_read(self.cache.cache_model_class) not in (None, "default"):
                self.notes.append("the cache's table is in another database than the default one: Gatecast reads it from the users' database")
        elif module == "django.core.cache.backends.filebased":
            self.address = "file://" + os.path.abspath(self.cache._dir)
        elif module not in ("django.core.cache.backends.locmem", "django.core.cache.backends.dummy"):
            self.notes.append("the cache backend %s is not known to Gatecast" % self.settings["BACKEND"])
        if self.address:
            self.values["cache"] = self.address
            self._keys()

    def _locations(self):
        location = self.settings.get("LOCATION") or ""
        return [x.strip() for x in re.split("[;,]", location)] if isinstance(location, str) else [str(x) for x in location]

    def _redis(self, module):
        url = urlsplit(self._locations()[0])  # the first is written to, the others are replicas
        if module == "django_redis.cache":
            client = self.options.get("client_class", "django_redis.client.DefaultClient")
            if not str(client).endswith(".DefaultClient"):
                self.notes.append("django-redis's %s: set cache to the address of the server that holds the sessions" % client)
            compressor = str(self.options.get("compressor", "")).rpartition(".")[0].rpartition(".")[2]
            if compressor not in READ:
                self.notes.append("django-redis compresses with %s, which Gatecast does not undo: use ZlibCompressor or none" % compressor)
            serializer = str(self.options.get("serializer", ""))
            if serializer and not serializer.endswith((".JSONSerializer", ".PickleSerializer")):
                self.notes.append("django-redis's %s is not read by Gatecast: use the JSONSerializer or the PickleSerializer" % serializer)
        query = parse_qsl(url.query, keep_blank_values=True)
        asked = dict(reversed(query))  # redis-py takes a login from here too
        user = unquote(url.username or "") or asked.get("username") or str(self.options.get("username") or "")
        password = unquote(url.password or "") or asked.get("password") or str(self.options.get("password") or "")
        where = url.netloc.rpartition("@")[2]
        who = ""
        if password:
            if not self.with_password:
                self.comment = "replace PASSWORD, better by a user who may only GET and PTTL; or put the whole address into a file and name that as cache_file (--with-database-password prints it)"
                password = PASSWORD
            who = "%s:%s@" % (quote(user, safe=""), quote(password, safe=""))
        path, query = url.path, urlencode([(name, value) for name, value in asked.items() if name in REDIS_PASSED_ON], safe="/")
        left_out = sorted(set(asked) - set(REDIS_PASSED_ON) - set(REDIS_HARMLESS))
        if left_out:  # without their values: ssl_password is one
            self.notes.append("options of the Redis address that are not in cache: %s; Gatecast has none of them" % ", ".join(left_out))
        db = self.options.get("db")
        if db is not None and not path.strip("/") and "db" not in asked:
            path = "/%s" % db
        return urlunsplit((url.scheme, who + where, path, query, "")) if where or url.scheme != "unix" else "unix://%s%s%s" % (who, path, "?" + query if query else "")

    def _memcached(self, client):
        servers = [x[5:] if x.startswith("unix:") else x for x in self._locations()]
        if self.options.get("username"):
            self.notes.append("memcached with a login (SASL) is not read by Gatecast")
        behaviors = self.options.get("behaviors") or {}
        if len(servers) > 1 and client == "pylibmc" and any(behaviors.get(k) for k in ("ketama", "ketama_weighted", "distribution", "hash")):
            self.notes.append("pylibmc's behaviors place keys in a way that Gatecast does not know: use one memcached server for sessions, or none of these behaviors")
        return "memcached://%s%s" % (",".join(servers), "?client=" + client if len(servers) > 1 else "")

    def _keys(self):
        """KEY_PREFIX, VERSION and what KEY_FUNCTION does with them."""
        prefix, version = self.cache.key_prefix, self.cache.version
        made = str(self.cache.make_key(KEY))
        if made == "%s:%s:%s" % (prefix, version, KEY) and isinstance(version, int):
            if prefix:
                self.values["cache_key_prefix"] = prefix
            if version != 1:
                self.values["cache_version"] = version
        elif KEY in made:
            self.values["cache_key_format"] = made.replace(KEY, "{key}")
        else:
            self.notes.append("the cache's KEY_FUNCTION changes keys in a way that cache_key_format cannot say")
