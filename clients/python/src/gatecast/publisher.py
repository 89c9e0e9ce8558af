"""AsyncPublisher: the calls over one NATS connection of one event loop."""

import asyncio
import hashlib
import json
import logging
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from uuid import UUID

from .errors import BadRequest, Forbidden, GatecastError, Timeout, TooLarge, Unavailable, error_for
from .names import check_name, check_user_id, escape, group_name

log = logging.getLogger("gatecast")

FORMATS = ("json", "text", "binary", "msgpack")
DEFAULT_TIMEOUT = 5.0
MANY_IN_FLIGHT = 256  # requests of one group_send_many without an answer yet
CONTROLS_IN_FLIGHT = 16  # of all control_many together: a node serves 256 from the whole site, and each may ask its database
AT_ONCE = 500  # users of one call of many, of which a node takes 1,000
_NAMESPACE = re.compile(r"[a-z0-9_-]{1,16}\Z")
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_VISIBLE = frozenset(range(0x21, 0x7F)) - {ord("%")}
_HEADER_ROOM = 1024  # of max_payload, for the header block beside Gc-Id and Gc-Exclude
_MAX_HEADER = 4096


def session_hash(session_key):
    """What names a Django session in ``disconnect``: the hex SHA-256 of its key, so that no key travels."""
    return hashlib.sha256(session_key.encode()).hexdigest()


class Encoded(bytes):
    """A body that encode has made already."""


def encode(data, format="json", default=None):
    """The body of a message. ``msgpack`` takes bytes that are packed already, or packs by the msgpack package."""
    if isinstance(data, Encoded):
        return data
    if format == "json":
        try:
            text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default)
        except (TypeError, ValueError, RecursionError) as e:
            raise BadRequest("data is not JSON: %s" % e) from e
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError:  # half a surrogate pair, which only an escape can say
            return json.dumps(data, allow_nan=False, separators=(",", ":"), default=default).encode("ascii")
    if format == "text":
        if not isinstance(data, str):
            raise BadRequest("data of format text must be str, not %s" % type(data).__name__)
        try:
            return data.encode("utf-8")
        except UnicodeEncodeError as e:
            raise BadRequest("data is not Unicode text: %s" % e) from e
    if format not in FORMATS:
        raise BadRequest("format is %r; use one of %s" % (format, ", ".join(FORMATS)))
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if format == "binary":
        raise BadRequest("data of format binary must be bytes, not %s" % type(data).__name__)
    try:
        import msgpack
    except ImportError:
        raise BadRequest("data of format msgpack must be packed bytes, or install msgpack") from None
    return msgpack.packb(data, default=default)


def header_value(value):
    """Bytes that are not visible ASCII become %XX, so that nothing of a value can end its header line."""
    data = "".join([chr(c) if c in _VISIBLE else "%%%02X" % c for c in str(value).encode("utf-8")])
    if len(data) > _MAX_HEADER:
        raise BadRequest("msg_id or exclude is longer than %d bytes" % _MAX_HEADER)
    return data


def headers_for(format="json", msg_id=None, exclude=None):
    """The Gc- headers of a message, or None."""
    headers = {}
    if format != "json":
        headers["Gc-Format"] = format
    if msg_id:
        headers["Gc-Id"] = header_value(msg_id)
    if exclude:
        headers["Gc-Exclude"] = header_value(exclude if isinstance(exclude, str) else ",".join(exclude))
    return headers or None


def read_answer(data):
    """An answer as a dict, or the exception it tells of."""
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise GatecastError("the answer is not a JSON object")
    error = answer.get("error")
    if isinstance(error, dict):
        raise error_for(error.get("code") or "internal", error.get("message") or "")
    if answer.get("ok") is not True:
        raise error_for(answer.get("code") or "internal", answer.get("message") or (error if isinstance(error, str) else ""))
    return answer


def one_of(**named):
    """The one name and value that is given."""
    given = {k: v for k, v in named.items() if v is not None}
    if len(given) != 1:
        raise BadRequest("give one of %s" % ", ".join(named))
    (kind, value), *_ = given.items()
    value = str(value)
    if kind == "user":
        check_user_id(value)
    if kind == "session" and not _HASH.match(value):
        raise BadRequest("session must be the hex SHA-256 of the session key: use gatecast.session_hash(session_key)")
    return {kind: value}


