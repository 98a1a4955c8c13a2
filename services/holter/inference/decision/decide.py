"""One tick in, alert events out: rules over the batch, then the life of the few patients who have something."""

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from holter.alert import TECHNICAL, AlertEvent, Kind, Priority
from holter.config import PatientProfile
from holter.inference.decision.life import Condition, Life
from holter.inference.decision.limits import LIMITS, ORDERED_THRESHOLD, Limits, row
from holter.inference.decision.rules import KINDS, MEMORY, Found, find
from holter.inference.decision.words import reason
from holter.inference.engine import Engine, Tick

_PRIORITIES = (Priority.HIGH, Priority.MEDIUM, Priority.LOW)
_LETHAL = (Kind.VENTRICULAR_TACHYCARDIA, Kind.VENTRICULAR_FIBRILLATION)
_SCORED = (Kind.ECTOPY, Kind.ANOMALY)


def _no_profile(_: str) -> PatientProfile:
    return PatientProfile()


class Decision:
    """What has to be remembered between ticks, beside the engine's own slots.

    Args:
        engine: whose ticks are judged.
        life: the cohort's alerts.
        limits: the cohort's; replace them at any time.
        profile_of: what is known of a patient.
    """

    def __init__(
        self, engine: Engine, life: Life, limits: Limits, profile_of: Callable[[str], PatientProfile] = _no_profile
    ) -> None:
        self.limits = limits
        self._engine, self._life = engine, life
        self._memory: NDArray[np.void] = np.zeros(0, MEMORY)
        self._rows: NDArray[np.void] = np.zeros(0, LIMITS)
        self._profile_of = profile_of
        self._known: list[str | None] = []
        self._score: NDArray[np.float32] = np.zeros(0, np.float32)

    def profiles_changed(self) -> None:
        """Look up what is known of each patient again."""
        for slot, device_id in enumerate(self._known):
            if device_id is not None:
                self._rows[slot] = row(self._profile_of(device_id))

    def forget(self, device_ids: Collection[str]) -> None:
        """Another worker goes on with these devices."""
        for slot, device_id in enumerate(self._known):
            if device_id in device_ids:
                self._known[slot] = None
                self._memory[slot] = np.zeros((), MEMORY)

    def step(self, tick: Tick) -> list[AlertEvent]:
        """Judge a tick; its windows' `alerted` column is filled in."""
        self._follow(tick.slots)
        rows = self._rows[tick.slots]
        self._engine.know(tick.slots, rows["paced"])
        found = find(tick, self._engine.state, self._memory, rows, self.limits)
        if tick.scores is not None:
            self._score[tick.slots[tick.windows]] = tick.scores.score if self.limits.revision else tick.scores.ordered
        events: list[AlertEvent] = []
        something: NDArray[np.bool_] = np.any(found.on, axis=1)
        for i, slot in enumerate(tick.slots):
            device_id = self._engine.device_ids[slot] or ""
            if something[i] or self._life.open(device_id):
                conditions = self._conditions(tick, found, i)
                unjudged = [KINDS[column] for column in np.flatnonzero(~found.judged[i])]
                events += self._life.step(device_id, int(tick.seconds[i]), conditions, self.limits.revision, unjudged)
        if tick.scores is not None:
            for w, i in enumerate(tick.windows):
                open_kinds = self._life.open(self._engine.device_ids[tick.slots[i]] or "")
                tick.scores.alerted[w] = any(kind not in TECHNICAL for kind in open_kinds)
        return events

    def _conditions(self, tick: Tick, found: Found, i: int) -> list[Condition]:
        second = int(tick.seconds[i])
        muted = self._rows["muted_until"][tick.slots[i]] > second
        chained = self._life.urgent(self._engine.device_ids[tick.slots[i]] or "", second)
        conditions = []
        for column in np.flatnonzero(found.on[i]):
            kind, priority = KINDS[column], _PRIORITIES[found.priority[i, column]]
            if (muted or chained) and priority is not Priority.HIGH and kind not in TECHNICAL:
                continue
            since = int(found.since[i, column])
            condition = Condition(kind, priority, since, reason(kind, tick, i, second - since))
            if kind in _LETHAL:
                score = round(float(tick.probability[i]), 4)
                limit = round(float(found.least[i]), 4)
                condition = replace(condition, score=score, threshold=limit, anew=bool(found.anew[i]))
            elif kind in _SCORED:
                limit = round(self.limits.threshold if self.limits.revision else ORDERED_THRESHOLD, 4)
                score = round(float(self._score[tick.slots[i]]), 4)
                condition = replace(condition, score=score, threshold=limit)
            conditions.append(condition)
        return conditions

    def _follow(self, slots: NDArray[np.int64]) -> None:
        """Grow with the engine; a slot that has a new patient begins anew."""
        capacity = len(self._engine.state)
        more = capacity - len(self._memory)
        if more:
            self._memory = np.concatenate([self._memory, np.zeros(more, MEMORY)])
            self._rows = np.concatenate([self._rows, np.zeros(more, LIMITS)])
            self._score = np.concatenate([self._score, np.zeros(more, np.float32)])
            self._known += [None] * more
        for slot in slots:
            device_id = self._engine.device_ids[slot]
            if self._known[slot] != device_id:
                if self._known[slot] is not None:
                    self._memory[slot] = np.zeros((), MEMORY)
                self._known[slot] = device_id
                self._rows[slot] = row(self._profile_of(device_id or ""))
