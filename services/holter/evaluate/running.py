"""A folder of records, over as many processes as wanted: five minutes without a model, an unlabelled fit, the rest."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import cast

from holter.config import RefitConfig
from holter.evaluate.playing import LEARNING_SECONDS, Batch, Outcome, Setup, Simulated, join, take
from holter.inference.warm import warm
from holter.model.fit import MIN_ROWS
from holter.refit.train import Trained, train
from holter.signal.features import FEATURES, LOOKAHEAD
from holter.window import WindowScores

_SLICE = 30
_CAUGHT_UP = LEARNING_SECONDS + LOOKAHEAD + 2
"""By then the last learning window is out at any rate, and the next one is not."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a folder of records gave.

    Attributes:
        outcomes: in order of name.
        trained: the fit; None without a window to fit on.
        failures: records that could not be read, and why.
    """

    outcomes: tuple[Outcome, ...]
    trained: Trained | None
    failures: dict[str, str]


class _Process(BaseManager):
    """A process with one batch in it."""


_Process.register("Batch", Batch)


def run(paths: Sequence[Path | Simulated], setup: Setup, *, seed: int, jobs: int, step: Callable[[float], None]) -> Run:
    """Play records; the same records, setup and seed give the same outcomes, whatever `jobs` is.

    Args:
        paths: of records, without extension, and simulated patients.
        setup: how they are read.
        seed: of the fit.
        jobs: processes; 1: this one.
        step: called with the share that has been done, 0..1; from several threads.
    """
    with _batches(paths, setup, jobs) as batches, ThreadPoolExecutor(len(batches)) as threads:
        lengths = [int(seconds) + 1 for seconds in threads.map(lambda b: b.seconds(), batches)]
        done = 0

        def play(batch: Batch, first: int, last: int) -> None:
            nonlocal done
            for second in range(first, last, _SLICE):
                until = min(second + _SLICE, last)
                batch.play(second, until)
                done += until - second
                step(done / sum(lengths))

        caught_up = [min(_CAUGHT_UP, length) for length in lengths]
        list(threads.map(play, batches, [0] * len(batches), caught_up))
        trained = _fit(list(threads.map(lambda b: b.windows(LEARNING_SECONDS), batches)), seed)
        if trained is not None and trained.model is not None:
            for batch in batches:
                batch.use(trained.model)
        list(threads.map(play, batches, caught_up, lengths))
        outcomes = [o for found in threads.map(lambda b: b.outcomes(), batches) for o in found]
        failures = {name: why for batch in batches for name, why in batch.failures().items()}
    return Run(tuple(sorted(outcomes, key=lambda o: o.name)), trained, dict(sorted(failures.items())))


@contextmanager
def _batches(paths: Sequence[Path | Simulated], setup: Setup, jobs: int) -> Iterator[list[Batch]]:
    if jobs == 1:
        yield [Batch(paths, setup)]
        return
    warm()  # compiled once, so that the processes find it on disk
    with ExitStack() as stack:
        processes = [stack.enter_context(_Process(ctx=get_context("spawn"))) for _ in range(jobs)]
        with ThreadPoolExecutor(jobs) as threads:
            yield list(threads.map(lambda p, i: cast("Batch", p.Batch(paths[i::jobs], setup)), processes, range(jobs)))


def _fit(parts: Sequence[WindowScores | None], seed: int) -> Trained | None:
    """The refit of a service, on whatever there is of the learning period."""
    windows = join([part for part in parts if part is not None])
    if windows is None:
        return None
    order = sorted(range(len(windows)), key=lambda i: (windows.device_ids[i], int(windows.ends[i])))
    config = RefitConfig(cohort="evaluate", namespace="", min_windows=MIN_ROWS)
    trained = train(take(windows, order), FEATURES, config, None, seed)
    if trained.model is None:
        return trained
    return replace(trained, model=replace(trained.model, revision=1))
