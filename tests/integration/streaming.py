"""What the tests of the stream path's faults share: a gate before InfluxDB, a watch on shards."""

import asyncio
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

from tests.receiver import Loop


class Gate(Loop):
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
