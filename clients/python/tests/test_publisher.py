import asyncio
import gc
import json
import multiprocessing
import os
import threading

import pytest
from fakenats import FakeNATS

import gatecast
from gatecast import AsyncPublisher, BadRequest, Forbidden, GatecastError, Publisher, Timeout, TooLarge, Unavailable
from gatecast import threaded
from gatecast.publisher import encode, header_value, headers_for, read_answer


@pytest.mark.parametrize(
    "data,format,body",
    [
        ({"a": 1, "ü": [None, True]}, "json", '{"a":1,"ü":[null,true]}'.encode()),
        ("\ud83d", "json", b'"\\ud83d"'),
        ("grüß", "text", "grüß".encode()),
        (b"\x00\xff", "binary", b"\x00\xff"),
        (bytearray(b"\x81"), "msgpack", b"\x81"),
    ],
)
def test_encode(data, format, body):
    assert encode(data, format) == body


@pytest.mark.parametrize("data,format", [(float("nan"), "json"), (object(), "json"), (b"x", "text"), ("\ud83d", "text"), ("x", "binary"), ({}, "xml")])
def test_encode_refuses(data, format):
    with pytest.raises(BadRequest):
        encode(data, format)


def test_encode_refuses_a_circle():
    data = []
    data.append(data)
    with pytest.raises(BadRequest):
        encode(data)


def test_headers():
    assert headers_for() is None
    assert headers_for("text", "a b\r\nGc-From: 1%", ["c1", "c2"]) == {"Gc-Format": "text", "Gc-Id": "a%20b%0D%0AGc-From:%201%25", "Gc-Exclude": "c1,c2"}
    assert headers_for(exclude="c1") == {"Gc-Exclude": "c1"}
    with pytest.raises(BadRequest):
        header_value("x" * 5000)


@pytest.mark.parametrize(
    "answer,error,code",
    [
        (b'{"ok":false,"code":"forbidden"}', Forbidden, "forbidden"),
        (b'{"ok":false,"code":"unauthorized","message":"m"}', Forbidden, "unauthorized"),
        (b'{"error":{"code":"bad_group","message":"m"}}', BadRequest, "bad_group"),
        (b'{"ok":false,"error":{"code":"too_large"}}', TooLarge, "too_large"),
        (b'{"ok":false,"code":"rate_limited"}', Unavailable, "rate_limited"),
        (b'{"ok":false,"code":"timeout"}', Timeout, "timeout"),
        (b'{"ok":false,"code":"brand_new"}', GatecastError, "brand_new"),
        (b'{"ok":false}', GatecastError, "internal"),
        (b"{}", GatecastError, "internal"),
        (b"[]", GatecastError, "internal"),
        (b"", GatecastError, "internal"),
    ],
)
def test_answers_that_refuse(answer, error, code):
    with pytest.raises(error) as e:
        read_answer(answer)
    assert e.value.code == code


def test_wrong_arguments_are_refused_at_once():
    with pytest.raises(ValueError):
        Publisher(namespace="Not A Namespace")
    with pytest.raises(ValueError):
        Publisher(token="t", password="p")
    with pytest.raises(TypeError):
        Publisher(tokn="t")


def test_group_send(cluster):
    cluster.answer = lambda subject, body: {"ok": True, "seq": 7}
    with Publisher(cluster.url, user="svc", token="tok", name="web") as p:
        assert p.group_send("a..b", {"x": 1}, msg_id="m 1", exclude=["c1"]) == 7
        assert p.group_send("chat.7", "hi", format="text", wait=False) is None
        assert p.notify("a.b@x.com", None) == 7
        got = cluster.wait(3)
    assert [m[:3] for m in got] == [
        ("gc.in.a=2E=2Eb", {"Gc-Id": "m%201", "Gc-Exclude": "c1"}, b'{"x":1}'),
        ("gc.in.chat.7", {"Gc-Format": "text"}, b"hi"),
        ("gc.in.user.a=252Eb=2540x=252Ecom", {}, b"null"),
    ]
    assert got[0][3].startswith("_INBOX.") and got[1][3] == ""
    assert (cluster.connects[0]["user"], cluster.connects[0]["pass"], cluster.connects[0]["name"]) == ("svc", "tok", "gatecast-python:web")


def test_control(cluster):
    cluster.answer = lambda subject, body: {"ok": True, "conns": 3}
    key = "x" * 32
    with Publisher(cluster.url, namespace="site") as p:
        assert p.disconnect(user=42, code=4401, reason="bye") == 3
        p.disconnect(session=gatecast.session_hash(key))
        p.disconnect(conn="c1")
        p.group_add("room.1", user="42")
        p.group_discard("room.1", conn="c1")
        p.revalidate(42)
        p.revalidate(n for n in (42, "43"))
        p.revalidate({44})
    got = [(s, json.loads(b)) for s, _, b, _ in cluster.published]
    assert got == [
        ("site.ctl.disconnect", {"user": "42", "code": 4401, "reason": "bye"}),
        ("site.ctl.disconnect", {"session": gatecast.session_hash(key)}),
        ("site.ctl.disconnect", {"conn": "c1"}),
        ("site.ctl.group_add", {"group": "room.1", "user": "42"}),
        ("site.ctl.group_discard", {"group": "room.1", "conn": "c1"}),
        ("site.ctl.revalidate", {"user": "42"}),
        ("site.ctl.revalidate", {"users": ["42", "43"]}),
        ("site.ctl.revalidate", {"user": "44"}),
    ]


