"""What an alert sink is: somewhere that alert events are delivered to, at least once."""

from abc import ABC, abstractmethod

from holter.alert import AlertEvent


class SinkUnavailableError(Exception):
    """It did not take the event and may later.

    Attributes:
        retry_after: seconds it asks us to wait, where it does.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SinkRefusedError(Exception):
    """It says that it will not take the event. It is asked again all the same, ever more slowly (see delivery.py)."""


class Sink(ABC):
    """A receiver of alert events. Made and used on the event loop.

    Attributes:
        name: stable and unique; the queue's name in the outbox and the metrics' label `sink`.
        width: how many events may be on their way at a time.
        repeat_every: seconds between calls of `repeat`, None for never.
    """

    name: str
    width: int = 8
    repeat_every: float | None = None

    @abstractmethod
    async def send(self, event: AlertEvent) -> None:
        """Deliver one event; returns when it is taken. May be called again with the same event.

        Raises:
            SinkUnavailableError: try again.
            SinkRefusedError: it will not be taken.
        """

    async def repeat(self) -> None:  # noqa: B027 - most have nothing to repeat
        """Say again what holds now; called at the start and then each `repeat_every`. Raises as `send` does."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of connections and threads."""
