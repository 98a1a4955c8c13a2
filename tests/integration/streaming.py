"""What the tests of the stream path's faults share: a receiver of alerts, a gate before InfluxDB, a watch on shards."""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from urllib.parse import urlsplit

import orjson
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler


class _Loop(threading.Thread):
    """An event loop of its own; `begin` runs in it, and `finish` at the end."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ready, self.loop = threading.Event(), asyncio.new_event_loop()

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.begin())
        self.ready.set()
        self.loop.run_forever()
        self.finish()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    def __enter__(self):
        self.start()
        self.ready.wait()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join()


class Receiver(_Loop):
    """Gets webhooks; notes each with its time."""

    def __init__(self):
        super().__init__()
        self.requests = []

    async def begin(self):
        requests = self.requests

        class Handler(RequestHandler):
            def post(self):
                requests.append((time.time(), self.request.headers["Holter-Event-Id"], self.request.body))

        self.server = HTTPServer(Application([("/", Handler)], log_function=lambda _: None))
        (socket,) = bind_sockets(0, "127.0.0.1")
        self.server.add_socket(socket)
        self.url = f"http://127.0.0.1:{socket.getsockname()[1]}/"

    def finish(self):
        self.server.stop()

    def once(self):
        """What one that drops repeated ids sees, in order: (time, body)."""
        seen = {}
        for at, identity, body in self.requests:
            seen.setdefault(identity, (at, body))
        return [(at, orjson.loads(body)) for at, body in seen.values()]

    def assert_each_alert_once(self):
        contents = defaultdict(set)
        for _, identity, body in self.requests:
            contents[identity].add(body)
        assert [bodies for bodies in contents.values() if len(bodies) > 1] == [], "the same id has the same content"
        raised = Counter(body["alert"] for _, body in self.once() if body["event"] == "raised")
        assert max(raised.values(), default=1) == 1, "each alert is raised once"
        opened, cleared = Counter(), Counter()
        for _, body in self.once():
            opened[body["device_id"], body["kind"]] += body["event"] == "raised"
            cleared[body["device_id"], body["kind"]] += body["event"] == "cleared"
        again = {key: n for key, n in opened.items() if n > 1 + cleared[key]}
        assert again == {}, "nothing is raised anew while it is open"

    def raised(self, kind):
        """Device → when it was told of, of alerts of this kind."""
        return {b["device_id"]: at for at, b in reversed(self.once()) if b["event"] == "raised" and b["kind"] == kind}


class Gate(_Loop):
    """A TCP port that leads to InfluxDB while it is open; shut, it cuts what is under way and refuses the rest."""

    def __init__(self, url):
        super().__init__()
        self.target = urlsplit(url)
        self.is_open, self._writers = True, set()

    async def begin(self):
        self.server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def finish(self):
        self.server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _pass(self, reader, writer):
        if not self.is_open:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self.target.hostname, self.target.port)
        self._writers |= {writer, back}
        with suppress(OSError):
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        self._writers -= {writer, back}

    async def _copy(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def shut(self):
        self.is_open = False
        for writer in tuple(self._writers):
            self.loop.call_soon_threadsafe(writer.transport.abort)

    def open(self):
        self.is_open = True


class Watch(threading.Thread):
    """Looks at `holter_shards_unowned` of all workers that answer: how long at a stretch somebody was without one."""

    def __init__(self, services):
        super().__init__(daemon=True)
        self.services, self.ended = services, threading.Event()
        self.longest, self.stretches, self._since = 0.0, [], None

    def run(self):
        while not self.ended.wait(0.2):
            told = []
            for name in self.services.infer_names:
                process = self.services.processes.get(name)
                if process is not None and process.poll() is None and name not in self.services.frozen:
                    text = self.services.fetch(name, "/metrics")
                    found = [x for x in (text or "").splitlines() if x.startswith("holter_shards_unowned{")]
                    told += [float(line.rpartition(" ")[2]) for line in found]
            now = time.monotonic()
            if told and min(told) > 0:
                self._since = self._since or now
                self.longest = max(self.longest, now - self._since)
            elif self._since is not None:
                self.stretches.append(round(now - self._since, 2))
                self._since = None