@pytest.mark.parametrize("wrong", [{}, {"user": 1, "conn": "c"}, {"session": "the key itself"}, {"user": "a\nb"}])
def test_control_refuses(wrong):
    with pytest.raises(BadRequest):
        Publisher("nats://127.0.0.1:1").disconnect(**wrong)


def test_no_key_travels(cluster):
    assert gatecast.session_hash("alice") == "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"


def test_what_is_told_stays_within_bounds(cluster, monkeypatch, caplog):
    monkeypatch.setattr(threaded, "KEPT", 100)
    go = threading.Event()

    def answer(subject, body):
        go.wait(30)
        return {"ok": True}

    cluster.answer = answer
    with Publisher(cluster.url) as p:
        for n in range(500):  # an import that saves users, while the cluster hangs
            p.tell_many([("revalidate", {"user": str(n)})])
        p.tell_many([("disconnect", {"user": "x"})])
        worker = p._state.worker
        assert (worker.telling, len(worker.kept)) == (threaded.TELLING, 100)
        assert [r.getMessage() for r in caplog.records] == ["the cluster does not keep up, and 100 changes wait for it: more of them are not told"]
        go.set()
        bodies = [json.loads(m[2]) for m in cluster.wait(threaded.TELLING + 1)]
        assert sorted(int(u) for b in bodies for u in b.get("users", [b.get("user")])) == list(range(threaded.TELLING + 100))
        assert not worker.kept
    assert worker.telling == 0


def test_a_close_sends_what_is_kept(cluster, monkeypatch):
    monkeypatch.setattr(threaded, "TELLING", 0)
    with Publisher(cluster.url) as p:
        p.group_send("g", 1)
        p.tell_many([("revalidate", {"user": "1"}), ("disconnect", {"user": "2"})])
    assert sorted(m[0] for m in cluster.published) == ["gc.ctl.disconnect", "gc.ctl.revalidate", "gc.in.g"]


def test_a_close_without_a_cluster_leaves_no_traceback(caplog):
    with Publisher("nats://127.0.0.1:1") as p:
        p.tell_many([("revalidate", {"user": "1"}), ("disconnect", {"user": "2"})])
    gc.collect()
    assert [r.getMessage() for r in caplog.records if r.name == "asyncio"] == []


def test_many_keep_their_order(cluster):
    seq = iter(range(1, 10000))
    cluster.answer = lambda subject, body: {"ok": True, "seq": next(seq)}
    with Publisher(cluster.url) as p:
        assert p.group_send_many(("g.%d" % (i % 7), i) for i in range(1000)) == list(range(1, 1001))
    assert [int(m[2]) for m in cluster.published] == list(range(1000))


def test_many_raise_the_first_failure_after_sending_all(cluster):
    cluster.answer = lambda subject, body: {"ok": False, "code": "forbidden", "message": body.decode()} if body in (b"3", b"5") else {"ok": True}
    with Publisher(cluster.url) as p:
        with pytest.raises(Forbidden, match="3"):
            p.group_send_many(("g", i) for i in range(10))
    assert len(cluster.published) == 10


def test_no_answer_is_a_timeout_and_nobody_is_unavailable(cluster):
    with Publisher(cluster.url) as p:
        cluster.answer = lambda subject, body: None
        with pytest.raises(Timeout):
            p.group_send("g", 1, timeout=0.2)
        cluster.answer = lambda subject, body: "503"
        with pytest.raises(Unavailable, match="namespace"):
            p.group_send("g", 1)
        cluster.answer = lambda subject, body: {"ok": True}
        p.group_send("g", 1)


def test_too_large_is_not_sent():
    with FakeNATS(max_payload=1000) as cluster, Publisher(cluster.url) as p:
        with pytest.raises(TooLarge):
            p.group_send("g", "x" * 1000)
        p.group_send("g", "x" * 900)
        assert len(cluster.published) == 1


def test_wrong_credentials_are_told_quickly():
    with FakeNATS(token="right") as cluster:
        with Publisher(cluster.url, token="wrong", timeout=30) as p, pytest.raises(Forbidden, match="broker.services"):
            p.group_send("g", 1)
        with Publisher(cluster.url, token="right") as p:
            p.group_send("g", 1)


def test_a_server_that_is_down_is_unavailable():
    with FakeNATS() as gone:
        url = gone.url.replace("//", "//svc:hunter2@")
    with Publisher(url, timeout=0.5) as p, pytest.raises(Unavailable) as e:
        p.group_send("g", 1)
    assert "hunter2" not in str(e.value)


