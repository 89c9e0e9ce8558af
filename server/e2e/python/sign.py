"""Make and check tokens with PyJWT and djangorestframework-simplejwt: an order a line, an answer a line.

sign.py SIMPLE_JWT: the setting of a Django project, as JSON.
"""

import json
import sys

import django
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.conf import settings

settings.configure(
    SECRET_KEY="not used for tokens of this project",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework_simplejwt"],
    SIMPLE_JWT=json.loads(sys.argv[1]),
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, SlidingToken  # noqa: E402

CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


def new_key(alg: str) -> dict:
    """Make a key pair for an algorithm, as PEM, and its public half as PyJWT writes it into a key set."""
    if alg in CURVES:
        private = ec.generate_private_key(CURVES[alg]())
    elif alg == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key()
    return {
        "private": private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "public": public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode(),
        "jwk": json.loads(jwt.get_algorithm_by_name(alg).to_jwk(public)),
    }


def answer(order: dict) -> dict:
    """Do one order."""
    match order.pop("do"):
        case "key":
            return new_key(**order)
        case "sign":
            return {"token": jwt.encode(order["claims"], order["key"], order["alg"], headers=order.get("headers"))}
        case "simplejwt":
            kind = {"access": AccessToken, "refresh": RefreshToken, "sliding": SlidingToken}[order["type"]]
            token = kind.for_user(User(pk=order["user"]))
            return {"token": str(token), "exp": token["exp"]}
        case "simplejwt_check":
            return {"user": AccessToken(order["token"])["user_id"]}
        case "check":
            claims = jwt.decode(order["token"], order["key"], algorithms=[order["alg"]], audience=order.get("audience"))
            return {"user": claims["sub"]}
    return {"error": "unknown order"}


def main() -> None:
    """Serve until standard input ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        try:
            out = answer(json.loads(line))
        except Exception as err:  # noqa: BLE001 - the test tells it
            out = {"error": repr(err)}
        print(json.dumps(out), flush=True)


if __name__ == "__main__":
    main()
