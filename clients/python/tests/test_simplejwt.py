import re
import sys
import types
from datetime import timedelta

import jwt
import pytest
import rest_framework_simplejwt.settings  # noqa: F401 - from now on it follows override_settings
from conftest import OLD_SECRET, ROOT, SECRET
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.conf import settings
from django.test.utils import override_settings
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.tokens import AccessToken, UntypedToken
from test_django import parse, run

from gatecast.django import simplejwt

OWN = "a signing key of its own, " + "0123456789" * 4


def printed(simple_jwt, **more):
    """The section [authn.jwt] for a SIMPLE_JWT, and what a person is told."""
    with override_settings(SIMPLE_JWT=simple_jwt, **more):
        out, err = run()
    (section,) = parse(out)["authn.jwt"]
    assert set(section) <= set(re.findall(r'toml:"(\w+)"', go("options.go")))
    assert all("# NOTE: " + note in out for note in re.findall(r"gatecast_keys: (.*)", err))
    return section, err


def own(**simple_jwt):
    return printed({"SIGNING_KEY": OWN, **simple_jwt})


def go(file):
    return (ROOT / "authn/jwt" / file).read_text()


def test_what_is_said_of_gatecast_is_so():
    listed = re.search(r"var algorithms = \[\]string\{(.*?)\}", go("key.go"), re.S)[1]
    assert set(re.findall(r'"(\w+)"', listed)) == {*simplejwt.ALGORITHMS, "Ed25519"}  # an alg that PyJWT does not know
    assert "shortestSecret  = %d\n" % simplejwt.SHORTEST_SECRET in go("options.go")
    assert "longestLeeway   = %d * time.Minute" % (simplejwt.LONGEST_LEEWAY / timedelta(minutes=1)) in go("options.go")
    assert 'typ != "%s" && typ != "%s"' % simplejwt.TYPES in go("verify.go")
    assert re.search(r"Schemes: +\[\]string\{%s\}" % ", ".join('"%s"' % s.title() for s in simplejwt.SCHEMES), (ROOT / "authn/options.go").read_text())


# Whether there are such tokens


class Own(JWTAuthentication):
    pass


BY_CLASS = {"REST_FRAMEWORK": {"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication", "own_authentication.Own"]}}


@pytest.mark.parametrize(
    "found_by,cookie",
    [
        ({"INSTALLED_APPS": [*settings.INSTALLED_APPS, "rest_framework_simplejwt"]}, None),
        ({"INSTALLED_APPS": [*settings.INSTALLED_APPS, "rest_framework_simplejwt.token_blacklist"]}, None),
        ({"SIMPLE_JWT": {}}, None),
        (BY_CLASS, None),
        ({"REST_AUTH": {"USE_JWT": True, "JWT_AUTH_COOKIE": "access"}}, "access"),
        ({"REST_AUTH": {"USE_JWT": True}}, None),
        ({"REST_USE_JWT": True, "JWT_AUTH_COOKIE": "access"}, "access"),  # dj-rest-auth before 3
        ({"REST_USE_JWT": True}, None),
    ],
)
def test_a_project_with_tokens(monkeypatch, found_by, cookie):
    monkeypatch.setitem(sys.modules, "own_authentication", types.SimpleNamespace(Own=Own))
    with override_settings(**found_by):
        out, err = run()
    (section,) = parse(out)["authn.jwt"]
    assert section == {"algorithms": ["HS256"], "user_claim": "user_id", "users": "django", **({"cookie_name": cookie} if cookie else {})}
    assert '"jwt" is in authn.chain' in out and "key of its own in the settings" in err


@pytest.mark.parametrize("other", [{}, {"REST_AUTH": {"JWT_AUTH_COOKIE": "access"}}, {"REST_FRAMEWORK": {"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"]}}])
def test_a_project_without_tokens(other):
    with override_settings(**other):
        out, err = run()
    assert "authn.jwt" not in parse(out) and "JWT" not in out + err


