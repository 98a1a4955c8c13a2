"""A network between a browser and a console that can be cut: nothing passes any more, and nobody is told."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit


class Cable:
    """Forwards TCP from a port of its own.

    Args:
        url: of the console.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._whole = threading.Event()
        self._whole.set()
        self._open: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}{parts.path}"
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def cut(self) -> None:
        """Hold all that comes back, and who calls anew."""
        self._whole.clear()

    def mend(self) -> None:
        """Let new calls through; those of before are dead."""
        for each in tuple(self._open):
            _hang_up(each)
        self._open.clear()
        self._whole.set()

    def close(self) -> None:
        """Hang up."""
        _hang_up(self._door)
        self.mend()
        for each in self._threads:
            each.join(10)
        self._door.close()

    def _run(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._door.accept()
                self._run(self._connect, caller)

    def _connect(self, caller: socket.socket) -> None:
        with caller, suppress(OSError):
            self._whole.wait()
            with socket.create_connection(self._target) as console:
                self._open += [caller, console]
                back = self._run(self._carry, console, caller)
                self._carry(caller, console)
                back.join()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._whole.wait()
                sink.sendall(data)
        _hang_up(source)
        _hang_up(sink)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
