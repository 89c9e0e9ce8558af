"""What the cluster is told when users, groups, permissions and sessions change."""

import json
import socket
import subprocess
import sys
import time

import django
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY, logout
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group, Permission, User, update_last_login
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.models.signals import post_delete
from django.http import HttpRequest
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone
from django.utils.module_loading import import_string

import gatecast.django as gc
from gatecast import Unavailable, session_hash
from gatecast.django import changes, commit, signals


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(signals, "_hurry_until", 0.0)


@pytest.fixture
def people(site, tables):
    """ada and bob are editors, eve is nobody; editors may add users, and eve may delete them. What that told the cluster is forgotten."""
    Group.objects.all().delete()
    User.objects.all().delete()
    Session.objects.all().delete()
    ada, bob, eve = (User.objects.create_user(name) for name in ("ada", "bob", "eve"))
    editors = Group.objects.create(name="Editors")
    add, delete = (Permission.objects.get(codename=name) for name in ("add_user", "delete_user"))
    editors.user_set.set([ada, bob])
    editors.permissions.add(add)
    eve.user_permissions.add(delete)
    told(site)
    return type("People", (), {"ada": ada, "bob": bob, "eve": eve, "editors": editors, "add": add, "delete": delete})


def told(site):
    """The calls since the last time, in order; a call of revalidate for several users as one for each."""
    publisher, until = gc.get_publisher(), time.monotonic() + 10
    publisher.control_many([("revalidate", {"user": "first"})])
    while publisher._state.worker.telling:
        assert time.monotonic() < until
        publisher.control_many([("revalidate", {"user": "first"})])
    publisher.control_many([("revalidate", {"user": "mark"})])  # behind them
    calls = [(m[0].rpartition(".")[2], json.loads(m[2])) for m in site.published if b"first" not in m[2]]
    site.published.clear()
    assert calls.pop() == ("revalidate", {"user": "mark"})
    return [(name, {"user": user}) for name, body in calls if "users" in body for user in body["users"]] + [c for c in calls if "users" not in c[1]]


def again(*users):
    return [("revalidate", {"user": str(u.pk)}) for u in users]


def ended(key):
    return [("disconnect", {"session": session_hash(key), "code": 4401, "reason": "session ended"})]


class Customer(User):
    class Meta:
        proxy = True
        app_label = "auth"


def set_password(p):
    p.ada.set_password("another")
    p.ada.save()


def deactivate(user, **how):
    user.is_active = False
    user.save(**how)


def reactivate(user):
    User.objects.filter(pk=user.pk).update(is_active=False)
    user.save()


@pytest.mark.parametrize(
    "change,who",
    [
        (set_password, "ada"),
        (lambda p: User.objects.filter(pk=p.ada.pk).update(is_active=False), ""),  # no signal: the sweep's
        (lambda p: p.ada.save(update_fields=["is_active"]), "ada"),
        (lambda p: p.ada.save(update_fields=["email"]), ""),
        (lambda p: deactivate(p.ada, update_fields=["email"]), ""),
        (lambda p: deactivate(p.ada, update_fields=["password"]), "ada"),  # of is_active nothing was saved
        (lambda p: reactivate(p.ada), "ada"),
        (lambda p: update_last_login(None, p.ada), ""),
        (lambda p: User.objects.create_user("new"), ""),
        (lambda p: p.ada.groups.add(p.editors), ""),  # as she is
        (lambda p: p.eve.groups.add(p.editors), "eve"),
        (lambda p: p.ada.groups.remove(p.editors), "ada"),
        (lambda p: p.ada.groups.clear(), "ada"),
        (lambda p: p.ada.groups.set([]), "ada"),
        (lambda p: p.editors.user_set.add(p.ada, p.eve), "eve"),
        (lambda p: p.editors.user_set.remove(p.bob), "bob"),
        (lambda p: p.editors.user_set.clear(), "ada bob"),
        (lambda p: p.editors.user_set.set([p.bob, p.eve]), "ada eve"),
        (lambda p: p.editors.user_set.set([p.eve], clear=True), "ada bob eve"),
        (lambda p: p.ada.user_permissions.add(p.delete), "ada"),
        (lambda p: p.eve.user_permissions.set([]), "eve"),
        (lambda p: p.eve.user_permissions.clear(), "eve"),
        (lambda p: p.delete.user_set.add(p.bob), "bob"),
        (lambda p: p.delete.user_set.clear(), "eve"),
        (lambda p: p.editors.permissions.add(p.delete), "ada bob"),
        (lambda p: p.editors.permissions.remove(p.add), "ada bob"),
        (lambda p: p.editors.permissions.clear(), "ada bob"),
        (lambda p: p.editors.permissions.set([p.delete]), "ada bob"),
        (lambda p: p.delete.group_set.add(p.editors), "ada bob"),
        (lambda p: p.add.group_set.remove(p.editors), "ada bob"),
        (lambda p: p.add.group_set.clear(), "ada bob"),
        (lambda p: p.editors.save(), "ada bob"),
        (lambda p: p.editors.delete(), "ada bob"),
        (lambda p: Group.objects.all().delete(), "ada bob"),
        (lambda p: Group.objects.create(name="Empty").permissions.add(p.add), ""),
    ],
)
def test_who_is_looked_at_again(site, people, change, who):
    change(people)
    assert sorted(told(site), key=str) == sorted(again(*(getattr(people, name) for name in who.split())), key=str)


