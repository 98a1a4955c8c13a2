"""A cohort's services as processes on this machine, on one SQLite store. No pytest in here."""

from pathlib import Path

from holter.alert import AlertEvent
from holter.bench.services import Services
from holter.sim.endpoints import Target
from holter.store.open import open_store


class Machine(Services):
    """`ingest-0` and `infer-0`, `infer-1` …

    Args:
        folder: for configuration, state, store and logs.
        workers: how many `holter infer` there are.
        inference: further fields of `inference.json`; with `source="Feed"` they are fed.
    """

    def __init__(self, folder: Path, workers: int = 1, **inference: object) -> None:
        self.store_url = f"sqlite:{folder / 'store.db'}"
        inference = {"source": "Store", **inference}
        super().__init__(
            folder, self.store_url, patients=10_000, workers=workers, ingest={"udp": True}, inference=inference
        )

    @property
    def target(self) -> Target:
        """For `holter.sim`'s senders: binary frames over HTTP."""
        return Target("binary", f"http://127.0.0.1:{self.ports['ingest-0']['http']}", None, self.key, self.store_url)

    def alerts(self) -> tuple[AlertEvent, ...]:
        """Alert events in the store."""
        store = open_store(self.store_url, layout="Chunks", writer="test")
        try:
            return store.read_alerts(0)
        finally:
            store.close()

    def stored(self) -> dict[str, set[int]]:
        """Of each device the times (`t0`) of its chunks in the store."""
        store = open_store(self.store_url, layout="Chunks", writer="test")
        found: dict[str, set[int]] = {}
        cursor = 0
        try:
            while (page := store.read_chunks(range(64), cursor)).cursor != cursor:
                cursor = page.cursor
                for chunk in page.chunks:
                    found.setdefault(chunk.device_id, set()).add(chunk.t0)
        finally:
            store.close()
        return found
