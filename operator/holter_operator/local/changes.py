"""What has to be done to get from one plan to the next. Pure."""

from dataclasses import dataclass
from pathlib import Path

from holter_operator.local.specs import Plan, ProcessSpec, VolumeSpec


@dataclass(frozen=True, slots=True)
class Changes:
    """Steps, in this order; what is in none of them is left alone.

    Attributes:
        publish: mounted files that are new or differ; running processes see them change.
        make: folders to make where they are not there.
        stop: processes that are gone or are to be started anew.
        remove: folders of mounted files that nothing mounts any more.
        start: processes that are new or have to begin anew.
        reschedule: a CronJob is new, gone or differs.
    """

    publish: tuple[VolumeSpec, ...]
    make: tuple[Path, ...]
    stop: tuple[str, ...]
    remove: tuple[Path, ...]
    start: tuple[ProcessSpec, ...]
    reschedule: bool

    def __bool__(self) -> bool:
        return bool(self.publish or self.make or self.stop or self.remove or self.start or self.reschedule)


def changes(old: Plan, new: Plan) -> Changes:
    """Compare two plans. A process starts anew when its spec differs; a changed file is no reason."""
    running = {p.name: p for p in old.processes}
    wanted = {p.name: p for p in new.processes}
    mounted = {v.folder: v for v in old.volumes}
    return Changes(
        publish=tuple(v for v in new.volumes if mounted.get(v.folder) != v),
        make=tuple(f for f in new.folders if f not in old.folders),
        stop=tuple(name for name, spec in running.items() if wanted.get(name) != spec),
        remove=tuple(sorted(set(mounted) - {v.folder for v in new.volumes}, reverse=True)),
        start=tuple(spec for name, spec in wanted.items() if running.get(name) != spec),
        reschedule=old.crons != new.crons,
    )
