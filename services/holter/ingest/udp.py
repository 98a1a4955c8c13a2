"""The UDP port: one frame a datagram, authenticated, counted, never answered."""

import asyncio
import socket

import structlog

from holter.frame import MAX_DATAGRAM_BYTES, FrameError, decode_one
from holter.ingest.intake import Intake, as_refusal
from holter.ingest.refusal import RefusalError

BUFFER_BYTES = 8 << 20
"""Of the socket: what arrives while the loop is busy; the kernel drops the rest."""
_AT_ONCE = 64
"""Datagrams that are read before other work gets its turn. asyncio's own transport reads one."""
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
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        """Take what has arrived, then close."""
        while self._read():
            pass
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> bool:
        """Read a bounded number of datagrams; False when there are no more."""
        for _ in range(_AT_ONCE):
            try:
                datagram = self._socket.recv(MAX_DATAGRAM_BYTES + 1)
            except BlockingIOError:
                return False
            except OSError as e:
                _log.warning("udp_read_failed", error=str(e))
                return False
            self._take(datagram)
        return True

    def _take(self, datagram: bytes) -> None:
        measures = self._intake.measures
        try:
            if len(datagram) > MAX_DATAGRAM_BYTES:
                raise RefusalError(413, "frame", f"is larger than {MAX_DATAGRAM_BYTES} bytes")
            frame = decode_one(datagram)
            self._intake.check_frame(frame)
            self._intake.offer(frame.chunk, timed=frame.timed)
        except FrameError as e:
            refusal = as_refusal(e)
        except RefusalError as e:
            refusal = e
        else:
            measures.answered("udp", 202)
            return
        measures.refused(refusal)
        measures.answered("udp", refusal.code)
