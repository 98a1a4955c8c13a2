"""The store as a sink: an alert is kept there too, however long the store was away."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from holter.alert import AlertEvent
from holter.inference.sinks.sink import Sink, SinkRefusedError, SinkUnavailableError
from holter.store.protocol import Store, StoreRefusedError, StoreUnavailableError


class StoreSink(Sink):
    """Writes each event with `Store.write_alert`, in a thread of its own: a store that hangs holds up no other sink."""

    name = "store"
    width = 1

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "alert-store")

    async def send(self, event: AlertEvent) -> None:
        """See `Sink.send`."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._store.write_alert, event)
        except StoreUnavailableError as error:
            raise SinkUnavailableError(str(error)) from error
        except StoreRefusedError as error:
            raise SinkRefusedError(str(error)) from error

    def close(self) -> None:
        """See `Sink.close`; a write that is under way ends by itself."""
        self._thread.shutdown(wait=False)
