"""Log many users in at once, for a storm of them."""

import json
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone
from django.utils.module_loading import import_string


class Command(BaseCommand):
    """crowd prints the session keys of that many new users, each logged in as django.contrib.auth.login does, with one password hashed once."""

    help = "make users that are logged in, and print their session keys as JSON"

    def add_arguments(self, parser: CommandParser) -> None:
        """Take their number and the beginning of their names."""
        parser.add_argument("count", type=int)
        parser.add_argument("--prefix", default="crowd")

    def handle(self, count: int, prefix: str, **options: Any) -> None:
        """Make them in two statements."""
        password = make_password("crowd")
        users = [get_user_model()(username=f"{prefix}{i}", password=password) for i in range(count)]
        get_user_model().objects.bulk_create(users, batch_size=1000)
        store = import_string(settings.SESSION_ENGINE + ".SessionStore")()
        rows, expires = [], timezone.now() + timedelta(days=1)
        for user in users:
            data = {
                SESSION_KEY: user._meta.pk.value_to_string(user),
                BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
                HASH_SESSION_KEY: user.get_session_auth_hash(),
            }
            rows.append(Session(session_key=store._get_new_session_key(), session_data=store.encode(data), expire_date=expires))
        Session.objects.bulk_create(rows, batch_size=1000)
        self.stdout.write(json.dumps([row.session_key for row in rows]))
