"""Send to the WebSockets of a Gatecast cluster.

``Publisher`` is for ordinary code (Django views, Celery tasks, scripts), ``AsyncPublisher`` for code that runs in an event loop. Both
speak to the cluster's NATS port with the credentials of a ``[[broker.services]]`` entry.
"""

from .errors import BadRequest, Forbidden, GatecastError, Timeout, TooLarge, Unavailable
from .names import escape, group_name, quote
from .publisher import AsyncPublisher, session_hash
from .threaded import Publisher

__all__ = [
    "AsyncPublisher",
    "BadRequest",
    "Forbidden",
    "GatecastError",
    "Publisher",
    "Timeout",
    "TooLarge",
    "Unavailable",
    "escape",
    "group_name",
    "quote",
    "session_hash",
]
__version__ = "0.1.0"