def test_a_permission_that_is_deleted(site, people):
    permission = Permission.objects.create(codename="moderate", name="may moderate", content_type=people.add.content_type)
    people.editors.permissions.add(permission)
    people.eve.user_permissions.add(permission)
    told(site)
    permission.delete()
    assert sorted(told(site), key=str) == sorted(again(people.ada, people.bob, people.eve), key=str)


@pytest.mark.parametrize("delete", [lambda u: u.delete(), lambda u: User.objects.filter(pk=u.pk).delete()])
def test_a_user_who_is_deleted(site, people, delete):
    id = str(people.ada.pk)
    delete(people.ada)
    assert told(site) == [("disconnect", {"user": id, "code": 4401, "reason": "user deleted"})]


def deactivated(user):
    return [("disconnect", {"user": str(user.pk), "code": 4401, "reason": "user deactivated"})]


@pytest.mark.parametrize("how", [{}, {"update_fields": ["is_active"]}, {"update_fields": ["email", "is_active"]}, {"force_update": True}])
def test_a_user_who_is_deactivated(site, people, how):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        deactivate(people.ada, **how)
        raise ZeroDivisionError
    with transaction.atomic():
        deactivate(people.ada, **how)
        people.ada.save()
        people.bob.save()
        assert told(site) == []
    assert told(site) == deactivated(people.ada) + again(people.bob)
    people.ada.save(**how)  # who was inactive before has no sockets, and is not looked for in the database
    assert told(site) == deactivated(people.ada)


def test_the_flag_of_a_user_is_not_loaded_to_be_looked_at(site, people):
    User.objects.filter(pk=people.ada.pk).update(is_active=False)
    ada = User.objects.only("password").get(pk=people.ada.pk)
    with CaptureQueriesContext(connection) as queries:
        ada.save()  # of what was loaded
    assert told(site) == again(ada) and not [q for q in queries if q["sql"].startswith("SELECT")]