def disconnect_body(user=None, session=None, conn=None, code=None, reason=None):
    body = one_of(user=user, session=session, conn=conn)
    if code is not None:
        body["code"] = code
    if reason is not None:
        body["reason"] = reason
    return body


def ids_of(user, to_id=lambda user: user):
    """The ids, as text, of one user or of any iterable of them; to_id makes an id of what is neither text nor a number."""

    def check(one):
        one = to_id(one)
        if not isinstance(one, (str, int, UUID)) or isinstance(one, bool):
            raise BadRequest("a user is %s; give an id: text, an int or a UUID" % type(one).__name__)
        one = str(one)
        check_user_id(one)
        return one

    if isinstance(user, Iterable) and not isinstance(user, (str, bytes, bytearray, memoryview, Mapping)):
        return [check(one) for one in user]
    return [check(user)]


def revalidate_body(user):
    users = ids_of(user)
    return {"users": users} if len(users) != 1 else {"user": users[0]}


def merged(calls):
    """The calls of control_many, with those of revalidate in as few as may be."""
    users = [user for name, options in calls if name == "revalidate" for user in ids_of(options["user"])]
    for i in range(0, len(users), AT_ONCE):
        yield "revalidate", {"user": users[i : i + AT_ONCE]}
    yield from (call for call in calls if call[0] != "revalidate")


def member_body(group, user=None, conn=None):
    check_name(group)
    return {"group": group, **one_of(user=user, conn=conn)}


