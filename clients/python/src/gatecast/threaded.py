"""Publisher: AsyncPublisher for code without an event loop, over a background thread."""

import asyncio
import atexit
import concurrent.futures
import functools
import logging
import os
import threading
import weakref

from .errors import Timeout, Unavailable
from .names import escape, group_name
from .publisher import AsyncPublisher, Encoded, disconnect_body, drop_socket, encode, headers_for, ids_of, member_body, merged

log = logging.getLogger("gatecast")

_GRACE = 2.0  # seconds the background thread may be late before its caller gives up on it

TELLING = 16  # tell_many under way at once; what comes meanwhile goes together when one of them ends
KEPT = 10000  # calls that wait for that: beyond them a sweep of the nodes sees the change, and the memory of the process stays

_publishers = weakref.WeakSet()
_abandoned = []  # of a parent process: kept, because their finalizers would touch what the parent still uses


class Publisher:
    """Sends to groups and ends connections. Threads may share it, and so may processes that fork: each makes its own connection.

    Nothing is connected before the first call. The arguments are those of AsyncPublisher; wait=False returns at once and leaves the sending to
    the background thread, which logs what fails.
    """

    def __init__(self, url="nats://127.0.0.1:4222", **options):
        self._make = functools.partial(AsyncPublisher, url, **options)
        self.timeout = self._make().timeout  # also refuses wrong arguments here and not in the thread
        self._default = options.get("default")
        self._state = _State()
        _publishers.add(self)

    def _here(self):
        """The state of this process."""
        state = self._state
        while state.pid != os.getpid():  # forked, and maybe many threads find out at once: setdefault has one of them win
            fresh = _State()
            heir = state.__dict__.setdefault("heir", fresh)
            self._state = heir
            if heir is fresh and state.worker is not None:
                state.worker.abandon()
            state = heir
        return state

    # Sending

    def group_send(self, group, data, *, format="json", msg_id=None, exclude=None, wait=True, timeout=None):
        """Put one message to every member of a group. Returns its sequence number in a durable group, else None.

        exclude is a conn id or several that do not get it.
        """
        # Encoded here: lazy translations are in the language of the caller's thread, a mistake is told to the caller, and data may change afterwards.
        escape(group), headers_for(format, msg_id, exclude)
        data = Encoded(encode(data, format, self._default))
        if not wait:
            self._run("group_send", group, data, wait_for=False, format=format, msg_id=msg_id, exclude=exclude, wait=False, timeout=timeout)
            return None
        return self._run("group_send", group, data, format=format, msg_id=msg_id, exclude=exclude, timeout=timeout)

    def group_send_many(self, messages, *, format="json", timeout=None):
        """Send many (group, data), in order. Returns their sequence numbers, or raises the first failure after all were sent.

        None is sent if one has a wrong group or data that cannot be encoded. timeout is for each message.
        """
        encoded = []
        for group, data in messages:
            escape(group)
            encoded.append((group, Encoded(encode(data, format, self._default))))
        return self._run("group_send_many", encoded, format=format, timeout=timeout, unbounded=True)

    def notify(self, user_id, data, **options):
        """group_send to the personal group of a user."""
        return self.group_send(group_name("user", user_id), data, **options)

    # Control

    def disconnect(self, *, user=None, session=None, conn=None, code=None, reason=None, timeout=None, wait=True):
        """Close the connections of a user, of a session (its session_hash) or with a conn id. Returns how many.

        wait may be a number of seconds: without an answer by then it returns None, and the background thread goes on.
        """
        disconnect_body(user, session, conn, code, reason)
        return self._run("disconnect", wait_for=wait, user=user, session=session, conn=conn, code=code, reason=reason, timeout=timeout)

    def group_add(self, group, *, user=None, conn=None, timeout=None):
        """Put the connections of a user, or one, into a group; no grant is needed."""
        member_body(group, user, conn)
        return self._run("group_add", group, user=user, conn=conn, timeout=timeout)

    def group_discard(self, group, *, user=None, conn=None, timeout=None):
        """Take the connections of a user, or one, out of a group."""
        member_body(group, user, conn)
        return self._run("group_discard", group, user=user, conn=conn, timeout=timeout)

    def revalidate(self, user, *, timeout=None, wait=True):
        """Look at the logins of a user again, after a change of rights; or of up to 1,000 users, as any iterable of their ids."""
        users = ids_of(user)  # here: a generator is read once, and a queryset not within an event loop
        return self._run("revalidate", users, wait_for=wait, timeout=timeout)

    def control_many(self, calls, *, timeout=30.0, wait=True):
        """Many calls of disconnect and revalidate, each (name, its arguments), a few at a time; see AsyncPublisher.control_many."""
        return self._run("control_many", list(calls), wait_for=wait, timeout=timeout)

    def tell_many(self, calls):
        """control_many that waits for nothing and stays within bounds however often it is called, also while the cluster is away."""
        calls, state = list(calls), self._here()
        batch = list(merged(calls))  # here: what is wrong with one is told its caller
        with state.mutex:
            worker = self._worker(state)
            if worker.telling >= TELLING:
                if len(worker.kept) + len(calls) <= KEPT:
                    worker.kept += calls
                elif not worker.full:
                    worker.full = True
                    log.warning("the cluster does not keep up, and %d changes wait for it: more of them are not told", len(worker.kept))
                return
            worker.telling += 1
            future = worker.submit("control_many", (batch,), {})
        future.add_done_callback(functools.partial(self._told, state, worker))

    def _told(self, state, worker, future):
        _log_failure("control_many", future)
        with state.mutex:
            rest, worker.kept, worker.full = worker.kept, [], False
            if not rest:
                worker.telling -= 1
                return
            future = worker.submit("control_many", (list(merged(rest)),), {})
        future.add_done_callback(functools.partial(self._told, state, worker))

    # The thread

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Send what is on its way, close the connection and end the thread. A later call starts them again."""
        state = self._state
        if state.pid != os.getpid():
            return
        with state.mutex:
            worker, state.worker = state.worker, None
            if worker is not None and worker.kept:
                rest, worker.kept = worker.kept, []
                worker.submit("control_many", (list(merged(rest)),), {}).add_done_callback(functools.partial(_log_failure, "control_many"))
        if worker is not None:
            worker.close()

    def _worker(self, state):
        if state.worker is None:
            state.worker = _Worker(self._make)
        return state.worker

    def _run(self, method, *args, wait_for=True, unbounded=False, timeout=None, **kwargs):
        state = self._here()
        with state.mutex:
            future = self._worker(state).submit(method, args, {**kwargs, "timeout": timeout})
        if wait_for is False:
            future.add_done_callback(functools.partial(_log_failure, method))
            return None
        limit = None if unbounded else (self.timeout if timeout is None else timeout) + _GRACE
        try:
            return future.result(limit if wait_for is True else wait_for)
        except concurrent.futures.CancelledError:
            raise Unavailable("the publisher was closed") from None
        except concurrent.futures.TimeoutError:
            if future.done():  # the call's own
                raise
            if wait_for is not True:
                future.add_done_callback(functools.partial(_log_failure, method))
                return None
            future.cancel()
            raise Timeout("the background thread does not answer") from None


def _log_failure(method, future):
    if future.cancelled():
        log.warning("%s: not sent, the publisher was closed", method)
    elif future.exception() is not None:
        log.warning("%s: %s", method, future.exception())


class _State:
    """What a Publisher has in one process. A child of a fork gets its own: the mutex may have been held, and the thread is not there."""

    def __init__(self):
        self.pid = os.getpid()
        self.mutex = threading.Lock()  # guards worker, and what it keeps
        self.worker = None


class _Worker:
    """One thread with one event loop and one connection."""

    def __init__(self, make):
        self._loop = asyncio.new_event_loop()
        self._publisher = make()
        self.telling = 0  # tell_many under way
        self.kept = []  # calls of tell_many that wait
        self.full = False  # some were dropped
        self._thread = threading.Thread(target=self._serve, name="gatecast-publisher", daemon=True)
        self._thread.start()

    def _serve(self):
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def submit(self, method, args, kwargs):
        return asyncio.run_coroutine_threadsafe(getattr(self._publisher, method)(*args, **kwargs), self._loop)

    def close(self):
        async def finish():
            # Let what was submitted before get onto the wire; each is bounded by its own timeout.
            mine = asyncio.current_task()
            rest = [t for t in asyncio.all_tasks() if t is not mine and getattr(t.get_coro(), "__qualname__", "").startswith("AsyncPublisher.")]
            if rest:
                await asyncio.wait(rest, timeout=_GRACE)
            await self._publisher.close()
            for t in asyncio.all_tasks():
                if t is not mine:
                    t.cancel()

        if not self._thread.is_alive():
            return
        try:
            asyncio.run_coroutine_threadsafe(finish(), self._loop).result(self._publisher.timeout + 3 * _GRACE)
        except Exception:
            log.debug("close", exc_info=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not threading.current_thread():
            self._thread.join(_GRACE)

    def abandon(self):
        """In the child of a fork: the thread is not here, the connection is the parent's. Give its descriptor back, so that the server sees the parent
        go, and touch nothing else: closing the loop would change the epoll set that the parent still uses."""
        _abandoned.append(self)
        drop_socket(self._publisher._nc)


def _after_fork():
    for publisher in list(_publishers):
        publisher._state.pid = 0  # in a pid namespace of its own the child may have the parent's pid
        publisher._here()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _close_all():
    for publisher in list(_publishers):
        try:
            publisher.close()
        except Exception:
            log.debug("close at exit", exc_info=True)
