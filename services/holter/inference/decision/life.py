"""The life of an alert: raised → updated → cleared; one per patient and kind; *high* latches until acknowledged."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from holter.alert import TECHNICAL, AlertEvent, Kind, Priority, Transition, alert_id
from holter.chunk import MICROSECONDS

NEW_ONSET = 2
"""Seconds off after which a condition that comes back is a new onset of the same alert: a heart that beats its own
rhythm for two seconds between two salvos has had two (docs/evaluation.md has what it is worth)."""
OVER_A_MINUTE = frozenset({Kind.ECTOPY, Kind.IRREGULAR_RHYTHM, Kind.ANOMALY})
"""What is judged over a minute is the same when it comes back within one."""
_LASTING = OVER_A_MINUTE | {Kind.TACHYCARDIA, Kind.BRADYCARDIA}
"""What is the same behind seconds that could not be judged. A run or an arrest seen after them is another one."""
_TECHNICAL_COOLDOWN = 10
_UNJUDGED = 3600
"""Seconds in a row that cannot be judged after which an alert is of the past, as a patient is who sends nothing."""
_RANK = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that holds in one second of one patient.

    Attributes:
        kind: what.
        priority: how urgent.
        since: event second at which it began.
        reason: in words.
        score: see AlertEvent.
        threshold: see AlertEvent.
        anew: it has begun again at `since`, though it held in every second before.
    """

    kind: Kind
    priority: Priority
    since: int
    reason: str
    score: float | None = None
    threshold: float | None = None
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """An alert that is not cleared.

    Attributes:
        event: its newest event.
        count: events so far.
        last_on: the last event second at which the condition held.
        acknowledged: somebody has seen it since its newest high event.
        off: seconds since then that were judged: it held in none of them.
        unjudged: seconds in a row, to now, in which nobody could tell.
    """

    event: AlertEvent
    count: int
    last_on: int
    acknowledged: bool = False
    off: int = 0
    unjudged: int = 0

    @property
    def latched(self) -> bool:
        """Stays until somebody acknowledges it: a patient's, not a cable's."""
        return self.event.priority is Priority.HIGH and self.event.kind not in TECHNICAL and not self.acknowledged


