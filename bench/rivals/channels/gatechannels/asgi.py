"""Where HTTP goes to Django and WebSockets to the consumers."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gatechannels.settings")
django = get_asgi_application()  # before what needs the settings is imported

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from .consumers import Member, Publisher  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django,
        "websocket": URLRouter([path("member", Member.as_asgi()), path("publish", Publisher.as_asgi())]),
    }
)

# The harness counts these lines: one for each process that is about to serve.
print("serving", os.getpid(), flush=True)
