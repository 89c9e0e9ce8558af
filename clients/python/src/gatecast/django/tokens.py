"""Deleting a token of Django REST framework or django-rest-knox closes the sockets that logged in with it, everywhere."""

import logging

from .commit import revalidate_users

log = logging.getLogger("gatecast")


def connect():
    from django.apps import apps
    from django.conf import settings
    from django.db.models.signals import post_delete

    for label in ("authtoken.Token", getattr(settings, "KNOX_TOKEN_MODEL", "knox.AuthToken")):
        try:
            model = apps.get_model(label)
        except (LookupError, ValueError):  # not installed
            continue
        post_delete.connect(token_deleted, sender=model, dispatch_uid="gatecast.token_deleted." + label)


def token_deleted(sender, instance, using=None, **_):
    """Receiver of post_delete, also of each token that QuerySet.delete takes. Gatecast looks at the user's logins again when the deletion is committed;
    deletions by raw SQL wait for its next sweep."""
    try:
        revalidate_users([instance.user_id], using)  # not instance.user, who may be gone in the same deletion
    except Exception:
        log.exception("a token was deleted: its sockets may stay open until the next sweep")