class Life:
    """Alerts of one cohort.

    Args:
        namespace: of the cohort.
        cohort: its name.
        cooldown: seconds off before an alert is cleared, of those that could be judged.
    """

    def __init__(self, namespace: str, cohort: str, cooldown: int) -> None:
        self._namespace, self._cohort = namespace, cohort
        self.cooldown = cooldown
        self._open: dict[str, dict[Kind, Open]] = {}
        self._decided: dict[tuple[str, Kind], int] = {}

    def restore(self, events: tuple[AlertEvent, ...]) -> None:
        """Go on with alerts of an earlier life, oldest event first; what was cleared is not raised a second time."""
        for event in events:
            self._decided[event.device_id, event.kind] = event.decided_at
            alerts = self._open.setdefault(event.device_id, {})
            if event.event is Transition.CLEARED:
                alerts.pop(event.kind, None)
            else:
                count = int(event.id.rpartition("-")[2]) + 1
                alerts[event.kind] = Open(event, count, event.decided_at // MICROSECONDS)

    def forget(self, device_ids: Collection[str]) -> None:
        """Another worker goes on with these devices."""
        for device_id in device_ids:
            self._open.pop(device_id, None)
        self._decided = {key: at for key, at in self._decided.items() if key[0] not in device_ids}

    def opened(self, events: tuple[AlertEvent, ...]) -> Iterator[AlertEvent]:
        """Those of `events` that are the newest of an alert that is not cleared."""
        return (e for e in events if (alert := self.open(e.device_id).get(e.kind)) and alert.event.id == e.id)

    def open(self, device_id: str) -> dict[Kind, Open]:
        """A device's alerts that are not cleared."""
        return self._open.get(device_id, {})

    def urgent(self, device_id: str, second: int) -> bool:
        """A physiological high alert is going on: nothing less is worth saying."""
        return any(
            alert.event.priority is Priority.HIGH
            and alert.event.kind not in TECHNICAL
            and second - alert.last_on < self.cooldown
            for alert in self._open.get(device_id, {}).values()
        )

    def acknowledge(self, device_id: str, identity: str) -> None:
        """Somebody has seen an alert."""
        alerts = self._open.get(device_id, {})
        for kind, alert in alerts.items():
            if alert.event.alert_id == identity:
                alerts[kind] = replace(alert, acknowledged=True)

    def step(
        self, device_id: str, second: int, conditions: list[Condition], revision: int, unjudged: Collection[Kind] = ()
    ) -> list[AlertEvent]:
        """One event second of one device: what is to be told.

        Args:
            device_id: whose.
            second: event time, s since the epoch.
            conditions: what holds.
            revision: the model's.
            unjudged: of what cannot be told whether it holds: what is not seen has not ended.
        """
        events = self.hold(device_id, second, conditions, revision)
        alerts = self._open.get(device_id, {})
        held = {condition.kind for condition in conditions}
        for kind in [k for k in alerts if k not in held]:
            if second * MICROSECONDS <= self._decided.get((device_id, kind), -1):
                continue  # an earlier life has been here, and did not clear it
            alert = alerts[kind] = self._passes(alerts[kind], kind not in unjudged)
            wait = min(self.cooldown, _TECHNICAL_COOLDOWN) if kind in TECHNICAL else self.cooldown
            if not alert.latched and (alert.off >= wait or alert.unjudged >= _UNJUDGED):
                why = "the condition has ended" if alert.off >= wait else "not to be judged for an hour"
                events.append(self._next(alert, Transition.CLEARED, second, why, revision))
                del alerts[kind]
        if not alerts:
            self._open.pop(device_id, None)
        return events

    def hold(self, device_id: str, second: int, conditions: list[Condition], revision: int) -> list[AlertEvent]:
        """These conditions hold; of all others nothing is known (a device that is silent)."""
        events: list[AlertEvent] = []
        alerts = self._open.setdefault(device_id, {})
        for condition in conditions:
            alert = alerts.get(condition.kind)
            if alert is None:
                self._raise(events, alerts, device_id, second, condition, revision)
            else:
                alerts[condition.kind] = self._goes_on(events, alert, second, condition, revision)
        return events

    def end(self, device_id: str, second: int, reason: str, revision: int) -> list[AlertEvent]:
        """The device has gone: what does not latch is cleared."""
        alerts = self._open.get(device_id, {})
        ended = [kind for kind, alert in alerts.items() if not alert.latched]
        return [self._next(alerts.pop(kind), Transition.CLEARED, second, reason, revision) for kind in ended]

    @staticmethod
    def _passes(alert: Open, judged: bool) -> Open:
        """A second in which it does not hold, or nobody can tell."""
        if judged:
            return replace(alert, off=alert.off + 1, unjudged=0)
        return replace(alert, unjudged=alert.unjudged + 1)

    def _goes_on(self, events: list[AlertEvent], alert: Open, second: int, condition: Condition, revision: int) -> Open:
        last_on = second if alert.last_on > second + self.cooldown else alert.last_on  # the clock was set back
        off = self.cooldown if alert.event.kind in OVER_A_MINUTE else NEW_ONSET
        gone = alert.off if alert.event.kind in _LASTING else second - last_on
        back = gone > off or (condition.anew and second > last_on)
        worse = _RANK[condition.priority] < _RANK[alert.event.priority]
        if back or worse:
            event = replace(
                self._next(alert, Transition.UPDATED, second, condition.reason, revision),
                onset=condition.since * MICROSECONDS if back else alert.event.onset,
                priority=condition.priority,
                score=condition.score,
                threshold=condition.threshold,
            )
            events.append(event)
            return Open(event, alert.count + 1, second, alert.acknowledged and event.priority is not Priority.HIGH)
        return replace(alert, last_on=max(second, last_on), off=0, unjudged=0)

    def _raise(
        self,
        events: list[AlertEvent],
        alerts: dict[Kind, Open],
        device_id: str,
        second: int,
        condition: Condition,
        revision: int,
    ) -> None:
        onset = condition.since * MICROSECONDS
        if second * MICROSECONDS <= self._decided.get((device_id, condition.kind), -1):
            return  # decided in an earlier life of this worker
        identity = alert_id(self._namespace, self._cohort, device_id, condition.kind, onset)
        event = AlertEvent(
            id=f"{identity}-0",
            alert_id=identity,
            event=Transition.RAISED,
            device_id=device_id,
            kind=condition.kind,
            priority=condition.priority,
            onset=onset,
            decided_at=second * MICROSECONDS,
            reason=condition.reason,
            score=condition.score,
            threshold=condition.threshold,
            model_revision=revision,
        )
        alerts[condition.kind] = Open(event, 1, second)
        events.append(event)

    @staticmethod
    def _next(alert: Open, transition: Transition, second: int, reason: str, revision: int) -> AlertEvent:
        return replace(
            alert.event,
            id=f"{alert.event.alert_id}-{alert.count}",
            event=transition,
            decided_at=second * MICROSECONDS,
            reason=reason,
            model_revision=revision,
        )
