"""Users, groups and permissions that change: whoever they belong to is looked at again, on every node, once the change is committed.

QuerySet.update, bulk_update and raw SQL send no signal: after those, call revalidate(user), or leave it to the next sweep of the nodes.
"""

import contextlib
import functools
import logging

from . import _user_id
from .commit import MOST, after_commit, revalidate_users

log = logging.getLogger("gatecast")

UNAUTHORIZED = 4401
# Backends that let in users who are not active; the nodes know them by the same names.
ALLOW_ALL = frozenset(["django.contrib.auth.backends.AllowAllUsersModelBackend", "django.contrib.auth.backends.AllowAllUsersRemoteUserBackend"])
WATCHED = frozenset(["password", "is_active", "is_staff", "is_superuser"])  # by name in save(update_fields=…): update_last_login is no change


def connect():
    from django.apps import apps
    from django.contrib.auth import get_user_model
    from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
    from django.db.models import signals

    def listen(signal, receiver, sender):
        signal.connect(receiver, sender=sender, dispatch_uid="gatecast.%s.%s" % (receiver.__name__, sender._meta.label))

    def listen_to_all(signal, receiver, base):
        for model in apps.get_models():  # a proxy, or a child, sends signals of its own
            if issubclass(model, base):
                listen(signal, receiver, model)

    try:
        user = get_user_model()
    except ImproperlyConfigured:  # its app is not installed: a site without users
        return
    listen_to_all(signals.post_save, user_saved, user)
    listen_to_all(signals.post_delete, user_deleted, user)
    has = set()
    for name, receiver in (("groups", groups_of_users_changed), ("user_permissions", permissions_of_users_changed)):
        try:
            field = user._meta.get_field(name)
        except FieldDoesNotExist:  # a model without PermissionsMixin
            continue
        if field.many_to_many:
            listen(signals.m2m_changed, receiver, field.remote_field.through)
            has.add(name)
    if not has or not apps.is_installed("django.contrib.auth"):
        return
    from django.contrib.auth.models import Group, Permission

    if "groups" in has:
        listen(signals.m2m_changed, permissions_of_groups_changed, Group.permissions.through)
        listen_to_all(signals.post_save, group_saved, Group)
        listen_to_all(signals.pre_delete, group_deleted, Group)
    listen_to_all(signals.pre_delete, permission_deleted, Permission)


def quiet(receiver):
    """A receiver that never breaks what sends it the signal."""

    @functools.wraps(receiver)
    def received(*args, **kwargs):
        try:
            receiver(*args, **kwargs)
        except Exception:
            log.exception("%s: sockets may stay as they are until the next sweep", receiver.__name__)

    return received


@quiet
def user_saved(sender, instance, created=False, raw=False, using=None, update_fields=None, **_):
    """A save of the whole row may have changed anything, and is not compared with what was there: a look too many costs the nodes a query."""
    if created or raw or update_fields is not None and WATCHED.isdisjoint(update_fields):
        return
    if saved_inactive(instance, update_fields):
        end_logins(instance, "user deactivated", using)
    else:
        revalidate_users([instance.pk], using)


@quiet
def user_deleted(sender, instance, using=None, **_):
    end_logins(instance, "user deleted", using)


def end_logins(user, reason, using):
    """Not revalidate: a login by a token that says everything itself would outlive its user."""
    user_id = str(_user_id(user))
    after_commit(using, lambda: [("disconnect", {"user": user_id, "code": UNAUTHORIZED, "reason": reason})])


def saved_inactive(user, fields):
    """Whether a save of these fields, or of all, left a user whom Django lets in no more. A field that was not saved may say anything, or cost a query."""
    from django.conf import settings

    if fields is not None and "is_active" not in fields:
        return False
    return not getattr(user, "is_active", True) and ALLOW_ALL.isdisjoint(settings.AUTHENTICATION_BACKENDS)


@quiet
def groups_of_users_changed(sender, **change):
    _of_users_changed("groups", **change)


@quiet
def permissions_of_users_changed(sender, **change):
    _of_users_changed("user_permissions", **change)


def _of_users_changed(name, action, instance, reverse, pk_set, using, **_):
    """Receiver of m2m_changed, from the side of the user or, with reverse, from the other one."""
    if action == "pre_clear" and reverse:  # afterwards nobody knows whose they were
        revalidate_users(users_with(using, **{name: instance}), using, mass=True)
    elif action in ("post_add", "post_remove") and pk_set:
        revalidate_users(list(pk_set) if reverse else [instance.pk], using)
    elif action == "post_clear" and not reverse:
        revalidate_users([instance.pk], using)


@quiet
def permissions_of_groups_changed(sender, action, instance, reverse, pk_set, using, **_):
    """Receiver of m2m_changed of Group.permissions, from the side of the group or, with reverse, of the permission."""
    if action == "pre_clear" and reverse:
        with savepoint(using):
            groups = list(instance.group_set.using(using).values_list("pk", flat=True))
        members_changed(groups, using)
    elif action in ("post_add", "post_remove") and pk_set:
        members_changed(list(pk_set) if reverse else [instance.pk], using)
    elif action == "post_clear" and not reverse:
        members_changed([instance.pk], using)


@quiet
def group_saved(sender, instance, created=False, raw=False, using=None, update_fields=None, **_):
    """Grants go by the name of a group."""
    if not created and not raw and (update_fields is None or "name" in update_fields):
        members_changed([instance.pk], using)


@quiet
def group_deleted(sender, instance, using=None, **_):
    """Receiver of pre_delete: the memberships go without a signal of their own."""
    revalidate_users(users_with(using, groups=instance.pk), using, mass=True)


@quiet
def permission_deleted(sender, instance, using=None, **_):
    """Receiver of pre_delete, as group_deleted."""
    from django.contrib.auth import get_user_model

    fields = {field.name for field in get_user_model()._meta.many_to_many}
    for name, path in (("user_permissions", "user_permissions"), ("groups", "groups__permissions")):
        if name in fields:
            revalidate_users(users_with(using, **{path: instance.pk}), using, mass=True)


def members_changed(groups, using):
    revalidate_users(lambda: users_with(using, groups__in=groups), using, mass=True)


def users_with(using, **filters):
    """The primary keys of these users, at most one more than are told."""
    from django.contrib.auth import get_user_model

    with savepoint(using):
        return list(get_user_model()._base_manager.using(using).filter(**filters).order_by().values_list("pk", flat=True).distinct()[: MOST + 1])


def savepoint(using):
    """Around a query within the site's transaction: PostgreSQL would abort that with a query that fails."""
    from django.db import transaction

    return transaction.atomic(using=using) if transaction.get_connection(using).in_atomic_block else contextlib.nullcontext()
