"""Where to send: `endpoints.json` of a cohort that runs on this machine, or what the command line says."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from holter.endpoints import Endpoints, EndpointsError, find, read
from holter.keys import KeyFileError, load
from holter.sim.link import HttpLink, Link, UdpLink, WebSocketLink

Transport = Literal["http", "binary", "websocket", "udp"]
TRANSPORTS: tuple[Transport, ...] = ("http", "binary", "websocket", "udp")
DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Target:
    """An ingest and how to speak to it.

    Attributes:
        transport: see `TRANSPORTS`.
        url: of the ingest's HTTP port.
        udp: host and port, where known.
        key: the cohort's device key; None for an open cohort.
        store: where its alerts can be read (`sqlite:<file>`), where known.
    """

    transport: Transport
    url: str
    udp: tuple[str, int] | None
    key: bytes | None
    store: str | None

    def connect(self) -> Link:
        """Make one link.

        Raises:
            click.UsageError: UDP without an address.
        """
        if self.transport == "udp":
            if self.udp is None:
                raise click.UsageError("--transport udp needs --udp HOST:PORT, or --state of a cohort that takes UDP")
            return UdpLink(self.udp, self.key)
        if self.transport == "websocket":
            return WebSocketLink(self.url, self.key)
        return HttpLink(self.url, self.key, binary=self.transport == "binary")


def resolve(transport: Transport, *, state: Path | None, url: str | None, udp: str | None, keys: Path | None) -> Target:
    """Put together what the options say; an option goes before what `state` holds.

    Without `state`, `url` and `keys` the one cohort is meant that runs from this folder.

    Raises:
        click.UsageError: says which option is wrong and what would be right.
    """
    known = _known(state, given=url is not None or keys is not None)
    folder = keys or known.device_keys
    try:
        key = load(folder).current if folder is not None else None
    except KeyFileError as e:
        raise click.UsageError(str(e)) from e
    address = udp or known.udp
    return Target(transport, url or known.ingest, _host_port(address) if address else None, key, known.store)


def _known(state: Path | None, *, given: bool) -> Endpoints:
    try:
        if state is not None:
            return read(state)
        return (None if given else find()) or Endpoints(ingest=DEFAULT_URL)
    except EndpointsError as e:
        raise click.UsageError(f"--state: {e}") from e


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise click.UsageError(f"--udp {text}: HOST:PORT is expected")
    return host.strip("[]"), int(port)


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that `resolve` takes."""
    folder = click.Path(path_type=Path, file_okay=False)
    for option in (
        click.option("--keys", type=folder, help="Folder of the cohort's device key; without it nothing is signed."),
        click.option("--udp", metavar="HOST:PORT", help="The ingest's UDP port."),
        click.option("--url", help=f"The ingest's HTTP port.  [default: that of --state, else {DEFAULT_URL}]"),
        click.option(
            "--state",
            type=folder,
            help="State folder of a running `holter up`.  [default: the only one in .holter]",
        ),
        click.option("--transport", type=click.Choice(TRANSPORTS), default="binary", show_default=True),
    ):
        command = option(command)
    return command
