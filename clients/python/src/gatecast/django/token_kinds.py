"""Which tokens a project gives out, as the section [authn.token]: those of Django REST framework and of django-rest-knox."""

import hashlib
from binascii import unhexlify

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import router

SAMPLE = "0123456789abcdef"  # a token, to see how it is hashed
HASHES = {"sha512": hashlib.sha512, "sha3_512": hashlib.sha3_512}


class Tokens:
    """values are keys of [authn.token], none if the project gives out no tokens."""

    def __init__(self):
        self.values, self.notes = {}, []
        if apps.is_installed("rest_framework.authtoken"):
            self._drf()
        if apps.is_installed("knox"):
            self._knox()

    def _kind(self, kind, model, usual):
        self.values["kinds"] = self.values.get("kinds", []) + [kind]
        table = model._meta.db_table.replace('"', "")
        if table != usual:
            self.values[kind + "_table"] = table
        if router.db_for_read(model) != router.db_for_read(get_user_model()):
            self.notes.append("tokens of %s are in another database than the users: Gatecast reads both from one" % kind)

    def _drf(self):
        from rest_framework.authtoken.models import Token

        self._kind("drf", Token, "authtoken_token")

    def _knox(self):
        from knox import crypto, models
        from knox.settings import CONSTANTS, knox_settings

        model = models.get_token_model() if hasattr(models, "get_token_model") else models.AuthToken
        self._kind("knox", model, "knox_authtoken")
        try:
            model._meta.get_field("salt")
            self.notes.append("this django-rest-knox salts its digests, which Gatecast does not read: 4.2 and later do not")
            return
        except FieldDoesNotExist:
            pass
        raw = CONSTANTS.TOKEN_KEY_LENGTH == 8
        self.values["knox_version"] = 4 if raw else 5
        if getattr(knox_settings, "TOKEN_PREFIX", ""):
            self.values["knox_prefix"] = knox_settings.TOKEN_PREFIX
        if knox_settings.AUTH_TOKEN_CHARACTER_LENGTH != 64:
            self.values["knox_length"] = knox_settings.AUTH_TOKEN_CHARACTER_LENGTH
        digest = crypto.hash_token(SAMPLE)
        data = unhexlify(SAMPLE) if raw else SAMPLE.encode()
        found = [name for name, function in HASHES.items() if function(data).hexdigest() == digest]
        if not found:
            self.notes.append("knox's SECURE_HASH_ALGORITHM is none that Gatecast knows: sha512 and sha3_512 are")
        elif found[0] != "sha512":
            self.values["knox_hash"] = found[0]
