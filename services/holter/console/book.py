"""The book of alerts: events and acknowledgements in, whatever their order; each alert as it is now out. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from holter.alert import Acknowledgement, AlertEvent, Category, Priority, Transition

_RANK = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}
Offset = Callable[[str], int]
"""Device id → how far the wall clock is ahead of that device's clock, µs; 0 while that is not known."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alert as it is now.

    Attributes:
        newest: its newest event.
        raised: decision time of its first event that is known, µs.
        onset: of that event, µs.
        asked: decision time of the newest event that asks to be seen: the first one, or a later one of high priority.
        acks: who has seen it, oldest first.
    """

    newest: AlertEvent
    raised: int
    onset: int
    asked: int
    acks: tuple[Acknowledgement, ...] = ()

    @property
    def active(self) -> bool:
        """Not cleared."""
        return self.newest.event is not Transition.CLEARED

    def acknowledged(self, offset: int) -> bool:
        """Whether somebody has seen it since it last asked.

        The worker's rule (`decision.life`): an update of high priority, a new onset, has to be seen anew. An
        acknowledgement is of the wall clock, an event of the device's.

        Args:
            offset: how far the wall clock is ahead of the device's, µs.
        """
        return any(ack.at >= self.asked + offset for ack in self.acks)


@dataclass(slots=True)
class Book:
    """All alerts that are open, and those cleared lately."""

    alarms: dict[str, Alarm] = field(default_factory=dict)
    _acks: dict[str, tuple[Acknowledgement, ...]] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)

    def take(self, events: Iterable[AlertEvent]) -> set[str]:
        """Enter events, known ones too; the ids of the alerts that are other now."""
        changed = set()
        for event in events:
            if event.id in self._seen:
                continue
            self._seen[event.id] = event.decided_at
            changed.add(event.alert_id)
            known = self.alarms.get(event.alert_id)
            self.alarms[event.alert_id] = _entered(known, event, self._acks.get(event.alert_id, ()))
        return changed

    def acknowledge(self, acks: Iterable[Acknowledgement]) -> set[str]:
        """Enter acknowledgements, known ones too; the ids of the alerts that are other now."""
        changed = set()
        for ack in acks:
            known = self._acks.get(ack.alert_id, ())
            if ack in known:
                continue
            entered = tuple(sorted((*known, ack), key=lambda one: one.at))
            self._acks[ack.alert_id] = entered
            if ack.alert_id in self.alarms:
                self.alarms[ack.alert_id] = replace(self.alarms[ack.alert_id], acks=entered)
                changed.add(ack.alert_id)
        return changed

    def prune(self, before: int) -> None:
        """Let go of what was cleared before event time `before` (µs); events that old must not be entered again."""
        for identity, alarm in list(self.alarms.items()):
            if not alarm.active and alarm.newest.decided_at < before:
                del self.alarms[identity]
        self._seen = {event: at for event, at in self._seen.items() if at >= before}
        self._acks = {identity: acks for identity, acks in self._acks.items() if identity in self.alarms}

    def active_devices(self) -> set[str]:
        """Devices with an alert that is not cleared."""
        return {alarm.newest.device_id for alarm in self.alarms.values() if alarm.active}

    def latest(self, cleared: int) -> list[str]:
        """Ids of all that are not cleared, and of so many of those cleared last."""
        past = [identity for identity, alarm in self.alarms.items() if not alarm.active]
        past.sort(key=lambda identity: self.alarms[identity].newest.decided_at)
        return [identity for identity, alarm in self.alarms.items() if alarm.active] + past[-cleared:]

    def describe(self, identity: str, offset: Offset) -> dict[str, object]:
        """An alert as browsers are told of it; times in ms since the epoch, `delay` in seconds of event time."""
        alarm = self.alarms[identity]
        event = alarm.newest
        return {
            "id": identity,
            "device": event.device_id,
            "kind": event.kind,
            "technical": event.category is Category.TECHNICAL,
            "priority": event.priority,
            "rank": _RANK[event.priority],
            "active": alarm.active,
            "acknowledged": alarm.acknowledged(offset(event.device_id)),
            "onset": alarm.onset / 1000,
            "newestOnset": event.onset / 1000,
            "raised": alarm.raised / 1000,
            "decided": event.decided_at / 1000,
            "delay": (alarm.raised - alarm.onset) / 1e6,
            "reason": event.reason,
            "score": event.score,
            "threshold": event.threshold,
            "revision": event.model_revision,
            "acks": [{"by": ack.by, "reason": ack.reason, "at": ack.at / 1000} for ack in alarm.acks],
        }


def _entered(known: Alarm | None, event: AlertEvent, acks: tuple[Acknowledgement, ...]) -> Alarm:
    asks = event.event is Transition.RAISED or (event.event is Transition.UPDATED and event.priority is Priority.HIGH)
    if known is None:
        return Alarm(event, event.decided_at, event.onset, event.decided_at, acks)
    earlier = event.decided_at < known.raised
    return replace(
        known,
        newest=event if _ordinal(event) > _ordinal(known.newest) else known.newest,
        raised=event.decided_at if earlier else known.raised,
        onset=event.onset if earlier else known.onset,
        asked=max(known.asked, event.decided_at) if asks else known.asked,
    )


def _ordinal(event: AlertEvent) -> int:
    return int(event.id.rpartition("-")[2])
