"""What one edit touches, and what it leaves alone."""

from pathlib import Path

from holter_operator.local.changes import changes
from holter_operator.local.specs import CronSpec, Plan, ProcessSpec, VolumeSpec

INGEST = ProcessSpec("ingest", ("/h", "ingest"), env={"A": "1"})
INFER = ProcessSpec("inference", ("/h", "infer"))
CONFIG = VolumeSpec(Path("/m/config"), {"ingest.json": b"{}"})
KEY = VolumeSpec(Path("/m/key"), {"current": b"k"})
CRON = CronSpec("0 0 * * *", "Etc/UTC", suspend=False, process=ProcessSpec("refit", ("/h", "refit")))
PLAN = Plan(processes=(INGEST, INFER), crons=(CRON,), volumes=(CONFIG, KEY), folders=(Path("/d"),))


def test_nothing_differs_nothing_is_done():
    assert not changes(PLAN, PLAN)


def test_the_first_plan_starts_everything():
    todo = changes(Plan(), PLAN)
    assert (todo.publish, todo.make, todo.start, todo.reschedule) == (PLAN.volumes, PLAN.folders, PLAN.processes, True)
    assert (todo.stop, todo.remove) == ((), ())


def test_a_changed_file_is_published_and_nobody_restarts():
    changed = VolumeSpec(CONFIG.folder, {"ingest.json": b'{"batchSize": 1}'})
    todo = changes(PLAN, Plan(PLAN.processes, PLAN.crons, (changed, KEY), PLAN.folders))
    assert todo.publish == (changed,)
    assert (todo.stop, todo.start, todo.remove, todo.reschedule) == ((), (), (), False)


def test_a_changed_variable_restarts_that_component_alone():
    changed = ProcessSpec("ingest", INGEST.argv, env={"A": "2"})
    todo = changes(PLAN, Plan((changed, INFER), PLAN.crons, PLAN.volumes, PLAN.folders))
    assert (todo.stop, todo.start) == (("ingest",), (changed,))


def test_a_changed_annotation_restarts_as_it_rolls_a_pod():
    changed = ProcessSpec("inference", INFER.argv, annotations={"restart-hash": "b"})
    todo = changes(PLAN, Plan((INGEST, changed), PLAN.crons, PLAN.volumes, PLAN.folders))
    assert (todo.stop, todo.start) == (("inference",), (changed,))


def test_what_is_gone_is_stopped_and_its_files_are_removed():
    todo = changes(PLAN, Plan((INGEST,), (), (CONFIG,), PLAN.folders))
    assert (todo.stop, todo.remove, todo.start, todo.reschedule) == (("inference",), (KEY.folder,), (), True)
