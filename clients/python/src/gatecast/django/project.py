"""What Gatecast has to know about a project, read from its settings and models, as the keys of [authn.django]."""

import os
from importlib import import_module
from urllib.parse import quote

import django
from django.conf import settings
from django.db import connections, router

from . import user_prefix
from .caches import Cache
from .keys import SESSION_SALT, derive_keys, derive_legacy_keys
from .simplejwt import SimpleJWT
from .token_kinds import Tokens

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
OTP = ("django_otp", "two_factor")
MYSQL_MODES = {"DISABLED": "false", "PREFERRED": "preferred", "REQUIRED": "skip-verify", "VERIFY_CA": "true", "VERIFY_IDENTITY": "true"}  # ssl_mode -> tls
MYSQL_HARMLESS = ("charset", "collation", "init_command", "isolation_level", "sql_mode", "connect_timeout", "read_timeout", "write_timeout", "use_unicode", "autocommit")
PASSED_ON = ("sslmode", "sslrootcert", "sslcert", "sslkey", "options")  # OPTIONS of DATABASES that mean the same in an address
PASSWORD = "PASSWORD"  # stands for the password; a node refuses to start with it


class Project:
    """values are the scalars and lists for [authn.django], tokens those for [authn.token], jwt has those for [authn.jwt], fallbacks the older keys, notes what a person should read."""

    def __init__(self, with_password=False, legacy_sha1=False):
        self.with_password = with_password
        self.legacy_sha1 = legacy_sha1
        self.values = {}
        self.tokens = {}
        self.jwt = None
        self.fallbacks = []
        self.notes = []
        self.comments = {}  # key -> a remark to stand above it
        self._read()

    def _read(self):
        store = import_module(settings.SESSION_ENGINE).SessionStore
        self._sessions(store)
        self._keys(store)
        self._database(store)
        self.values["cookie_name"] = settings.SESSION_COOKIE_NAME
        self.values["cookie_age"] = "%ds" % settings.SESSION_COOKIE_AGE
        self._user()
        self._backends()
        self._times()
        if user_prefix():
            self.values["user_prefix"] = user_prefix()
            self.comments["user_prefix"] = "as GATECAST in the settings has it: both must be the same"
        if not getattr(settings, "GATECAST", None):
            self.notes.append(
                'settings.GATECAST is missing: set it to {"url": …, "user": …, "token": …} with name and token of a [[broker.services]] entry; until then group_send fails, and logouts and changes of users are not told'
            )
        tokens = Tokens()
        self.tokens = tokens.values
        self.jwt = SimpleJWT()
        self.notes += tokens.notes + self.jwt.notes

    def _sessions(self, store):
        from django.contrib.sessions.backends import cache, cached_db, db, file, signed_cookies

        engine = settings.SESSION_ENGINE.rpartition(".")[2]
        # cached_db derives from db, and cache, file and signed_cookies from nothing here.
        if issubclass(store, cached_db.SessionStore):
            engine = "cached_db" if self._cache(store, cached_db.KEY_PREFIX) else "db"
            if engine == "db":
                self.comments["engine"] = "the project's cached_db keeps its sessions in the database too, which is what is read"
        elif issubclass(store, cache.SessionStore):
            engine = "cache"
            if not self._cache(store, cache.KEY_PREFIX):
                self.notes.append("sessions are in a cache that no other process can read: use another cache for SESSION_CACHE_ALIAS, or the engine cached_db or db")
        elif issubclass(store, file.SessionStore):
            engine = "file"
            self.values["session_file_path"] = os.path.abspath(store._get_storage_path())
        elif issubclass(store, db.SessionStore):
            engine = "db"
        elif issubclass(store, signed_cookies.SessionStore):
            engine = "signed_cookies"
            self.notes.append("signed_cookies cannot be revoked in Django: after a logout Gatecast closes the user's sockets and refuses that cookie (a node that restarts forgets it), other cookies of the login stay good until cookie_age or a change of password; prefer the db engine")
        else:
            self.notes.append("SESSION_ENGINE %s derives from none of Django's: Gatecast cannot read it" % settings.SESSION_ENGINE)
        self.values = {"engine": engine, **self.values}  # the first line
        if settings.SESSION_SERIALIZER.endswith(".PickleSerializer"):
            self.values["serializer"] = "pickle"
        elif not settings.SESSION_SERIALIZER.endswith(".JSONSerializer") and engine != "cache":
            self.notes.append("SESSION_SERIALIZER is %s: Gatecast reads JSON and pickles only" % settings.SESSION_SERIALIZER)
        if any(app in OTP for app in settings.INSTALLED_APPS):
            self.notes.append('with django-otp a user is logged in before the second step: add require_session_keys = ["otp_device_id"] if only those who have done it may connect')

    def _cache(self, store, prefix):
        """Tell where the store's cache is, and whether another process can read it."""
        found = Cache(settings.SESSION_CACHE_ALIAS, self.with_password)
        self.notes += found.notes
        if found.comment:
            self.comments["cache"] = found.comment
        if not found.address:
            return False
        self.values.update(found.values)
        if store.cache_key_prefix != prefix:
            self.values["cache_session_prefix"] = store.cache_key_prefix
        return True

    def _keys(self, store):
        try:
            salt = store().key_salt
        except Exception:  # a store of another kind
            salt = SESSION_SALT
        if not isinstance(salt, str):
            salt = SESSION_SALT
        if salt != SESSION_SALT and self.values["engine"] in ("db", "cached_db", "file"):
            self.comments["session_key"] = "of the salt %s" % salt
        self.values.update(derive_keys(settings.SECRET_KEY, salt))
        if self.legacy_sha1:
            self.values.update(derive_legacy_keys(settings.SECRET_KEY, store.__name__))
            self.comments["legacy_session_key"] = "let in what Django before 3.1 signed; take them out when those sessions have ended"
        if django.VERSION >= (4, 1):  # an older one does not look at the setting, and a login by an old key is none there
            self.fallbacks = [derive_keys(secret, salt) for secret in settings.SECRET_KEY_FALLBACKS]

    def _database(self, store):
        from django.contrib.auth import get_user_model

        alias = router.db_for_read(get_user_model())
        if self.values["engine"] in ("db", "cached_db"):
            model = store.get_model_class() if hasattr(store, "get_model_class") else None
            if model is not None:
                self.values["session_table"] = table(model._meta.db_table)
                for key, field, usual in (("session_key_column", "session_key", "session_key"), ("session_data_column", "session_data", "session_data"), ("session_expire_column", "expire_date", "expire_date")):
                    column = model._meta.get_field(field).column
                    if column != usual:
                        self.values[key] = column
                if router.db_for_read(model) != alias:
                    self.notes.append("sessions and users are in different databases (%s, %s): Gatecast reads both from one" % (router.db_for_read(model), alias))
        self._settings = connections[alias].settings_dict
        self.values["database"] = self.dsn(self._settings)

    def dsn(self, d):
        """A Gatecast address of an entry of DATABASES."""
        engine = d["ENGINE"]
        if is_sqlite(d):
            name = str(d["NAME"])
            if name == ":memory:" or name.startswith("file:"):
                self.notes.append("the SQLite database %s has no path that another process could open" % name)
                return "sqlite://" + name
            return "sqlite://" + os.path.abspath(name)
        if "postg" in engine:
            return self._postgres(d)
        if is_mysql(d):
            return self._mysql(d)
        self.notes.append("database engine %s is not supported by Gatecast: PostgreSQL, MySQL, MariaDB and SQLite are" % engine)
        return ""

    def _mysql(self, d):
        options = dict(d.get("OPTIONS") or {})
        query = {}
        host = d.get("HOST") or ""
        socket = options.pop("unix_socket", None) or (host if host.startswith("/") else "")
        if socket:
            query["socket"] = socket
        mode = options.pop("ssl_mode", None)
        if mode:
            query["tls"] = MYSQL_MODES.get(mode, "true")
        ssl = options.pop("ssl", None) or {}
        if isinstance(ssl, dict):
            query.update({name: str(ssl[name]) for name in ("ca", "cert", "key") if ssl.get(name)})
        if ssl and "tls" not in query:
            query["tls"] = "true"
        left_out = sorted(set(options) - set(MYSQL_HARMLESS))
        if left_out:
            self.notes.append("OPTIONS of DATABASES that are not in database: %s; put there what a reader needs" % ", ".join(left_out))
        where = ""
        if not socket:
            # the client library takes "localhost" for its socket, whose path it knows and we do not
            where = "127.0.0.1" if host in ("", "localhost") else "[%s]" % host if ":" in host else host
            where += ":%s" % d["PORT"] if d.get("PORT") else ""
        return "mysql://%s%s/%s%s" % (self._who(d), where, quote(str(d.get("NAME") or ""), safe=""), "?" + "&".join("%s=%s" % (k, quote(v, safe="/")) for k, v in query.items()) if query else "")

    def _who(self, d):
        """user:password@ of an address."""
        who = quote(str(d.get("USER") or ""), safe="")
        password = str(d.get("PASSWORD") or "")
        if password:
            if self.with_password:
                who += ":" + quote(password, safe="")
            else:
                who += ":" + PASSWORD
                self.comments["database"] = (
                    "replace PASSWORD, better by a user who may only read; or put the whole address into a file and name that as database_file (--with-database-password prints it)"
                )
        return who + "@" if who else ""

    def _postgres(self, d):
        options = d.get("OPTIONS") or {}
        query = ["%s=%s" % (k, quote(str(options[k]), safe="/")) for k in PASSED_ON if k in options]
        host = d.get("HOST") or ""
        if host.startswith("/") or not host:  # a socket's folder; none = the default one
            query.insert(0, "host=" + quote(host or "/var/run/postgresql", safe="/"))
            if d.get("PORT"):
                query.append("port=%s" % d["PORT"])
            where = ""
        else:
            where = ("[%s]" % host if ":" in host else host) + (":%s" % d["PORT"] if d.get("PORT") else "")
        left_out = sorted(set(options) - set(PASSED_ON))
        if left_out:  # without their values: sslpassword is one
            self.notes.append("OPTIONS of DATABASES that are not in database: %s; put there what a reader needs (of a service or passfile: host, user, password and name)" % ", ".join(left_out))
        return "postgres://%s%s/%s%s" % (self._who(d), where, quote(str(d.get("NAME") or ""), safe=""), "?" + "&".join(query) if query else "")

    def _times(self):
        """As DatabaseWrapper.timezone has it: the zone of times that a database keeps without one."""
        use_tz, zone = bool(settings.USE_TZ), settings.TIME_ZONE
        if use_tz and (is_sqlite(self._settings) or is_mysql(self._settings)) and self._settings.get("TIME_ZONE"):
            use_tz, zone = False, self._settings["TIME_ZONE"]
            self.comments["use_tz"] = "this database has a TIME_ZONE of its own, in which Django writes its times"
        self.values["use_tz"] = use_tz
        if use_tz:
            return
        if not zone:
            zone = "UTC"
            self.notes.append("TIME_ZONE is None and USE_TZ is off, so Django writes times by the clock of its machine: set time_zone to that machine's zone, else sessions end at a wrong hour")
        self.values["time_zone"] = zone

    def _user(self):
        from django.contrib.auth import get_user_model
        from django.contrib.auth.base_user import AbstractBaseUser

        user = get_user_model()
        meta = user._meta
        self.values["user_table"] = table(meta.db_table)
        self.values["user_id_column"] = meta.pk.column
        if meta.parents:
            self.notes.append("%s is spread over several tables (multi-table inheritance): set user_table to a view that joins them" % meta.label)
        ours = issubclass(user, AbstractBaseUser)
        self.values["verify_hash"] = ours
        if ours and (user.get_session_auth_hash is not AbstractBaseUser.get_session_auth_hash or _overridden(user, AbstractBaseUser, "_get_session_auth_hash")):
            self.values["verify_hash"] = False
            self.notes.append("%s.get_session_auth_hash is the project's own, so verify_hash is off: a change of password does not end a login by itself" % meta.label)
        self._relation(meta, "groups", "user_groups_table")
        self._relation(meta, "user_permissions", "user_permissions_table")

    def _relation(self, meta, name, key):
        from django.core.exceptions import FieldDoesNotExist

        try:
            field = meta.get_field(name)
        except FieldDoesNotExist:
            self.values[key] = "none"
            return
        if not field.many_to_many:
            return
        through = field.remote_field.through._meta
        column = through.get_field(field.m2m_field_name()).column
        derived = "%s_%s" % (self.values["user_table"], name)
        if table(through.db_table) != derived:
            self.values[key] = table(through.db_table)
        if column != "%s_id" % meta.model_name:
            self.values["user_foreign_key"] = column

    def _backends(self):
        from django.contrib.auth.backends import ModelBackend
        from django.utils.module_loading import import_string

        self.values["backends"] = list(settings.AUTHENTICATION_BACKENDS)
        for path in settings.AUTHENTICATION_BACKENDS:
            try:
                backend = import_string(path)
            except ImportError:
                self.notes.append("AUTHENTICATION_BACKENDS has %s, which cannot be imported" % path)
                continue
            if path.startswith("django.contrib.auth.backends."):
                continue
            if not issubclass(backend, ModelBackend) or _overridden(backend, ModelBackend, "get_user") or _overridden(backend, ModelBackend, "user_can_authenticate"):
                self.notes.append("%s has its own get_user: Gatecast only checks that the user exists and is active; take it out of backends if that is not enough" % path)


def _overridden(cls, base, name):
    return getattr(cls, name, None) is not getattr(base, name, None)


def is_sqlite(d):
    return "sqlite" in d["ENGINE"] or "spatialite" in d["ENGINE"]


def is_mysql(d):
    return "mysql" in d["ENGINE"] or "mariadb" in d["ENGINE"]


def table(db_table):
    """A table without the quotes that some put into db_table to name a schema."""
    return db_table.replace('"', "")
