"""The pages and the orders of people in one process, for tests that run many sites; and orders about sessions, whatever the engine."""

import os
import time
from io import StringIO
from threading import Thread
from typing import Any
from unittest import mock

from django.conf import settings
from django.core.cache import caches
from django.core.management import call_command
from django.core.management.base import CommandParser
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler, get_internal_wsgi_application
from django.test import Client, override_settings
from django.utils.module_loading import import_string

from chat.management.commands import people


class Command(people.Command):
    """site serves until its input ends."""

    help = "serve the pages at an address and follow the orders of people on standard input"

    def add_arguments(self, parser: CommandParser) -> None:
        """One address."""
        parser.add_argument("address", help="host:port")

    def handle(self, *args: Any, address: str, **options: Any) -> None:
        """Serve in a thread, and answer each order."""
        host, port = address.split(":")
        server = ThreadedWSGIServer((host, int(port)), WSGIRequestHandler)
        server.set_app(get_internal_wsgi_application())
        Thread(target=server.serve_forever, daemon=True).start()
        super().handle(*args, **options)

    def store(self, session: str | None = None) -> Any:
        """The session of a key, or a new one."""
        return import_string(settings.SESSION_ENGINE + ".SessionStore")(session)

    def engine(self) -> str:
        """The engine's last word."""
        return settings.SESSION_ENGINE.rpartition(".")[2]

    def do_keys(self, **changes: Any) -> dict[str, str]:
        """What gatecast_keys prints, with these settings changed."""
        printed = StringIO()
        with override_settings(**changes):
            call_command("gatecast_keys", with_database_password=True, stdout=printed, stderr=StringIO())
        return {"printed": printed.getvalue()}

    def do_who(self, session: str, **changes: Any) -> dict[str, str | None]:
        """Whom Django itself takes the bearer of a session for, with these settings changed. It may delete the session, as Django does."""
        with override_settings(**changes):
            client = Client(HTTP_HOST="127.0.0.1")
            client.cookies[settings.SESSION_COOKIE_NAME] = session
            return {"user": client.get("/").json()["user"]}

    def do_flush(self, session: str) -> None:
        """Delete a session without a word to anybody."""
        self.store(session).flush()

    def do_link(self, session: str, cookie: str) -> None:
        """Give a session's file the name it has where the cookie is called otherwise."""
        path = self.store(session)._key_to_file()
        os.link(path, os.path.join(os.path.dirname(path), cookie + session))

    def do_forge(self, session: str, user: str) -> dict[str, str]:
        """Do to a session what somebody can who may write where it is kept, but has no key."""
        if self.engine() == "cache":  # nothing is signed: make it another user's
            store = self.store(session)
            store["_auth_user_id"] = user
            store.save()
        elif self.engine() == "file":
            path = self.store(session)._key_to_file()
            with open(path) as file:
                data = file.read()
            with open(path, "w") as file:
                file.write(altered(data))
        elif self.engine() == "signed_cookies":
            session = altered(session)
        else:
            if self.engine() == "cached_db":
                store = self.store(session)
                caches[settings.SESSION_CACHE_ALIAS].delete(getattr(store, "cache_key"))
            self.do_tamper(session)
        return {"session": session}

    def do_end(self, session: str) -> dict[str, str]:
        """Let a session be over soon, or at once where the engine goes by the age of what it wrote."""
        store = self.store(session)
        if self.engine() == "file":
            past = time.time() - settings.SESSION_COOKIE_AGE - 60
            os.utime(store._key_to_file(), (past, past))
        elif self.engine() == "signed_cookies":
            now = time.time()
            store.update(store.load())
            with mock.patch("django.core.signing.time.time", lambda: now - settings.SESSION_COOKIE_AGE - 60):
                store.save()
            session = store.session_key
        else:
            store.set_expiry(2)
            store.save()
        return {"session": session}

    def do_otp(self, username: str) -> dict[str, str]:
        """Give a user a device of django-otp with one token."""
        from django_otp.plugins.otp_static.models import StaticDevice, StaticToken

        device = StaticDevice.objects.create(user=self.user(username), name="paper")
        return {"device": device.persistent_id, "token": device.token_set.create(token=StaticToken.random_token()).token}

    def do_verify(self, username: str) -> None:
        """Do what the link does that allauth has sent."""
        from allauth.account.models import EmailAddress

        address = EmailAddress.objects.get(user=self.user(username))
        address.set_verified(commit=True)

    def do_mfa(self, username: str) -> dict[str, str]:
        """Switch on allauth's MFA for a user; a recovery code, which unlike the other codes does not depend on the time."""
        try:
            from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
            from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
        except ImportError:  # before allauth 65
            from allauth.mfa.recovery_codes import RecoveryCodes
            from allauth.mfa.totp import TOTP, generate_totp_secret
        user = self.user(username)
        TOTP.activate(user, generate_totp_secret())
        return {"code": RecoveryCodes.activate(user).get_unused_codes()[0]}


def altered(signed: str) -> str:
    """Another signature of the same length."""
    return signed[:-2] + ("BA" if signed[-2:] != "BA" else "AB")
