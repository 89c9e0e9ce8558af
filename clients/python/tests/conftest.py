import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fakenats import FakeNATS  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
SECRET = "django-insecure-vectors-0123456789abcdefghijklmnopqrstuvwxyz"
OLD_SECRET = "old-secret-key-0000000000000000000000000000000000000000"


def pytest_configure(config):
    import django
    from django.conf import settings

    if settings.configured:
        return
    settings.configure(
        SECRET_KEY=SECRET,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "gatecast.django"],
        DATABASES={alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for alias in ("default", "other")},
        USE_TZ=True,
    )
    django.setup()


@pytest.fixture
def cluster():
    with FakeNATS() as server:
        yield server


@pytest.fixture
def site(cluster):
    import gatecast.django as gc
    from django.test.utils import override_settings

    with override_settings(GATECAST={"url": cluster.url, "user": "django", "token": "t"}):
        yield cluster
    gc.reset_publisher()


@pytest.fixture(scope="module")
def tables():
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
