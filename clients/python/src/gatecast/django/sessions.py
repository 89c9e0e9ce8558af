"""Sessions whose rows are deleted: their sockets are closed once that is committed.

That is flush() and delete() of a session of the engines db and cached_db, also by a login of somebody else in the same browser, and deletions of rows by the ORM.
The engines cache and file send no signal: there only a logout is told, and the rest is seen by the next sweep of the nodes.
"""

from importlib import import_module

from . import session_hash
from .changes import UNAUTHORIZED, quiet
from .commit import after_commit

UID = "gatecast.session_deleted"


def connect():
    from django.conf import settings
    from django.db.models.signals import post_delete

    try:
        store = import_module(settings.SESSION_ENGINE).SessionStore
        if not hasattr(store, "get_model_class"):  # no rows
            return
        model = store.get_model_class()
    except Exception:  # the engine's application is not installed, as where all logins are tokens; Django tells who uses it nevertheless
        return
    post_delete.connect(session_deleted, sender=model, dispatch_uid=UID)
    keep_clearing_fast()


@quiet
def session_deleted(sender, instance, using=None, **_):
    """A session that is over has no sockets, and one of nobody none that matter: visitors may make and drop as many as they like. A logout, which was told
    at once, is told again here: it holds also if the transaction took longer than nodes remember it."""
    from django.contrib.auth import SESSION_KEY
    from django.utils import timezone

    if instance.expire_date <= timezone.now() or SESSION_KEY not in instance.get_decoded():
        return
    session = session_hash(instance.session_key)
    after_commit(using, lambda: [("disconnect", {"session": session, "code": UNAUTHORIZED, "reason": "session ended"})])


def keep_clearing_fast():
    """Let clearsessions stay one DELETE. With a receiver of post_delete, QuerySet.delete loads every row first, and of sessions that are over nobody has to
    be told (ADR 25)."""
    from asgiref.sync import sync_to_async
    from django.contrib.sessions.backends.db import SessionStore

    djangos = SessionStore.clear_expired.__func__
    if getattr(djangos, "gatecast", False):
        return

    def clear_expired(cls):
        from django.db.models.signals import post_delete, pre_delete
        from django.utils import timezone

        model = cls.get_model_class()
        others = [uid for (uid, sender), *_ in post_delete.receivers if sender in (id(None), id(model)) and uid != UID]
        if others or pre_delete.has_listeners(model) or model._meta.related_objects:
            return djangos(cls)
        expired = model.objects.filter(expire_date__lt=timezone.now())
        expired._for_write = True
        return expired._raw_delete(expired.db)

    async def aclear_expired(cls):
        return await sync_to_async(clear_expired)(cls)

    clear_expired.gatecast = True
    SessionStore.clear_expired = classmethod(clear_expired)
    if hasattr(SessionStore, "aclear_expired"):  # from Django 5.1 on
        SessionStore.aclear_expired = classmethod(aclear_expired)
