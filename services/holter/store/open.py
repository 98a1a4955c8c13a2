"""From HOLTER_STORE to a store."""

from pathlib import Path
from typing import Literal

from holter.store.protocol import Store, StoreRefusedError


def open_store(url: str, *, layout: Literal["Chunks", "Samples"], writer: str) -> Store:
    """Open a store.

    Args:
        url: `sqlite:<file>`, or `influxdb:<folder of the files url, org, bucket, token>`.
        layout: how InfluxDB keeps samples; SQLite has one way of its own.
        writer: this process's name (the pod's), apart from that of any other process that writes.

    Raises:
        StoreUnavailableError: it cannot be opened now.
        StoreRefusedError: it never can: a wrong URL, a file that is not a store, a setting that is missing.
    """
    # Each imported where it is used: influxdb-client takes time and memory that a machine with SQLite need not spend.
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        from holter.store.sqlite import SqliteStore

        return SqliteStore(Path(rest))
    if scheme == "influxdb" and rest:
        from holter.store.influx import InfluxStore

        return InfluxStore(Path(rest), layout, writer)
    raise StoreRefusedError(f"store {url!r}: expected sqlite:<file> or influxdb:<folder>")


def warm(url: str = "influxdb:") -> None:
    """What the first write to such a store would take a second or more for: imports, compiled code."""
    if url.startswith("influxdb:"):
        from holter.store import influx, pcm

        assert influx  # imported to be there
        pcm.warm()