@pytest.mark.parametrize("backend", sorted(changes.ALLOW_ALL))
def test_a_site_that_lets_in_inactive_users(site, people, backend):
    import_string(backend)
    with override_settings(AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend", backend]):
        deactivate(people.ada)
        assert told(site) == again(people.ada)


def test_a_user_model_without_is_active():
    class Member(AbstractBaseUser):
        class Meta:
            abstract = True

    assert not changes.saved_inactive(Member, None) and not changes.saved_inactive(object(), None)


def test_a_proxy_of_the_user_model(site, people):
    changes.connect()  # as if it had been there at the start
    ada = Customer.objects.get(pk=people.ada.pk)
    deactivate(ada)
    ada.groups.clear()
    assert told(site) == deactivated(ada) + again(ada)
    id = str(ada.pk)
    ada.delete()
    assert told(site) == [("disconnect", {"user": id, "code": 4401, "reason": "user deleted"})]


def test_rows_of_a_fixture_tell_nothing(site, people, tmp_path):
    call_command("dumpdata", "auth", output=str(tmp_path / "dump.json"), verbosity=0)
    call_command("loaddata", str(tmp_path / "dump.json"), verbosity=0)
    assert told(site) == []


def test_the_prefix_of_the_site(site, people):
    with override_settings(GATECAST={"url": site.url, "user_prefix": "shop-"}):
        people.editors.user_set.clear()
        assert {c[1]["user"] for c in told(site)} == {"shop-%d" % u.pk for u in (people.ada, people.bob)}


@pytest.mark.parametrize(
    "apps,engine",
    [
        ([], "db"),
        ([], "cached_db"),
        ([], "signed_cookies"),
        (["django.contrib.contenttypes", "django.contrib.auth"], "db"),
        (["django.contrib.sessions"], "db"),
    ],
)
def test_a_project_without_users_or_sessions_starts(apps, engine):
    """In a process of its own: INSTALLED_APPS is fixed once Django is set up."""
    code = """if True:
        import sys, django
        from django.conf import settings
        apps = sys.argv[2:]
        settings.configure(SECRET_KEY="x", INSTALLED_APPS=apps + ["gatecast.django"], SESSION_ENGINE="django.contrib.sessions.backends." + sys.argv[1])
        django.setup()
        from django.db.models.signals import post_delete, post_save
        heard = sorted({uid for signal in (post_delete, post_save) for (uid, _), *_ in signal.receivers if str(uid).startswith("gatecast.")})
        assert ("gatecast.session_deleted" in heard) == ("django.contrib.sessions" in apps), heard
        assert ("gatecast.user_saved.auth.User" in heard) == ("django.contrib.auth" in apps), heard
    """
    done = subprocess.run([sys.executable, "-c", code, engine, *apps], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Transactions


def test_nothing_is_told_before_the_commit_or_of_what_is_rolled_back(site, people):
    with transaction.atomic():
        people.ada.save()
        people.editors.delete()
        assert told(site) == []
    assert sorted(told(site), key=str) == sorted(again(people.ada, people.bob), key=str)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        people.ada.save()
        raise ZeroDivisionError
    assert told(site) == []


def test_each_is_told_once_a_transaction(site, people):
    with transaction.atomic():
        for _ in range(3):
            people.ada.save()
        people.ada.groups.clear()
        people.editors.permissions.clear()
        people.editors.save()
    assert told(site) == again(people.ada, people.bob)
    for _ in range(2):  # and the next transaction is another
        with transaction.atomic():
            people.ada.save()
    assert told(site) == again(people.ada) * 2


def test_a_savepoint_that_is_rolled_back_takes_nothing_else_with_it(site, people):
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            people.ada.save()
            people.eve.save()
            raise ZeroDivisionError
        people.ada.save()
    assert told(site) == again(people.ada)


def test_what_a_callback_changes_is_told_too(site, people):
    with transaction.atomic():
        people.ada.save()
        transaction.on_commit(people.ada.save)
        people.ada.save()
    assert told(site) == again(people.ada) * 2


def test_the_transaction_is_that_of_the_database(site, people):
    call_command("migrate", verbosity=0, database="other")
    user = User.objects.using("other").create(pk=77, username="other")
    with transaction.atomic():
        user.save(using="other")  # autocommits, whatever the default database does
        assert told(site) == again(user)
    with transaction.atomic(using="other"):
        user.save(using="other")
        assert told(site) == []
    assert told(site) == again(user)


# Sessions


def session(user=None, **data):
    store = SessionStore()
    if user:
        store.update({SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend"})
    store.update(data)
    store.create()
    store.save()
    return store


@pytest.mark.parametrize(
    "end",
    [
        lambda s: s.flush(),
        lambda s: s.cycle_key(),
        lambda s: s.delete(),
        lambda s: Session.objects.get(session_key=s.session_key).delete(),
        lambda s: Session.objects.filter(session_key=s.session_key).delete(),
    ],
)
def test_a_session_that_is_deleted(site, people, end):
    store = session(people.ada)
    key = store.session_key
    with transaction.atomic():
        end(store)
        assert told(site) == []
    assert told(site) == ended(key)


@pytest.mark.skipif(django.VERSION < (5, 1), reason="this Django has no sessions for async code")
def test_async_code(site, people):
    from django.contrib.auth import alogout

    request = request_of(people.ada)
    over = session(people.ada)
    Session.objects.filter(pk=over.session_key).update(expire_date=timezone.now())
    key = request.session.session_key

    async def auser():  # as the middleware puts it into requests
        return request.user

    async def act():
        request.auser = auser
        await SessionStore.aclear_expired()
        await alogout(request)
        await people.bob.asave()

    async_to_sync(act)()
    assert told(site) == [("disconnect", {"session": session_hash(key), "code": 4401, "reason": "logged out"})] + ended(key) + again(people.bob)


def test_sessions_of_nobody_and_those_that_are_over(site, people):
    session(cart=[1]).flush()
    over = session(people.ada)
    over.set_expiry(-1)
    over.save()
    over.flush()
    assert told(site) == []


def request_of(user):
    request = HttpRequest()
    request.user, request.session = user, session(user)
    return request


def test_a_logout_is_told_at_once_and_again_when_it_is_committed(site, people):
    request = request_of(people.ada)
    key = request.session.session_key
    with transaction.atomic():
        logout(request)
        assert told(site) == [("disconnect", {"session": session_hash(key), "code": 4401, "reason": "logged out"})]
    assert told(site) == ended(key)


def test_clearing_old_sessions_is_one_statement(site, people):
    over, good = session(people.ada), session(people.ada)
    Session.objects.filter(pk=over.session_key).update(expire_date=timezone.now())
    with CaptureQueriesContext(connection) as queries:
        call_command("clearsessions")
    assert [q["sql"].split()[0] for q in queries if "django_session" in q["sql"]] == ["DELETE"]
    assert list(Session.objects.values_list("pk", flat=True)) == [good.session_key]

    # Somebody else wants to hear of each: then it is as Django has it.
    heard = []
    receiver = lambda sender, instance, **_: heard.append(instance.pk)  # noqa: E731
    for sender in (Session, None):
        Session.objects.update(expire_date=timezone.now())
        post_delete.connect(receiver, sender=sender)
        try:
            call_command("clearsessions")
        finally:
            post_delete.disconnect(receiver, sender=sender)
        assert heard.pop() == good.session_key and not heard and not Session.objects.exists()
        good = session(people.ada)
    assert told(site) == []


# A cluster that is away, or does not answer


@pytest.mark.parametrize("cluster_is", ["not configured", "down", "hanging"])
def test_changes_are_made_without_gatecast(tables, cluster_is, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        port = {"down": 1, "hanging": silent.getsockname()[1]}.get(cluster_is)
        without_gatecast(port and {"url": "nats://127.0.0.1:%d" % port, "timeout": 0.2}, caplog)


def without_gatecast(settings, caplog):
    with override_settings(GATECAST=settings):
        began = time.monotonic()
        user = User.objects.create_user("away")
        with transaction.atomic():
            user.save()
            user.groups.add(Group.objects.get_or_create(name="Away")[0])
            Group.objects.filter(name="Away").delete()
            store = session(user)
            key = store.session_key
            store.flush()
        logout(request_of(user))
        user.delete()
        assert time.monotonic() - began < 30
        gc.reset_publisher()  # waits for what is on its way
    assert not User.objects.filter(username=user.username).exists() and not Session.objects.filter(pk=key).exists()
    assert all(r.name == "gatecast" for r in caplog.records) and caplog.records


def test_a_logout_waits_a_little_and_those_after_it_do_not(site, people, monkeypatch, caplog):
    monkeypatch.setattr(signals, "WAIT", 0.2)
    silent = lambda subject, body: None  # noqa: E731
    site.answer, good = silent, site.answer
    began = time.monotonic()
    logout(request_of(people.ada))
    assert 0.2 <= time.monotonic() - began < 30 and "do not wait" in caplog.text

    monkeypatch.setattr(signals, "WAIT", 60)
    began = time.monotonic()
    for _ in range(4):
        logout(request_of(people.ada))
    assert time.monotonic() - began < 30
    site.wait(10)  # each logout, and the end of its session's row

    monkeypatch.setattr(signals, "_hurry_until", 0.0)  # later, when it answers again
    site.answer = good
    logout(request_of(people.ada))
    assert signals._hurry_until == 0.0


def test_a_logout_has_waited_for_the_answer(site, people):
    answered = []

    def answer(subject, body):
        answered.append(subject)
        return {"ok": True, "conns": 0}

    site.answer = answer
    request = request_of(people.ada)
    signals.logged_out(sender=None, request=request, user=people.ada)
    assert answered == ["gc.ctl.disconnect"]


def test_a_thousand_members_are_a_query_and_three_calls(site, people):
    User.objects.bulk_create(User(username="member%d" % i) for i in range(998))
    editors = people.editors
    editors.user_set.set(User.objects.all())
    told(site)
    everybody = {str(pk) for pk in User.objects.values_list("pk", flat=True)}
    for change in (editors.permissions.clear, editors.delete):
        with CaptureQueriesContext(connection) as queries:
            change()
        assert len([q for q in queries if q["sql"].startswith("SELECT") and "auth_user" in q["sql"]]) == 1
        assert sum(m[0] == "gc.ctl.revalidate" for m in site.wait(3)) == 3
        calls = told(site)
        assert len(calls) == 1001 and {call[1]["user"] for call in calls} == everybody


def test_more_than_are_worth_telling_wait_for_the_sweep(site, people, monkeypatch, caplog):
    monkeypatch.setattr(commit, "MOST", 2)
    monkeypatch.setattr(changes, "MOST", 2)
    people.editors.permissions.clear()
    assert len(told(site)) == 2 and not caplog.records
    people.editors.user_set.add(people.eve, User.objects.create_user("dan"))
    told(site)
    people.editors.permissions.set([people.add])
    assert told(site) == [] and "the next sweep" in caplog.text
    caplog.clear()
    with transaction.atomic():  # what is told of one user is told, however many others change, and one line says the rest
        id = str(people.ada.pk)
        for _ in range(3):
            people.editors.save()
        for user in (people.ada, people.bob, people.eve):
            user.save()
        people.editors.permissions.clear()
        people.ada.delete()
    calls = [("disconnect", {"user": id, "code": 4401, "reason": "user deleted"}), ("revalidate", {"user": id}), *again(people.bob, people.eve)]
    assert sorted(told(site), key=str) == sorted(calls, key=str)
    assert [r.levelname for r in caplog.records] == ["WARNING"]


def test_an_id_that_cannot_be_one_stops_nobody_else(site, people, caplog):
    commit.revalidate_users(["", people.ada.pk, "x" * 200, people.bob.pk], "default")
    assert told(site) == again(people.ada, people.bob) and len(caplog.records) == 2


def test_a_query_of_ours_that_fails_leaves_the_transaction_as_it_is(site, people, caplog):
    def fail(execute, sql, params, many, context):
        if sql.startswith("SELECT") and ("auth_user" in sql or "auth_group" in sql):
            failed.append(sql)
            raise DatabaseError("no such column")
        return execute(sql, params, many, context)

    failed = []
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        with connection.execute_wrapper(fail):
            changes.group_deleted(Group, people.editors, using="default")
            changes.permissions_of_groups_changed(Group.permissions.through, action="pre_clear", instance=people.add, reverse=True, pk_set=None, using="default")
    assert len(failed) == 2 and caplog.text.count("sockets may stay as they are until the next sweep") == 2
    assert sum(q["sql"].startswith("ROLLBACK TO SAVEPOINT") for q in queries) == 2  # else PostgreSQL would refuse all that follows


def test_many_calls_are_a_few_at_a_time_and_given_up_when_nobody_answers(site):
    site.answer = lambda subject, body: None
    with override_settings(GATECAST={"url": site.url, "timeout": 0.3}):
        publisher = gc.get_publisher()
        with pytest.raises(Exception, match="1000 of 1000 calls were not carried out") as caught:
            publisher.control_many([("revalidate", {"user": str(n)}) for n in range(1000)])
    assert caught.value.code == "timeout"
    assert len(site.published) < 32  # as many as are on their way, and as many again while they fail

    site.published.clear()
    site.answer = lambda subject, body: {"error": {"code": "unavailable", "message": "no"}} if json.loads(body)["user"] == "7" else {"ok": True}
    with pytest.raises(Unavailable, match="1 of 100 calls were not carried out: no"):
        gc.get_publisher().control_many([("revalidate", {"user": str(n)}) for n in range(100)])
    assert len(site.published) == 100
    gc.get_publisher().control_many([])