def test_a_lost_connection_comes_back(cluster):
    with Publisher(cluster.url, timeout=10) as p:
        p.group_send("g", 1)
        cluster.answer = lambda subject, body: cluster.drop()
        with pytest.raises((Timeout, Unavailable)):
            p.group_send("g", 2)
        cluster.answer = lambda subject, body: {"ok": True}
        p.group_send("g", 3)


def test_close_sends_what_is_on_its_way(cluster):
    p = Publisher(cluster.url)
    for i in range(100):
        p.group_send("g", i, wait=False)
    p.close()
    assert [int(m[2]) for m in cluster.wait(100)] == list(range(100))
    p.group_send("g", 100)  # opens again
    p.close()
    p.close()
    assert not [t for t in threading.enumerate() if t.name == "gatecast-publisher"]


def test_without_waiting_failures_are_logged(caplog):
    with FakeNATS() as gone:
        url = gone.url
    with Publisher(url, timeout=0.3) as p:
        p.group_send("g", 1, wait=False)
        with pytest.raises(BadRequest):  # the caller's mistakes are told to the caller
            p.group_send("a b", 1, wait=False)
    assert any("group_send" in r.getMessage() for r in caplog.records)


def test_threads_share_it(cluster):
    with Publisher(cluster.url) as p:

        def work(k):
            for i in range(50):
                p.group_send("g.%d" % k, i)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert len(cluster.connects) == 1
    for k in range(8):
        assert [int(m[2]) for m in cluster.published if m[0] == "gc.in.g.%d" % k] == list(range(50))


inherited = None


def revalidate_inherited(user):
    inherited.revalidate(user)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_makes_its_own_connection(cluster):
    with Publisher(cluster.url) as p:
        p.group_send("parent", 1)
        p._state.mutex.acquire()  # another thread holds it at the moment of the fork
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                p.group_send("child", 2)
                p.close()
                status = 0
            finally:
                os._exit(status)
        p._state.mutex.release()
        assert os.waitpid(pid, 0)[1] == 0
        p.group_send("parent", 3)
        global inherited
        inherited = p
        with multiprocessing.get_context("fork").Pool(3) as pool:
            pool.map(revalidate_inherited, range(30))
        p.group_send("parent", 4)
    assert [m[2] for m in cluster.published if m[0] == "gc.in.parent"] == [b"1", b"3", b"4"]
    assert len([m for m in cluster.published if m[0] == "gc.ctl.revalidate"]) == 30
    assert 3 <= len(cluster.connects) <= 5


def test_threads_of_a_child_that_no_hook_prepared_agree(cluster, monkeypatch):
    """A fork that register_at_fork does not see: each thread makes a state before any has put its own into place."""
    with Publisher(cluster.url) as p:
        p._state.pid = -1
        both = threading.Barrier(2, timeout=10)

        class State(threaded._State):
            def __init__(self):
                super().__init__()
                both.wait()

        monkeypatch.setattr(threaded, "_State", State)
        got = []
        threads = [threading.Thread(target=lambda: (p.group_send("g", 1), got.append(p._state))) for _ in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(got) == 2 and got[0] is got[1]
    assert len(cluster.published) == 2 and len(cluster.connects) == 1


def test_data_is_encoded_in_the_thread_of_the_caller(cluster):
    with Publisher(cluster.url, default=lambda value: threading.current_thread().name) as p:
        p.group_send("g", object())
        p.group_send("g", object(), wait=False)
        p.group_send_many(("g", object()) for _ in range(2))
        got = cluster.wait(4)
        with pytest.raises(BadRequest):
            p.group_send_many([("g", 1), ("a b", 2)])
        with pytest.raises(BadRequest):
            p.group_send_many([("g", 1), ("g", float("nan"))])
    assert {m[2].decode() for m in got} == {'"%s"' % threading.current_thread().name}
    assert len(cluster.published) == 4


def test_async(cluster):
    cluster.answer = lambda subject, body: {"ok": True, "seq": int(body)}

    async def main():
        async with AsyncPublisher(cluster.url) as p:
            assert await asyncio.gather(*[p.group_send("g", i) for i in range(100)]) == list(range(100))
            assert await p.group_send_many([("g", 1), ("g", 2)]) == [1, 2]

    asyncio.run(main())
    assert [int(m[2]) for m in cluster.published] == [*range(100), 1, 2]


def test_async_in_one_loop_after_another(cluster):
    p = AsyncPublisher(cluster.url)
    for i in range(3):
        asyncio.run(p.group_send("g", i))
    assert len(cluster.published) == 3


def test_async_in_two_loops_at_once_is_refused(cluster):
    p = AsyncPublisher(cluster.url)

    async def main():
        await p.group_send("g", 1)
        other = threading.Thread(target=lambda: errors.append(_error(lambda: asyncio.run(p.group_send("g", 2)))))
        other.start()
        while other.is_alive():
            await asyncio.sleep(0.01)
        await p.close()

    errors = []
    asyncio.run(main())
    assert isinstance(errors[0], RuntimeError)
    assert len(cluster.published) == 1


def _error(call):
    try:
        call()
    except Exception as e:
        return e
