"""What the settings of SimpleJWT mean for Gatecast, as the section [authn.jwt]."""

from datetime import timedelta
from importlib.util import find_spec
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.utils.encoding import force_bytes
from django.utils.module_loading import import_string

from . import user_prefix

# What authn/jwt verifies, and what else it is held to.
ALGORITHMS = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SCHEMES = ("bearer", "token")  # authn.schemes by default, in any case
TYPES = ("access", "sliding")
SHORTEST_SECRET = 16
LONGEST_LEEWAY = timedelta(minutes=10)


class SimpleJWT:
    """values are keys of [authn.jwt], none if the project gives out no such tokens; comments and notes are like those of Project."""

    def __init__(self):
        self.values, self.comments, self.notes = {}, {}, []
        classes = self._authentication()
        by_cookie, cookie = dj_rest_auth()
        named = hasattr(settings, "SIMPLE_JWT") or any(app.name.startswith("rest_framework_simplejwt") for app in apps.get_app_configs())
        if not (classes or by_cookie or named) or find_spec("rest_framework_simplejwt") is None:
            return
        from rest_framework_simplejwt.settings import api_settings

        if api_settings.ALGORITHM not in ALGORITHMS:
            self.notes.append("SimpleJWT signs with ALGORITHM %s, which Gatecast does not verify: it verifies %s" % (api_settings.ALGORITHM, ", ".join(ALGORITHMS)))
            return
        self.values["algorithms"] = [api_settings.ALGORITHM]
        self._key(api_settings)
        self._claims(api_settings)
        self._leeway(api_settings.LEEWAY)
        self._user(api_settings, classes)
        if cookie:
            self.values["cookie_name"] = cookie
        self._header(api_settings)
        self._types(api_settings)

    def _authentication(self):
        """Those of the project's DEFAULT_AUTHENTICATION_CLASSES that are SimpleJWT's, or derive from them."""
        found = []
        for path in (getattr(settings, "REST_FRAMEWORK", None) or {}).get("DEFAULT_AUTHENTICATION_CLASSES", ()):
            try:
                cls = import_string(path)
            except ImportError:
                self.notes.append("DEFAULT_AUTHENTICATION_CLASSES has %s, which cannot be imported" % path)
                continue
            if any(c.__module__ == "rest_framework_simplejwt.authentication" for c in cls.__mro__):
                found.append(cls)
        return found

    def _key(self, s):
        """As TokenBackend.get_verifying_key: a secret, else a set of keys, else one public key."""
        if s.ALGORITHM.startswith("HS"):
            self._secret(s.SIGNING_KEY)
        elif s.JWK_URL:
            self._jwks(s.JWK_URL)
        else:
            self._public(s)

    def _secret(self, key):
        if shared(key):
            self.notes.append(
                "SimpleJWT signs with SECRET_KEY or a part of it, which Gatecast must not have, so [authn.jwt] has no secret. Give SimpleJWT a key of its own in the settings, and run this again: "
                'SIMPLE_JWT = {…, "SIGNING_KEY": os.environ["JWT_SIGNING_KEY"]}, with what openssl rand -base64 48 prints in that variable; or better a key pair (ALGORITHM = "RS256", SIGNING_KEY, VERIFYING_KEY). '
                "Tokens made before are refused by your site then"
            )
            return
        try:
            text = force_bytes(key).decode()
        except UnicodeDecodeError:
            self.notes.append("SIGNING_KEY is not UTF-8: write it into a file, and name that as secret_file of [authn.jwt]")
            return
        if len(text.encode()) < SHORTEST_SECRET:
            self.notes.append("SIGNING_KEY has less than %d bytes, which can be guessed, and Gatecast does not take it: make one with openssl rand -base64 48" % SHORTEST_SECRET)
            return
        self.values["secret"] = text
        self.comments["secret"] = "SIGNING_KEY: whoever has it can make tokens of any user. It may be in a file, which secret_file names"

    def _jwks(self, address):
        url = urlsplit(address)
        if url.scheme not in ("http", "https"):
            self.notes.append("JWK_URL is no address of http or https, so [authn.jwt] has no key: set jwks to one, or to the path of a file with the key set")
            return
        if url.username is not None:
            self.notes.append("JWK_URL holds a user or password, so [authn.jwt] has no key: public keys need none, and Gatecast sends none")
            return
        self.values["jwks"] = address
        host = url.hostname or ""
        if url.scheme == "http" and host not in ("localhost", "::1") and not host.startswith("127."):
            self.notes.append("JWK_URL is plain http, so who sits between can let anybody in: use https, or add jwks_insecure = true to [authn.jwt] in a network that you trust")

    def _public(self, s):
        """Print what PyJWT makes of VERIFYING_KEY, which may also be a key of OpenSSH, or by mistake the private one."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
        from jwt.algorithms import get_default_algorithms

        try:
            key = get_default_algorithms()[s.ALGORITHM].prepare_key(s.VERIFYING_KEY)
        except Exception:  # of many kinds, and some quote the key
            self.notes.append("VERIFYING_KEY is no public key for %s, so [authn.jwt] has no key: write it with openssl pkey -pubout, and name the file as public_key" % s.ALGORITHM)
            return
        if hasattr(key, "public_key"):
            self.notes.append("VERIFYING_KEY holds the private key; its public half, which is all that verifying needs, is printed")
            key = key.public_key()
        self.values["public_key"] = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def _claims(self, s):
        audience = [s.AUDIENCE] if isinstance(s.AUDIENCE, str) else list(s.AUDIENCE or ())
        if audience:
            self.values["audience"] = audience[0]
        if len(audience) > 1:
            self.notes.append("AUDIENCE has %s: Gatecast asks for one, the first. Tokens of this project have all of them; of others that have only another, it takes none" % ", ".join(audience))
        if isinstance(s.ISSUER, str):
            self.values["issuer"] = s.ISSUER
        elif s.ISSUER:
            self.notes.append("ISSUER is not a text, so the iss of tokens is not looked at: Gatecast compares one issuer; set issuer to it")
        if s.JTI_CLAIM not in ("jti", None):
            self.notes.append("JTI_CLAIM is %s: Gatecast does not ask that it is there, and keeps it with each login as {attr.%s}" % (s.JTI_CLAIM, s.JTI_CLAIM))

    def _leeway(self, leeway):
        if leeway is not None and not isinstance(leeway, timedelta):
            try:
                leeway = timedelta(seconds=leeway)
            except TypeError:
                self.notes.append("LEEWAY is no number of seconds and no timedelta, so it is left out")
                return
        if not leeway:
            return
        if not timedelta(0) < leeway <= LONGEST_LEEWAY:
            self.notes.append("LEEWAY is not between 0 and 10 minutes, which Gatecast asks for")
            leeway = min(max(leeway, timedelta(0)), LONGEST_LEEWAY)
        whole, rest = divmod(leeway, timedelta(seconds=1))
        self.values["leeway"] = "%dms" % (leeway / timedelta(milliseconds=1)) if rest else "%ds" % whole

    def _user(self, s, classes):
        """Tell whose id the tokens have, and whether the user is looked up, as JWTAuthentication.get_user does."""
        from rest_framework_simplejwt.authentication import JWTAuthentication, JWTTokenUserAuthentication

        self.values["user_claim"] = s.USER_ID_CLAIM
        for cls in classes:
            base = JWTTokenUserAuthentication if issubclass(cls, JWTTokenUserAuthentication) else JWTAuthentication
            self._overridden(cls, base)
        stateless = classes and all(issubclass(cls, JWTTokenUserAuthentication) for cls in classes)
        prefix = user_prefix()
        if not is_primary_key(s.USER_ID_FIELD):
            prefix += "%s-" % s.USER_ID_FIELD
            self.comments["user_prefix"] = "keeps the %s of one user apart from the primary key of another; take it out if nobody logs in but by these tokens" % s.USER_ID_FIELD
            self.notes.append(
                'USER_ID_FIELD is %s, which is not the primary key: Gatecast cannot look these users up, so users = "django" is left out, and tokens of deactivated users%s are good until they end. '
                'Their ids begin with "%s", and notify and disconnect reach them by such an id, not by the model\'s instance'
                % (s.USER_ID_FIELD, ", or from before a new password," if getattr(s, "CHECK_REVOKE_TOKEN", False) else "", prefix)
            )
        elif stateless:
            self.comments["user_claim"] = "users are not looked up, for %s does not either; if they are in this database, add users = \"django\"" % classes[0].__name__
            if prefix:
                self.comments["user_prefix"] = "as GATECAST in the settings has it: both must be the same"
        else:
            self.values["users"] = "django"
            self.comments["users"] = 'the user is looked up by [authn.django]; "django:NAME" for [authn.django.sites.NAME]'
            if getattr(s, "CHECK_REVOKE_TOKEN", False):
                self.values["revoke_token_claim"] = s.REVOKE_TOKEN_CLAIM
            if not getattr(s, "CHECK_USER_IS_ACTIVE", True):
                self.notes.append("CHECK_USER_IS_ACTIVE is off: Gatecast refuses inactive users all the same")
            return
        if prefix:
            self.values["user_prefix"] = prefix

    def _overridden(self, cls, base):
        ours = cls.__module__.startswith(("rest_framework_simplejwt.", "dj_rest_auth."))
        for name, text in (
            ("get_user", "Gatecast takes the user that the claim names, if there is one who is active"),
            ("get_validated_token", "Gatecast checks what the settings say, and no more"),
            ("authenticate", "if it reads a cookie, set cookie_name in [authn.jwt]"),
        ):
            if not ours and getattr(cls, name) is not getattr(base, name):
                self.notes.append("%s has its own %s: %s" % (cls.__name__, name, text))

    def _header(self, s):
        types = s.AUTH_HEADER_TYPES if isinstance(s.AUTH_HEADER_TYPES, (list, tuple)) else [s.AUTH_HEADER_TYPES]
        more = [word for word in types if word.lower() not in SCHEMES]
        if more:
            listed = ", ".join('"%s"' % word for word in ["Bearer", "Token", *more])
            self.notes.append("AUTH_HEADER_TYPES has %s: set schemes = [%s] in [authn]" % (", ".join(more), listed))
        if s.AUTH_HEADER_NAME != "HTTP_AUTHORIZATION":
            name = s.AUTH_HEADER_NAME.replace("HTTP_", "", 1).replace("_", "-").title()
            self.notes.append('AUTH_HEADER_NAME is %s: Gatecast reads Authorization; with token_headers = ["%s"] in [authn] it reads that too, where the token stands without a word before it' % (s.AUTH_HEADER_NAME, name))

    def _types(self, s):
        from rest_framework_simplejwt.tokens import BlacklistMixin

        if s.TOKEN_TYPE_CLAIM != "token_type":
            self.notes.append("TOKEN_TYPE_CLAIM is %s: Gatecast looks at token_type only, so it takes refresh tokens for access tokens; set it back" % s.TOKEN_TYPE_CLAIM)
        for cls in s.AUTH_TOKEN_CLASSES:
            if cls.token_type not in TYPES:
                self.notes.append("AUTH_TOKEN_CLASSES has %s of the type %s: Gatecast takes the types %s only" % (cls.__name__, cls.token_type, " and ".join(TYPES)))
            elif issubclass(cls, BlacklistMixin) and apps.is_installed("rest_framework_simplejwt.token_blacklist"):
                self.notes.append("Gatecast does not look at SimpleJWT's blacklist: a %s on it is good until it ends" % cls.__name__)


def dj_rest_auth():
    """Whether dj-rest-auth gives out tokens of SimpleJWT, and the cookie they are in."""
    section = getattr(settings, "REST_AUTH", None) or {}  # before dj-rest-auth 3 these were settings by themselves
    used = section.get("USE_JWT", getattr(settings, "REST_USE_JWT", False))
    cookie = section.get("JWT_AUTH_COOKIE", getattr(settings, "JWT_AUTH_COOKIE", None))
    return bool(used), cookie if used and cookie else ""


def shared(key):
    """Whether a signing key is SECRET_KEY, or gives away a part of it. It is what SimpleJWT has by default."""
    if "SIGNING_KEY" not in (getattr(settings, "SIMPLE_JWT", None) or {}):
        return True
    key = force_bytes(key or "")
    secrets = [force_bytes(secret) for secret in [settings.SECRET_KEY, *getattr(settings, "SECRET_KEY_FALLBACKS", ())] if secret]
    return any(key and (key in secret or secret in key) for secret in secrets)


def is_primary_key(name):
    try:
        return name == "pk" or get_user_model()._meta.get_field(name).primary_key
    except FieldDoesNotExist:
        return False
