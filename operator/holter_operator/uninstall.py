"""What `helm uninstall` runs first: deletes the cohorts while their operator still runs, and waits until they are gone.

Run as `python -m holter_operator.uninstall`, with HOLTER_WATCH_NAMESPACES, and HOLTER_DELETION_SECONDS as the longest
wait.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable

from holter_operator.build.meta import Object
from holter_operator.io.kube import Kube, KubeError, connect
from holter_operator.reconcile.kinds import COHORT
from holter_operator.settings import SettingError, read

PAUSE = 1.0


def clear(
    kube: Kube,
    namespaces: Iterable[str],
    seconds: float,
    *,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Delete all cohorts and wait for them to go.

    Args:
        kube: the API server.
        namespaces: where; none for everywhere.
        seconds: the longest wait.
        say: told what happens.
        clock: seconds.
        sleep: waits.

    Returns:
        Those that are still there, as `<namespace>/<name>`.

    Raises:
        KubeError: the API server refused, or did not answer until the time was up.
    """
    places = tuple(namespaces) or (None,)
    end = clock() + seconds
    told: set[str] = set()
    while True:
        try:
            left = [cohort for place in places for cohort in _cohorts(kube, place)]
            for cohort in left:
                _delete(kube, cohort, told, say)
        except KubeError as error:
            if not error.passing or clock() >= end:
                raise
            left = None
        if left == [] or (left is not None and clock() >= end):
            return sorted(_name(cohort) for cohort in left)
        sleep(PAUSE)


def main() -> int:
    """0 once no cohort is left; 1 names those that are."""
    try:
        settings = read(os.environ)
        kube = Kube(connect(), lambda *_: None)
        left = clear(kube, settings.namespaces, settings.deletion, say=_say)
    except (KubeError, SettingError) as error:
        _say(str(error))
        return 1
    if left:
        _say(
            f"still there after {settings.deletion:g} s: {', '.join(left)}. See the operator's log and their events, "
            "then run helm uninstall again. With --no-hooks they stay, and wait for an operator when they are deleted."
        )
        return 1
    _say("no cohort is left")
    return 0


def _cohorts(kube: Kube, namespace: str | None) -> list[Object]:
    try:
        return kube.list(COHORT, namespace, metadata=True)[0]
    except KubeError as error:
        if error.status == 404:  # the CRD is gone, and all cohorts with it
            return []
        raise


def _delete(kube: Kube, cohort: Object, told: set[str], say: Callable[[str], None]) -> None:
    name, metadata = _name(cohort), cohort["metadata"]
    if name in told or metadata.get("deletionTimestamp"):
        return
    kube.delete(COHORT, metadata["namespace"], metadata["name"], uid=metadata["uid"])
    told.add(name)
    say(f"deleting {name}")


def _name(cohort: Object) -> str:
    return f"{cohort['metadata']['namespace']}/{cohort['metadata']['name']}"


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the Job's log


if __name__ == "__main__":
    sys.exit(main())