def test_a_class_that_cannot_be_imported():
    _, err = printed({}, REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": ["no.such.Class"]})
    assert "no.such.Class, which cannot be imported" in err


# Keys


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("key", [OWN, OWN.encode(), OWN + 'quotes " and \\ and ünï\n'])
def test_a_secret_of_its_own(algorithm, key):
    section, err = printed({"ALGORITHM": algorithm, "SIGNING_KEY": key, "VERIFYING_KEY": "not used"})
    assert (section["algorithms"], section["secret"]) == ([algorithm], key if isinstance(key, str) else key.decode())
    assert "SIGNING_KEY" not in err and not {"public_key", "jwks"} & set(section)
    token = TokenBackend(algorithm, key).encode({"user_id": "42"})
    assert jwt.decode(token, section["secret"], algorithms=section["algorithms"]) == {"user_id": "42"}


@pytest.mark.parametrize("key", [SECRET, SECRET.encode(), OLD_SECRET, SECRET + "jwt", "jwt" + SECRET, SECRET[:32], SECRET[9:]])
def test_secret_key_is_not_printed(key):
    with override_settings(SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=[OLD_SECRET], SIMPLE_JWT={"SIGNING_KEY": key}):
        out, err = run()
    assert "secret" not in parse(out)["authn.jwt"][0]
    assert '"SIGNING_KEY": os.environ["JWT_SIGNING_KEY"]' in err
    for secret in (SECRET, OLD_SECRET, SECRET[:32], SECRET[9:]):
        assert secret not in out + err


def test_secret_key_is_not_printed_after_a_change_that_simplejwt_did_not_see():
    with override_settings(SECRET_KEY="another-" * 7, SIMPLE_JWT={}):
        out, err = run()
    assert "secret" not in parse(out)["authn.jwt"][0] and SECRET not in out + err and "another-" not in out + err


@pytest.mark.parametrize("key,text", [("", "less than 16 bytes"), (None, "less than 16 bytes"), ("hunter2", "less than 16 bytes"), (b"\xff" * 32, "is not UTF-8")])
def test_a_secret_that_cannot_be_used(key, text):
    section, err = printed({"SIGNING_KEY": key})
    assert "secret" not in section and text in err and "hunter2" not in err


def pair(key):
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return private, key.public_key()


def pem(public):
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture(scope="module")
def rsa_pair():
    return pair(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def check_public(algorithm, private, verifying, public):
    section, err = printed({"ALGORITHM": algorithm, "SIGNING_KEY": private, "VERIFYING_KEY": verifying})
    assert (section["algorithms"], section["public_key"]) == ([algorithm], pem(public))
    assert "PRIVATE" not in str(section) + err and not {"secret", "jwks"} & set(section)
    token = TokenBackend(algorithm, private).encode({"user_id": "42"})
    assert jwt.decode(token, section["public_key"], algorithms=section["algorithms"]) == {"user_id": "42"}
    return err


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256"])
def test_a_public_key(rsa_pair, algorithm):
    private, public = rsa_pair
    assert "VERIFYING_KEY" not in check_public(algorithm, private, pem(public), public)


@pytest.mark.parametrize("algorithm,key", [("ES256", ec.generate_private_key(ec.SECP256R1())), ("ES384", ec.generate_private_key(ec.SECP384R1())), ("ES512", ec.generate_private_key(ec.SECP521R1())), ("EdDSA", ed25519.Ed25519PrivateKey.generate())])
def test_a_public_key_of_a_curve(algorithm, key):
    private, public = pair(key)
    check_public(algorithm, private, pem(public), public)


def test_public_keys_in_other_words(rsa_pair):
    private, public = rsa_pair
    check_public("RS256", private, pem(public).encode(), public)
    check_public("RS256", private, public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode(), public)
    check_public("RS256", private, public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode(), public)
    assert "holds the private key" in check_public("RS256", private, private, public)


@pytest.mark.parametrize("key", ["", None, "hunter2", "-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----"])
def test_a_public_key_that_is_none(rsa_pair, key):
    section, err = printed({"ALGORITHM": "RS256", "SIGNING_KEY": rsa_pair[0], "VERIFYING_KEY": key})
    assert "VERIFYING_KEY is no public key" in err and "hunter2" not in err
    assert section == {"algorithms": ["RS256"], "user_claim": "user_id", "users": "django"}


@pytest.mark.parametrize(
    "address,jwks,text",
    [
        ("https://id.example.com/jwks.json", True, ""),
        ("http://127.0.0.1:8000/jwks", True, ""),
        ("http://[::1]/jwks", True, ""),
        ("http://id.internal/jwks", True, "jwks_insecure = true"),
        ("https://u:hunter2@id.example.com/jwks", False, "holds a user or password"),
        ("file:///srv/jwks.json", False, "no address of http or https"),
    ],
)
def test_a_key_set(address, jwks, text):
    section, err = printed({"ALGORITHM": "RS256", "JWK_URL": address, "VERIFYING_KEY": "not used"})
    assert section.get("jwks") == (address if jwks else None)
    assert "public_key" not in section and "hunter2" not in err
    assert text in err if text else "JWK" not in err


def test_a_key_set_is_not_used_with_a_secret():
    assert "jwks" not in own(JWK_URL="https://id.example.com/jwks.json")[0]


@pytest.mark.parametrize("algorithm", ["ES256K", "none"])
def test_an_algorithm_that_gatecast_does_not_know(algorithm):
    with override_settings(SIMPLE_JWT={"ALGORITHM": algorithm}):
        out, err = run()
    assert "authn.jwt" not in parse(out) and "ALGORITHM %s, which Gatecast does not verify" % algorithm in err


# Claims and times


@pytest.mark.parametrize("audience,want,text", [(None, None, ""), ("chat", "chat", ""), (["chat"], "chat", ""), (("chat", "shop"), "chat", "AUDIENCE has chat, shop")])
def test_audiences(audience, want, text):
    section, err = own(AUDIENCE=audience)
    assert section.get("audience") == want and (text in err if text else "AUDIENCE" not in err)


@pytest.mark.parametrize("issuer,want,note", [(None, None, False), ("https://site", "https://site", False), (["a", "b"], None, True)])
def test_issuers(issuer, want, note):
    section, err = own(ISSUER=issuer)
    assert section.get("issuer") == want and ("ISSUER is not a text" in err) == note


@pytest.mark.parametrize(
    "leeway,want,text",
    [
        (0, None, ""),
        (None, None, ""),
        (10, "10s", ""),
        (1.5, "1500ms", ""),
        (timedelta(minutes=2), "120s", ""),
        (timedelta(milliseconds=2500), "2500ms", ""),
        (3600, "600s", "not between 0 and 10 minutes"),
        (-5, "0s", "not between 0 and 10 minutes"),
        ("10", None, "no number of seconds"),
        (lambda: 10, None, "no number of seconds"),
    ],
)
def test_leeway(leeway, want, text):
    section, err = own(LEEWAY=leeway)
    assert section.get("leeway") == want and (text in err if text else "LEEWAY" not in err)


# Users


def test_claims_of_the_user():
    section, _ = own(USER_ID_CLAIM="sub", USER_ID_FIELD="pk", CHECK_REVOKE_TOKEN=True)
    assert section == {"algorithms": ["HS256"], "secret": OWN, "user_claim": "sub", "users": "django", "revoke_token_claim": "hash_password"}
    assert own(CHECK_REVOKE_TOKEN=True, REVOKE_TOKEN_CLAIM="pw")[0]["revoke_token_claim"] == "pw"
    assert "revoke_token_claim" not in own()[0]
    assert "refuses inactive users all the same" in own(CHECK_USER_IS_ACTIVE=False)[1]


@pytest.mark.parametrize("field", ["username", "no_such"])
def test_users_by_another_column(field):
    section, err = own(USER_ID_FIELD=field, CHECK_REVOKE_TOKEN=True)
    assert section == {"algorithms": ["HS256"], "secret": OWN, "user_claim": "user_id", "user_prefix": field + "-"}
    assert "which is not the primary key" in err and "or from before a new password" in err
    section, err = printed({"SIGNING_KEY": OWN, "USER_ID_FIELD": field}, GATECAST={"url": "nats://x", "user_prefix": "shop-"})
    assert section["user_prefix"] == "shop-%s-" % field and "new password" not in err


@pytest.mark.parametrize("names,looked_up", [(["JWTStatelessUserAuthentication"], False), (["JWTTokenUserAuthentication"], False), (["JWTAuthentication"], True), (["JWTStatelessUserAuthentication", "JWTAuthentication"], True)])
def test_users_that_the_site_does_not_look_up(names, looked_up):
    more = {"REST_FRAMEWORK": {"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication." + name for name in names]}}
    section, err = printed({"SIGNING_KEY": OWN, "CHECK_REVOKE_TOKEN": True}, GATECAST={"url": "nats://x", "user_prefix": "shop-"}, **more)
    want = {"users": "django", "revoke_token_claim": "hash_password"} if looked_up else {"user_prefix": "shop-"}
    assert section == {"algorithms": ["HS256"], "secret": OWN, "user_claim": "user_id", **want}
    assert "its own" not in err


def test_classes_of_the_project(monkeypatch):
    class Other(JWTAuthentication):
        def get_user(self, validated_token):
            return None

        def authenticate(self, request):
            return None

    monkeypatch.setitem(sys.modules, "own_authentication", types.SimpleNamespace(Own=Other))
    _, err = printed({"SIGNING_KEY": OWN}, **BY_CLASS)
    assert "Other has its own get_user" in err and "Other has its own authenticate: if it reads a cookie, set cookie_name" in err and "get_validated_token" not in err
    monkeypatch.setitem(sys.modules, "own_authentication", types.SimpleNamespace(Own=Own))
    assert "has its own" not in printed({"SIGNING_KEY": OWN}, **BY_CLASS)[1]


# What Gatecast looks at elsewhere, or not at all


def test_headers():
    assert "AUTH_HEADER" not in own(AUTH_HEADER_TYPES=("Bearer", "token"))[1]
    assert 'AUTH_HEADER_TYPES has JWT: set schemes = ["Bearer", "Token", "JWT"] in [authn]' in own(AUTH_HEADER_TYPES=("Bearer", "JWT"))[1]
    assert '"Token", "JWT"]' in own(AUTH_HEADER_TYPES="JWT")[1]
    assert 'token_headers = ["X-Access-Token"] in [authn]' in own(AUTH_HEADER_NAME="HTTP_X_ACCESS_TOKEN")[1]


def test_other_claims():
    assert "_CLAIM" not in own(JTI_CLAIM=None)[1]
    assert "it takes refresh tokens for access tokens" in own(TOKEN_TYPE_CLAIM="typ")[1]
    assert "{attr.uid}" in own(JTI_CLAIM="uid")[1]


class ServiceToken(AccessToken):
    token_type = "service"


def test_types_of_tokens(monkeypatch):
    tokens = "rest_framework_simplejwt.tokens."
    blacklist = {"INSTALLED_APPS": [*settings.INSTALLED_APPS, "rest_framework_simplejwt.token_blacklist"]}
    both = {"SIGNING_KEY": OWN, "AUTH_TOKEN_CLASSES": (tokens + "AccessToken", tokens + "SlidingToken")}
    assert "blacklist" not in printed(both)[1]
    assert "a SlidingToken on it is good until it ends" in printed(both, **blacklist)[1]
    assert "blacklist" not in printed({"SIGNING_KEY": OWN}, **blacklist)[1]
    monkeypatch.setitem(sys.modules, "own_tokens", types.SimpleNamespace(ServiceToken=ServiceToken, UntypedToken=UntypedToken))
    _, err = own(AUTH_TOKEN_CLASSES=("own_tokens.ServiceToken", "own_tokens.UntypedToken"))
    assert "has ServiceToken of the type service" in err and "has UntypedToken of the type untyped" in err