class AsyncPublisher:
    """Sends to groups and ends connections, from within an event loop. Many tasks may use it at once.

    It connects at the first call, and again by itself when the server goes away, or when the event loop it served is gone and another one
    calls. Messages to one group arrive in the order of the calls.

    url         a NATS address or a list of them, such as "nats://127.0.0.1:4222"
    name        how the connection is called on the server
    token, or user and password    a service of [[broker.services]]: the token alone, or its name and token
    namespace   broker.namespace of the cluster
    tls         an ssl.SSLContext, or True for the system's authorities
    timeout     seconds for a call, connecting included
    default     makes JSON of values that json cannot, as json.dumps does
    """

    def __init__(self, url="nats://127.0.0.1:4222", *, name="default", token=None, user=None, password=None, namespace="gc", tls=None, timeout=DEFAULT_TIMEOUT, default=None):
        if not _NAMESPACE.match(namespace):
            raise ValueError("namespace is %r; want 1 to 16 of a-z, 0-9, '_', '-'" % namespace)
        if token is not None and password is not None:
            raise ValueError("give a token, or a user and a password")
        self.namespace = namespace
        self.timeout = timeout
        self._default = default
        self._options = {"servers": [url] if isinstance(url, str) else list(url), "name": "gatecast-python:" + name}
        # A service is known by its token; with a user name the same token is its password.
        if user is not None:
            self._options.update(user=user, password=password if password is not None else token)
        elif token is not None:
            self._options.update(token=token)
        if tls:
            self._options["tls"] = ssl.create_default_context() if tls is True else tls
        self._loop = None
        self._turns = None  # (event loop, its Semaphore)
        self._forget()

    def _forget(self):
        self._nc = None
        self._inbox = None
        self._waiting = {}  # last token of a reply subject -> Future
        self._next = 0
        self._denied = ""
        self._lock = asyncio.Lock() if self._loop else None

    # Sending

    async def group_send(self, group, data, *, format="json", msg_id=None, exclude=None, wait=True, timeout=None):
        """Put one message to every member of a group. Returns its sequence number in a durable group, else None.

        exclude is a conn id or several that do not get it. With wait=False it returns when the message is on its way, and what becomes of it
        stays unknown.
        """
        subject, body, headers = self._message(group, data, format, msg_id, exclude)
        answer = await self._bounded(self._call(subject, body, headers, wait), timeout)
        return answer.get("seq") if answer else None

    def _message(self, group, data, format, msg_id, exclude):
        return self.namespace + ".in." + escape(group), encode(data, format, self._default), headers_for(format, msg_id, exclude)

    async def group_send_many(self, messages, *, format="json", timeout=None):
        """Send many (group, data), in order, without waiting for one answer before the next message. Returns their sequence numbers.

        All of them are sent, or the exception of the first one that failed is raised once all have an answer. timeout is for each message.
        """
        results, futures = [], []

        async def settle():
            for done in await asyncio.gather(*futures, return_exceptions=True):
                results.append(done)
            futures.clear()

        try:
            for group, data in messages:
                subject, body, headers = self._message(group, data, format, None, None)
                futures.append(asyncio.ensure_future(self._bounded(self._call(subject, body, headers), timeout)))
                if len(futures) >= MANY_IN_FLIGHT:
                    await settle()
        finally:
            await settle()
        for done in results:
            if isinstance(done, BaseException):
                raise done
        return [answer.get("seq") for answer in results]

    async def notify(self, user_id, data, **options):
        """group_send to the personal group of a user."""
        return await self.group_send(group_name("user", user_id), data, **options)

    # Control, as the HTTP API's calls of these names

    async def disconnect(self, *, user=None, session=None, conn=None, code=None, reason=None, timeout=None):
        """Close the connections of a user, of a session (its session_hash) or with a conn id. Returns how many."""
        answer = await self._control("disconnect", disconnect_body(user, session, conn, code, reason), timeout)
        return answer.get("conns", 0)

    async def group_add(self, group, *, user=None, conn=None, timeout=None):
        """Put the connections of a user, or one, into a group; no grant is needed."""
        return await self._control("group_add", member_body(group, user, conn), timeout)

    async def group_discard(self, group, *, user=None, conn=None, timeout=None):
        """Take the connections of a user, or one, out of a group."""
        return await self._control("group_discard", member_body(group, user, conn), timeout)

    async def revalidate(self, user, *, timeout=None):
        """Look at the logins of a user again, after a change of rights; or of up to 1,000 users, as any iterable of their ids."""
        return await self._control("revalidate", revalidate_body(user), timeout)

    async def control_many(self, calls, *, timeout=30.0):
        """Many calls of disconnect and revalidate, each (name, its arguments), a few at a time. timeout is for all of them together.

        It gives up when as many have failed as are on their way at once, and raises the first failure.
        """
        calls = [(verb, disconnect_body(**options) if verb == "disconnect" else revalidate_body(**options)) for verb, options in calls]
        turns, rest, failures, done = self._turns_here(), iter(calls), [], 0

        async def some():
            nonlocal done
            for verb, body in rest:
                async with turns:
                    if len(failures) >= CONTROLS_IN_FLIGHT:
                        return
                    try:
                        await self._control(verb, body, None)
                        done += 1
                    except GatecastError as e:
                        failures.append(e)

        together = asyncio.gather(*(some() for _ in calls[:CONTROLS_IN_FLIGHT]))
        together.add_done_callback(lambda f: f.cancelled() or f.exception())  # seen: wait_for before Python 3.12 drops it when it is cancelled, and asyncio logs that
        try:
            await self._bounded(together, timeout)
        except GatecastError as e:
            failures.append(e)
        if failures:
            raise type(failures[0])("%d of %d calls were not carried out: %s" % (len(calls) - done, len(calls), failures[0]), failures[0].code)

    def _turns_here(self):
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = (loop, asyncio.Semaphore(CONTROLS_IN_FLIGHT))
        return self._turns[1]

    async def _control(self, verb, body, timeout):
        return await self._bounded(self._call(self.namespace + ".ctl." + verb, json.dumps(body).encode("ascii")), timeout)

    # Connection

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def close(self):
        """Send what is on its way and close the connection. A later call connects again."""
        nc, loop = self._nc, self._loop
        if nc is None or loop is not asyncio.get_running_loop():
            return
        self._fail_all(Unavailable("the publisher was closed"))
        self._forget()
        try:
            await asyncio.wait_for(nc.flush(timeout=1), 2)
        except Exception:
            log.debug("flush at close", exc_info=True)
        try:
            await asyncio.wait_for(nc.close(), 2)
        except Exception:
            log.debug("close", exc_info=True)

    async def _bounded(self, call, timeout):
        try:
            return await asyncio.wait_for(call, self.timeout if timeout is None else timeout)
        except asyncio.TimeoutError:
            if self._nc is None or not self._nc.is_connected:
                raise Unavailable("the cluster cannot be reached at %s" % self._where()) from None
            raise Timeout("no answer in time") from None

    def _where(self):
        return ", ".join(re.sub(r"//[^/]*@", "//", s) for s in self._options["servers"])

    async def _call(self, subject, body, headers=None, wait=True):
        """Publish, and await the answer if wait. One task at a time publishes, in the order they came."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # another event loop, as async_to_sync and asyncio.run make them
            if self._loop is not None and self._loop.is_running():
                raise RuntimeError("this AsyncPublisher serves another running event loop: make one for each, or use Publisher")
            drop_socket(self._nc)
            self._loop = loop
            self._forget()
        reply, future = "", None
        async with self._lock:
            nc = await self._connected()
            if len(body) + (_HEADER_ROOM + sum(map(len, headers.values())) if headers else 0) > nc.max_payload:
                raise TooLarge("the message has %d bytes; the cluster takes %d" % (len(body), nc.max_payload))
            if wait:
                self._next += 1
                key = str(self._next)
                reply, future = self._inbox + key, loop.create_future()
                self._waiting[key] = future
            try:
                await nc.publish(subject, body, reply=reply, headers=headers)
            except Exception as e:
                if future:
                    del self._waiting[key]
                raise Unavailable("publish: %s" % e) from e
        if not future:
            return None
        try:
            return read_answer(await future)
        finally:
            self._waiting.pop(key, None)

    async def _connected(self):
        """The connection, once it is up. The caller bounds the time."""
        if self._nc is not None and self._nc.is_closed:
            self._forget_connection()
        if self._nc is None:
            await self._connect()
        while not self._nc.is_connected:
            if self._denied:
                raise Forbidden(self._denied)
            if self._nc.is_closed:
                raise Unavailable("the connection was closed")
            await asyncio.sleep(0.02)
        return self._nc

    def _forget_connection(self):
        self._fail_all(Unavailable("the connection was lost"))
        self._nc = None

    def _fail_all(self, error):
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(error)

    async def _connect(self):
        import nats.aio.client

        loop = asyncio.get_running_loop()
        denied = loop.create_future()  # nats-py tries again and again with credentials that are wrong
        self._denied = ""

        async def on_error(e):
            if "authorization" in str(e).lower():
                self._denied = "the cluster refuses the credentials: they must be those of a [[broker.services]] entry (%s)" % e
                if not denied.done():
                    denied.set_result(None)
            log.warning("NATS: %s", e)

        async def on_reconnect():
            self._denied = ""

        async def on_disconnect():
            self._fail_all(Timeout("the connection was lost before the answer"))

        nc = nats.aio.client.Client()
        connecting = asyncio.ensure_future(
            nc.connect(
                **self._options,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                connect_timeout=max(1, int(self.timeout)),
                reconnect_time_wait=0.5,
                max_reconnect_attempts=-1,
            )
        )
        try:
            await asyncio.wait({connecting, denied}, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise Forbidden(self._denied)
            connecting.result()
        except BaseException as e:
            connecting.cancel()
            await asyncio.wait({connecting}, timeout=1)
            await _abandon(nc)
            if isinstance(e, (GatecastError, asyncio.CancelledError)) or not isinstance(e, Exception):
                raise
            raise Unavailable("connect to %s: %s" % (self._where(), e)) from e
        inbox = nc.new_inbox() + "."
        try:
            await nc.subscribe(inbox + "*", cb=self._answered)
        except Exception as e:
            await _abandon(nc)
            raise Unavailable("listen for answers: %s" % e) from e
        self._nc, self._inbox = nc, inbox

    async def _answered(self, msg):
        future = self._waiting.get(msg.subject.rpartition(".")[2])
        if future is None or future.done():
            return
        if not msg.data and msg.headers and msg.headers.get("Status") == "503":
            future.set_exception(Unavailable("nobody of the cluster listens: is namespace %r right, and is a node ready?" % self.namespace))
        else:
            future.set_result(msg.data)


def drop_socket(nc):
    """Give back the descriptor of a connection whose event loop cannot be asked to close it, and touch nothing else."""
    try:
        transport = nc._transport._io_writer.transport
        sock = transport.get_extra_info("socket")
        fd = getattr(sock, "_sock", sock).detach()
        if fd >= 0:
            os.close(fd)
    except Exception:  # another nats-py: the descriptor goes with the process
        log.debug("drop", exc_info=True)


async def _abandon(nc):
    try:
        await asyncio.wait_for(nc.close(), 1)
    except BaseException:  # it never got as far as having something to close
        log.debug("close", exc_info=True)
