"""What the cluster is told of a change, once it is committed: each call once a transaction, without waiting for the answer.

Nothing here raises. A cluster that cannot be reached, or does not answer, costs the site a line in its log; the next sweep of every node
(authn.revalidate) sees what it was not told.
"""

import logging

import django
from django.db import transaction

from . import _user_id, get_publisher

log = logging.getLogger("gatecast")

MOST = 5000  # calls of one transaction, or users of one change: a sweep looks at more of them sooner than they are told one by one
AT_ONCE = 500  # users of one call, of which a node takes 1,000
_ROBUST = {"robust": True} if django.VERSION >= (4, 2) else {}


def after_commit(using, find):
    """Make the calls that find returns, a list of (name of the call, its arguments), once the transaction of database using is committed.

    find is called then, so that what it reads is the state that the nodes will read. Which calls were made before is decided then too: a callback that
    was registered within a savepoint may be gone by the time of the commit.
    """
    connection = transaction.get_connection(using)
    told = connection.__dict__.setdefault("_gatecast_told", {})  # by all callbacks of this transaction; still empty if it rolls back

    def tell():
        if connection.__dict__.get("_gatecast_told") is told:  # what other callbacks change is in a transaction of its own
            del connection.__dict__["_gatecast_told"]
        try:
            calls = {(name, *sorted(arguments.items())): (name, arguments) for name, arguments in find()}
            fresh = [call for key, call in calls.items() if key not in told]
            if len(told) + len(fresh) > MOST:
                log.warning("more than %d logins change at once: the next sweep of the nodes looks at them", MOST)
                return
            told.update(calls)
            if fresh:
                get_publisher().control_many(list(merged(fresh)), wait=False)
        except Exception:
            log.exception("a change of logins was committed and not told: sockets may stay as they are until the next sweep")

    transaction.on_commit(tell, using=using, **_ROBUST)


def merged(calls):
    """The same calls, with those of revalidate in as few as may be."""
    users = [arguments["user"] for name, arguments in calls if name == "revalidate"]
    for i in range(0, len(users), AT_ONCE):
        yield "revalidate", {"user": users[i : i + AT_ONCE]}
    yield from (call for call in calls if call[0] != "revalidate")


def revalidate_users(keys, using):
    """Have the logins of the users with these primary keys looked at again; keys may be a function that returns them after the commit."""

    def find():
        return [("revalidate", {"user": user}) for user in user_ids(keys() if callable(keys) else keys)]

    after_commit(using, find)


def user_ids(keys):
    """The ids of users as Gatecast knows them, made of their primary keys."""
    from django.contrib.auth import get_user_model

    user = get_user_model()()
    for key in keys:
        user.pk = key
        yield str(_user_id(user))
