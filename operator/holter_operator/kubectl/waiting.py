"""Waiting for something in the cluster, with a bar that shows how long."""

import time
from collections.abc import Callable
from typing import TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from holter_operator.io.kube import KubeError
from holter_operator.kubectl.options import Target

T = TypeVar("T")
EVERY = 1.0


class TimedOutError(Exception):
    """It did not come; the message says what was seen last."""


def wait(target: Target, what: str, look: Callable[[], tuple[str, T | None]], timeout: float) -> T:
    """Look until there is a result.

    Args:
        target: how to answer: a bar for people on a terminal, nothing for programs.
        what: is waited for.
        look: gives words on how it is, and the result or None.
        timeout: seconds.

    Raises:
        TimedOutError: no result in time.
    """
    console, until = target.console(), time.monotonic() + timeout
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    words = what
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=timeout)
        while True:
            try:
                words, result = look()
            except KubeError as error:
                if not error.passing:
                    raise
                words, result = str(error), None
            if result is not None:
                return result
            left = until - time.monotonic()
            if left <= 0:
                raise TimedOutError(f"{what}: not within {timeout:g} s; last seen: {words}")
            progress.update(task, description=f"{what}: {words}", completed=timeout - left)
            time.sleep(min(EVERY, left))
