"""Make and change users and sessions by orders on standard input, one JSON object a line.

It stays running, because starting Django takes a second and a test gives many orders. Each order is answered by
one line: {"ok": true, …} or {"error": "…"}.
"""

import asyncio
import json
import sys
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from gatecast import AsyncPublisher, GatecastError
from gatecast.django import disconnect, get_publisher, group_send, notify, revalidate, ticket


class Command(BaseCommand):
    """people reads orders until its input ends."""

    help = "make and change users and sessions by JSON orders on standard input"

    def handle(self, *args: Any, **options: Any) -> None:
        """Answer each order."""
        self.say({"ok": True, "ready": True})
        for line in sys.stdin:
            order = json.loads(line)
            try:
                with transaction.atomic():
                    answer = getattr(self, "do_" + order.pop("do"))(**order)
            except Exception as err:  # the test shows it
                self.say({"error": f"{type(err).__name__}: {err}"})
            else:
                self.say({"ok": True, **(answer or {})})

    def say(self, answer: dict[str, Any]) -> None:
        """Write one answer."""
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    def user(self, username: str) -> Any:
        """Find a user by name."""
        return get_user_model().objects.get(username=username)

    def permission(self, perm: str) -> Permission:
        """Find a permission by "app.codename"."""
        app, codename = perm.split(".")
        return Permission.objects.get(content_type__app_label=app, codename=codename)

    def do_create(self, username: str, password: str, groups: list[str] = (), perms: list[str] = (), **flags: bool) -> dict[str, str]:
        """Create a user in groups, with permissions ("app.codename") and flags such as is_staff."""
        user = get_user_model().objects.create_user(username, password=password, **flags)
        for name in groups:
            user.groups.add(Group.objects.get_or_create(name=name)[0])
        for perm in perms:
            user.user_permissions.add(self.permission(perm))
        return {"id": str(user.pk)}

    def do_crowd(self, name: str, count: int, groups: list[str] = (), perms: list[str] = ()) -> dict[str, Any]:
        """Create many users, each with a session as login() makes it."""
        model, store = get_user_model(), import_string(settings.SESSION_ENGINE + ".SessionStore")
        users = [model(username=f"{name}{number}", password=make_password("a password")) for number in range(count)]
        model.objects.bulk_create(users)
        for group in groups:
            Group.objects.get_or_create(name=group)[0].user_set.add(*users)
        for perm in perms:
            self.permission(perm).user_set.add(*users)
        people = []
        for user in users:
            session = store()
            session.update(
                {SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0], HASH_SESSION_KEY: user.get_session_auth_hash()}
            )
            session.create()
            people.append({"id": str(user.pk), "name": user.username, "session": session.session_key})
        return {"people": people}

    def do_rows(self, sessions: list[str]) -> dict[str, int]:
        """Count the rows of sessions."""
        return {"rows": Session.objects.filter(session_key__in=sessions).count()}

    def do_flush(self, session: str) -> None:
        """End a session, as a site does that logs somebody out elsewhere."""
        Session.objects.get(session_key=session).delete()

    def do_delete(self, username: str) -> None:
        """Delete a user."""
        self.user(username).delete()

    def do_take(self, perm: str, username: str = "", group: str = "") -> None:
        """Take a permission from a user or a Django group."""
        if username:
            self.user(username).user_permissions.remove(self.permission(perm))
        if group:
            Group.objects.get(name=group).permissions.remove(self.permission(perm))

    def do_give(self, perm: str, group: str) -> None:
        """Give a permission to a Django group."""
        Group.objects.get_or_create(name=group)[0].permissions.add(self.permission(perm))

    def do_set(self, username: str, quietly: bool = False, **fields: Any) -> None:
        """Set fields of a user; quietly without a signal."""
        if quietly:
            get_user_model().objects.filter(username=username).update(**fields)
            return
        user = self.user(username)
        for name, value in fields.items():
            setattr(user, name, value)
        user.save()

    def do_password(self, username: str, password: str) -> None:
        """Change a password."""
        user = self.user(username)
        user.set_password(password)
        user.save()

    def do_join(self, username: str, group: str) -> None:
        """Put a user into a Django group."""
        self.user(username).groups.add(Group.objects.get_or_create(name=group)[0])

    def do_part(self, username: str, group: str, quietly: bool = False) -> None:
        """Take a user out of a Django group; quietly without a signal."""
        user, group = self.user(username), Group.objects.get(name=group)
        if quietly:
            memberships = user.groups.through.objects.filter(group=group)
            memberships._raw_delete(memberships.db)
            return
        user.groups.remove(group)

    def do_expire(self, session: str) -> None:
        """Let a session's row be over since a minute."""
        Session.objects.filter(session_key=session).update(expire_date=timezone.now() - timedelta(minutes=1))

    def do_rewrite(self, session: str, **changes: Any) -> dict[str, str]:
        """Change what a session holds; without a session make a new one. None takes a key out."""
        store = import_string(settings.SESSION_ENGINE + ".SessionStore")(session or None)
        for name, value in changes.items():
            if value is None:
                store.pop(name, None)
            else:
                store[name] = value
        store.save()
        return {"session": store.session_key}

    def do_tamper(self, session: str) -> None:
        """Change the last character of a session's signature."""
        row = Session.objects.get(session_key=session)
        row.session_data = row.session_data[:-1] + ("B" if row.session_data[-1] == "A" else "A")
        row.save()

    def do_token(self, username: str, kind: str, seconds: int = 3600) -> dict[str, str]:
        """Give a user a token, as the views of the two packages do; one of knox ends after so many seconds."""
        if kind == "drf":
            from rest_framework.authtoken.models import Token

            return {"token": Token.objects.get_or_create(user=self.user(username))[0].key}
        from knox.models import AuthToken

        return {"token": AuthToken.objects.create(user=self.user(username), expiry=timedelta(seconds=seconds))[1]}

    def do_drop_tokens(self, username: str, kind: str, quietly: bool = False) -> None:
        """Delete a user's tokens; quietly as raw SQL does, without a signal."""
        if kind == "drf":
            from rest_framework.authtoken.models import Token as model
        else:
            from knox.models import AuthToken as model
        tokens = model.objects.filter(user=self.user(username))
        if quietly:
            tokens._raw_delete(tokens.db)
        else:
            tokens.delete()

    def do_tickets(self, username: str, count: int = 1, **options: Any) -> dict[str, list[str]]:
        """Sign tickets for a user."""
        return {"tickets": [ticket(self.user(username), **options) for _ in range(count)]}

    def do_notify(self, username: str, data: Any) -> None:
        """Send to a user."""
        notify(self.user(username), data)

    def do_many(self, group: str, count: int) -> None:
        """Send numbers in one call."""
        get_publisher().group_send_many([(group, number) for number in range(count)])

    def do_asynchronous(self, group: str, count: int) -> None:
        """Send numbers from an event loop."""

        async def send() -> None:
            publisher = AsyncPublisher(settings.GATECAST["url"], user=settings.GATECAST["user"], token=settings.GATECAST["token"])
            for number in range(count):
                await publisher.group_send(group, number)
            await publisher.close()

        asyncio.run(send())

    def do_on_commit(self, group: str, data: Any, fail: bool) -> None:
        """Send when the transaction has committed, or roll it back."""
        try:
            with transaction.atomic(durable=False):
                group_send(group, data, on_commit=True)
                if fail:
                    raise RuntimeError("roll back")
        except RuntimeError:
            pass

    def do_revalidate(self, username: str) -> None:
        """Have a user's logins looked at again."""
        revalidate(self.user(username), on_commit=True)

    def do_disconnect(self, username: str) -> dict[str, int]:
        """Close a user's sockets."""
        return {"conns": disconnect(user=self.user(username))}

    def do_bad_send(self, group: str, data: Any) -> dict[str, str]:
        """Send what is refused, and tell the code."""
        try:
            group_send(group, data)
        except GatecastError as err:
            return {"code": err.code}
        return {"code": "ok"}
