"""What the cluster is told of a change, once it is committed: each call once a transaction, without waiting for the answer.

Nothing here raises. A cluster that cannot be reached, or does not answer, costs the site a line in its log; the next sweep of every node
(authn.revalidate) sees what it was not told.
"""

import logging

import django
from django.db import transaction

from ..errors import BadRequest
from ..names import check_user_id
from . import _user_id, get_publisher

log = logging.getLogger("gatecast")

MOST = 5000  # users of one transaction that are found by their groups and permissions: a sweep looks at more of them sooner than they are told
_ROBUST = {"robust": True} if django.VERSION >= (4, 2) else {}


class Told(dict):
    """The calls that the callbacks of one transaction have made, by what they say."""

    found = 0  # of MOST
    warned = False


def after_commit(using, find, mass=False):
    """Make the calls that find returns, a list of (name of the call, its arguments), once the transaction of database using is committed.

    find is called then, so that what it reads is the state that the nodes will read. Which calls were made before is decided then too: a callback that
    was registered within a savepoint may be gone by the time of the commit. Those of a mass change are left to the sweep if they are more than MOST.
    """
    connection = transaction.get_connection(using)
    told = connection.__dict__.setdefault("_gatecast_told", Told())  # by all callbacks of this transaction; still empty if it rolls back

    def tell():
        if connection.__dict__.get("_gatecast_told") is told:  # what other callbacks change is in a transaction of its own
            del connection.__dict__["_gatecast_told"]
        try:
            calls = {(name, *sorted(arguments.items())): (name, arguments) for name, arguments in find()}
            fresh = [call for key, call in calls.items() if key not in told]
            if mass:
                told.found += len(fresh)
                if told.found > MOST:
                    if not told.warned:
                        log.warning("the groups or permissions of more than %d users change at once: the next sweep of the nodes looks at the rest of them", MOST)
                    told.warned = True
                    return
            told.update(calls)
            if fresh:
                get_publisher().tell_many(fresh)
        except Exception:
            log.exception("a change of logins was committed and not told: sockets may stay as they are until the next sweep")

    transaction.on_commit(tell, using=using, **_ROBUST)


def revalidate_users(keys, using, mass=False):
    """Have the logins of the users with these primary keys looked at again; keys may be a function that returns them after the commit."""

    def find():
        return [("revalidate", {"user": user}) for user in user_ids(keys() if callable(keys) else keys)]

    after_commit(using, find, mass)


def user_ids(keys):
    """The ids of users as Gatecast knows them, made of their primary keys. One that cannot be an id has no socket, and must not stop the others."""
    from django.contrib.auth import get_user_model

    user = get_user_model()()
    for key in keys:
        user.pk = key
        user_id = str(_user_id(user))
        try:
            check_user_id(user_id)
        except BadRequest as e:
            log.warning("a change of a user was not told: %s", e)
            continue
        yield user_id
