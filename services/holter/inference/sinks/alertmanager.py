"""Prometheus Alertmanager, API v2: what is active is said again each minute, so a dead Holter's alerts resolve.

One alert there is one patient and kind: the labels hold nothing that changes in its life but the priority, and when
that changes, the alert with the old one is ended in the same post.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice, takewhile

import orjson

from holter.alert import AlertEvent, Kind, Priority
from holter.inference.outbox import Outbox
from holter.inference.sinks.http import TOTAL_SECONDS, Poster
from holter.inference.sinks.sink import Sink
from holter.inference.sinks.webhook import rfc3339

REPEAT = 60.0
"""Seconds between posts of what is active."""
LASTS = 240.0
"""Seconds that one post keeps an alert active."""
_AT_A_TIME = 500
_SEVERITY = {Priority.HIGH: "critical", Priority.MEDIUM: "warning", Priority.LOW: "info"}


def labels(event: AlertEvent, namespace: str, cohort: str) -> dict[str, str]:
    """What Alertmanager knows an alert by."""
    return {
        "alertname": "Holter" + "".join(word.capitalize() for word in event.kind.split("_")),
        "namespace": namespace,
        "cohort": cohort,
        "device_id": event.device_id,
        "kind": str(event.kind),
        "category": str(event.category),
        "priority": str(event.priority),
        "severity": _SEVERITY[event.priority],
    }


def posted(event: AlertEvent, namespace: str, cohort: str, now: float, *, active: bool) -> dict[str, object]:
    """One element of the body of `POST /api/v2/alerts`.

    Args:
        event: whose alert.
        namespace: the cohort's.
        cohort: its name.
        now: wall clock, seconds since the epoch.
        active: whether it goes on for `LASTS`, or ends now.
    """
    # A device's clock may be ahead; Alertmanager refuses what starts after it ends.
    starts = min(event.onset / 1e6, now)
    words = event.kind.replace("_", " ").capitalize()
    return {
        "labels": labels(event, namespace, cohort),
        "annotations": {
            "summary": f"{words}: device {event.device_id} of cohort {namespace}/{cohort}",
            "reason": event.reason,
            "alert": event.alert_id,
            "onset": rfc3339(event.onset),
        },
        "startsAt": _time(starts),
        "endsAt": _time(now + LASTS if active else now),
    }


def _key(event: AlertEvent) -> tuple[str, Kind, Priority]:
    return event.device_id, event.kind, event.priority  # what differs between the labels of one cohort


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class AlertmanagerSink(Sink):
    """Posts each event, and each minute all open alerts of the outbox, which a restart restores.

    Args:
        url: Alertmanager's own, without `/api/v2/alerts`.
        namespace: the cohort's.
        cohort: its name.
        outbox: knows what is open.
        clock: wall clock, seconds.
        timeout: seconds for one attempt.
    """

    name = "alertmanager"
    width = 1
    repeat_every = REPEAT

    def __init__(
        self,
        url: str,
        namespace: str,
        cohort: str,
        outbox: Outbox,
        *,
        clock: Callable[[], float] = time.time,
        timeout: float = TOTAL_SECONDS,
    ) -> None:
        self._url = f"{url.rstrip('/')}/api/v2/alerts"
        self._namespace, self._cohort = namespace, cohort
        self._outbox = outbox
        self._clock = clock
        self._poster = Poster(self.width, timeout)
        # Else a repetition read just before an alert was cleared could be posted just after.
        self._one_at_a_time = asyncio.Lock()

    async def send(self, event: AlertEvent) -> None:
        """Post what holds now of this alert, under its labels and those that it had before; see `Sink.send`.

        So an event that comes late, when the alert has ended or the patient has the next of its kind, says nothing old.
        """
        async with self._one_at_a_time:
            history = await asyncio.to_thread(self._outbox.history, event.alert_id)
            alerts = await asyncio.to_thread(self._outbox.open_alerts)
            active = {_key(other): other for other in alerts}
            before = list(takewhile(lambda other: other.id != event.id, history))[-1:]
            touched = {_key(other): other for other in (*before, event)}
            await self._post(
                self._posted(active.get(key, other), active=key in active) for key, other in touched.items()
            )

    async def repeat(self) -> None:
        """See `Sink.repeat`."""
        async with self._one_at_a_time:
            alerts = iter(await asyncio.to_thread(self._outbox.open_alerts))
            while some := list(islice(alerts, _AT_A_TIME)):
                await self._post(self._posted(event, active=True) for event in some)

    def _posted(self, event: AlertEvent, *, active: bool) -> dict[str, object]:
        return posted(event, self._namespace, self._cohort, self._clock(), active=active)

    async def _post(self, alerts: Iterable[dict[str, object]]) -> None:
        await self._poster.post(self._url, orjson.dumps(list(alerts)), {})

    def close(self) -> None:
        """See `Sink.close`."""
        self._poster.close()
