"""The UDP port: one frame a datagram, authenticated, counted, never answered."""

import asyncio
import socket
import sys

import structlog

from holter.frame import MAX_DATAGRAM_BYTES
from holter.ingest.intake import Intake

BUFFER_BYTES = 8 << 20
"""Of the socket: what arrives while the loop is busy; the kernel drops the rest."""
PAUSE = 0.01
"""Seconds between two looks at the socket while frames come. A buffer of 208 KiB holds 25,000 frames/s."""
_AT_ONCE = 512
"""Datagrams that are read before other work gets its turn."""
_SO_MEMINFO, _DROPS = 55, 8
"""Linux: what a socket holds, as 32-bit words; the last is how many datagrams it had no room for."""
_log = structlog.get_logger()


class UdpPort:
    """Reads datagrams on the current event loop."""

    def __init__(self, intake: Intake, address: str, port: int) -> None:
        """Bind the port.

        Raises:
            OSError: it is taken.
        """
        family, kind, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0]
        self._intake = intake
        self._socket = socket.socket(family, kind)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.bind(where)
        self.port: int = self._socket.getsockname()[1]
        # Linux gives twice what it was asked for, and never more than net.core.rmem_max allows.
        granted = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        if granted < BUFFER_BYTES:
            _log.info("udp_buffer_small", granted=granted, wanted=BUFFER_BYTES, raise_by="sysctl net.core.rmem_max")
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._dropped = 0
        self._loop.add_reader(self._socket, self._wake)

    def close(self) -> None:
        """Take what has arrived, then close."""
        while self._read():
            pass
        if self._pause is None:
            self._loop.remove_reader(self._socket)
        else:
            self._pause.cancel()
        self._socket.close()

    def _wake(self) -> None:
        """Read now and then every few milliseconds until nothing has come: a wake-up costs as much as a frame."""
        self._loop.remove_reader(self._socket)
        self._poll()

    def _poll(self) -> None:
        if self._read():
            self._pause = self._loop.call_later(PAUSE, self._poll)
        else:
            self._pause = None
            self._loop.add_reader(self._socket, self._wake)

    def _read(self) -> bool:
        """Take a bounded number of datagrams; False when there are none."""
        datagrams: list[bytes] = []
        receive, append = self._socket.recv, datagrams.append
        try:
            for _ in range(_AT_ONCE):
                append(receive(MAX_DATAGRAM_BYTES + 1))
        except BlockingIOError:
            pass
        except OSError as e:
            _log.warning("udp_read_failed", error=str(e))
        if datagrams:
            self._take(datagrams)
            self._count_dropped()
        return bool(datagrams)

    def _count_dropped(self) -> None:
        if sys.platform != "linux":
            return  # others do not tell
        words = memoryview(self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * (_DROPS + 1))).cast("I")
        if words[_DROPS] != self._dropped:
            self._intake.measures.datagrams_dropped.inc((words[_DROPS] - self._dropped) % (1 << 32))
            self._dropped = words[_DROPS]

    def _take(self, datagrams: list[bytes]) -> None:
        measures = self._intake.measures
        refusals = self._intake.take_datagrams(datagrams)
        if len(refusals) < len(datagrams):
            measures.answered("udp", 202, len(datagrams) - len(refusals))
        for refusal in refusals:
            measures.refused(refusal)
            measures.answered("udp", refusal.code)
