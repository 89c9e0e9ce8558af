"""The settings. There is no database, no session and no login: what is measured is the way of a message through Channels."""

import os

SECRET_KEY = "only-loopback-hears-this"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "gatechannels.urls"
ASGI_APPLICATION = "gatechannels.asgi.application"
INSTALLED_APPS = ["channels"]
MIDDLEWARE = []
USE_TZ = True

# Log what goes wrong, and nothing a message or a connection: writing that costs more than some of the work measured.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            # A unix socket saves Redis and us the TCP of each of the calls that a message takes.
            # redis-py gives up on a read after 5 s since version 8, and the layer waits that long for a message: without
            # None, every connection that hears nothing for 5 s is closed.
            "hosts": [{"address": "unix://" + os.environ["REDIS_SOCKET"], "socket_timeout": None}],
            # Beyond its capacity, 100 by default and shared by all sockets of a process, the layer drops messages.
            # This is high enough that nothing is dropped for it, so slowness shows as latency.
            "capacity": 1_000_000,
        },
    },
}
