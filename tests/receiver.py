"""A webhook receiver for tests, in a thread with an event loop of its own. No pytest in here."""

import asyncio
import threading
import time
from collections import Counter, defaultdict

import orjson
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler


class Loop(threading.Thread):
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


class Receiver(Loop):
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
