"""A NATS server of one thread that answers as a Gatecast node would, for tests of the client without one."""

import json
import socket
import threading


class FakeNATS:
    """published is every (subject, headers, body, reply) in order; answer(subject, body) makes an answer, None = none, "503" = nobody listens."""

    def __init__(self, token=None, max_payload=1 << 20):
        self.published = []
        self.connects = []
        self.token = token
        self.max_payload = max_payload
        self.changed = threading.Condition()
        self.answer = lambda subject, body: {"ok": True}
        self._conns = []
        self._threads = []

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = "nats://127.0.0.1:%d" % self.port
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        for t in self._threads:
            t.join(5)

    def drop(self):
        """Cut every connection."""
        for c in self._conns:
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def wait(self, n, timeout=10):
        """The first n published messages, once they are there."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.published) >= n, timeout), "only %d of %d messages" % (len(self.published), n)
            return self.published[:n]

    def _start(self, target, *args):
        t = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(t)
        t.start()

    def _accept(self):
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            self._conns.append(conn)
            self._start(self._serve, conn)

    def _serve(self, conn):
        info = {"server_id": "x", "version": "2.15.2", "headers": True, "max_payload": self.max_payload, "auth_required": self.token is not None}
        sids = {}
        try:
            conn.sendall(b"INFO %s\r\n" % json.dumps(info).encode())
            f = conn.makefile("rb")
            for line in f:
                op, _, rest = line.decode().strip().partition(" ")
                if op == "CONNECT":
                    options = json.loads(rest)
                    self.connects.append(options)
                    if self.token is not None and options.get("pass", options.get("auth_token")) != self.token:
                        conn.sendall(b"-ERR 'Authorization Violation'\r\n")
                        return
                elif op == "PING":
                    conn.sendall(b"PONG\r\n")
                elif op == "SUB":
                    subject, *_, sid = rest.split()
                    sids[subject.rstrip("*")] = sid
                elif op in ("PUB", "HPUB"):
                    self._published(conn, sids, f, op, rest.split())
        except OSError:
            pass
        finally:
            conn.close()

    def _published(self, conn, sids, f, op, args):
        subject, size = args[0], int(args[-1])
        head = int(args[-2]) if op == "HPUB" else 0
        reply = args[1] if len(args) > (3 if op == "HPUB" else 2) else ""
        block = f.read(size + 2)[:-2]
        headers = dict(line.split(": ", 1) for line in block[:head].decode().split("\r\n")[1:] if line)
        body = block[head:]
        with self.changed:
            self.published.append((subject, headers, body, reply))
            self.changed.notify_all()
        if not reply:
            return
        answer = self.answer(subject, body)
        sid = sids[reply.rpartition(".")[0] + "."]
        if answer == "503":
            conn.sendall(b"HMSG %s %s 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" % (reply.encode(), sid.encode()))
        elif answer is not None:
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            conn.sendall(b"MSG %s %s %d\r\n%s\r\n" % (reply.encode(), sid.encode(), len(data), data))
