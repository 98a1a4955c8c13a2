"""What people do to a cohort: refit, pause, resume, roll back. Each waits until the operator has done it."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import click

from holter_operator.build.meta import COHORT_LABEL, Object
from holter_operator.io.kube import KubeError
from holter_operator.kubectl.access import Access
from holter_operator.kubectl.options import Target, explained, target_options
from holter_operator.kubectl.snapshot import cron_job, refit_of, revisions
from holter_operator.kubectl.waiting import TimedOutError, wait
from holter_operator.reconcile.kinds import COHORT, CONFIG_MAP, JOB, POD
from holter_operator.reconcile.refits import job
from holter_operator.reconcile.status import condition

NOT_DONE = 1


def waiting_options(seconds: float) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`--wait` and `--timeout`."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        click.option("--timeout", type=float, default=seconds, show_default=True, help="Seconds to wait.")(command)
        click.option("--wait/--no-wait", "waits", default=True, help="Until it is done.  [default: wait]")(command)
        return command

    return add


@click.command()
@click.argument("cohort", required=False)
@target_options
@waiting_options(1800)
def refit(cohort: str | None, target: Target, waits: bool, timeout: float) -> None:
    """Fit a new model now, and tell what the gate made of it.

    Exit code 0: accepted; 1: it failed or was refused.
    """
    access = target.connect()
    document = target.cohort(access, cohort)
    namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]
    before = _candidate(document).get("trainedAt")
    try:
        pattern = cron_job(access, document)
        if pattern is None:
            target.fail(f"CronJob {name}-refit is missing: kubectl holter status {name} -n {namespace} says why")
        made = job(pattern, pattern["metadata"]["uid"], 0)
        called = f"{name}-refit-{secrets.token_hex(3)}"
        made["metadata"]["name"] = called
        made["spec"].pop("ttlSecondsAfterFinished", None)
        access.kube.create(JOB, {**made, "spec": {**made["spec"], "ttlSecondsAfterFinished": 86400}})
        if not waits:
            target.say(f"Job {called} was started", job=called, cohort=name, namespace=namespace)
            return
        ended = wait(target, f"refit {called}", lambda: _job_state(access, namespace, called), timeout)
        if ended.state == "failed":
            do = f"kubectl -n {namespace} logs job/{called}"
            target.fail(f"Job {called} has failed: {ended.why}; {do}", NOT_DONE)
        verdict = wait(target, "the gate", lambda: _verdict(access, namespace, name, before), 120)
    except KubeError as error:
        target.fail(explained(error))
    except TimedOutError as error:
        target.fail(str(error), NOT_DONE)
    text = f"{verdict['verdict']}: {verdict.get('reason', '')}"
    target.say(text, job=called, cohort=name, namespace=namespace, candidate=dict(verdict))
    if verdict["verdict"] == "Refused":
        raise click.exceptions.Exit(NOT_DONE)


def _job_state(access: Access, namespace: str, name: str) -> tuple[str, Any]:
    found = access.kube.get(JOB, namespace, name)
    if found is None:
        raise KubeError(404, "NotFound", f"Job {name} was deleted")
    state = refit_of(found)
    if state.state != "running":
        return state.state, state
    pods, _ = access.kube.list(POD, namespace, labels=f"batch.kubernetes.io/job-name={name}")
    phases = ", ".join(sorted(pod["status"].get("phase", "Pending") for pod in pods)) or "no pod yet"
    return phases, None


def _candidate(cohort: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = ((cohort.get("status") or {}).get("model") or {}).get("candidate") or {}
    return found


def _verdict(access: Access, namespace: str, name: str, before: str | None) -> tuple[str, Mapping[str, Any] | None]:
    found = access.kube.get(COHORT, namespace, name) or {}
    candidate = _candidate(found)
    new = candidate if candidate.get("trainedAt") != before and "verdict" in candidate else None
    return "waits for the operator", new


def _set(target: Target, access: Access, document: Object, spec: Object) -> int:
    """Change the spec; the new generation."""
    metadata = document["metadata"]
    try:
        changed = access.kube.patch(COHORT, metadata["namespace"], metadata["name"], {"spec": spec})
    except KubeError as error:
        target.fail(explained(error), NOT_DONE if error.status == 422 else 2)
    return int(changed["metadata"]["generation"])


def _followed(
    target: Target,
    access: Access,
    document: Object,
    spec: Object,
    done: Callable[[Object], bool],
    waits: bool,
    timeout: float,
) -> None:
    """Change the spec and, if asked to, wait until the operator has followed."""
    metadata = document["metadata"]
    generation = _set(target, access, document, spec)

    def look() -> tuple[str, bool | None]:
        found = access.kube.get(COHORT, metadata["namespace"], metadata["name"]) or {}
        status = found.get("status") or {}
        degraded = condition(status, "Degraded")
        seen = status.get("observedGeneration", 0) >= generation
        words = degraded["message"] if degraded.get("status") == "True" else status.get("phase", "not looked at yet")
        return words, True if seen and done(status) else None

    if not waits:
        return
    try:
        wait(target, "the operator", look, timeout)
    except TimedOutError as error:
        target.fail(str(error), NOT_DONE)
    except KubeError as error:
        target.fail(explained(error))


def _pausing(paused: bool) -> Callable[..., None]:
    @target_options
    @waiting_options(60)
    def command(cohort: str | None, target: Target, waits: bool, timeout: float) -> None:
        access = target.connect()
        document = target.cohort(access, cohort)

        def done(status: Object) -> bool:
            return condition(status, "Paused").get("status") == str(paused)

        _followed(target, access, document, {"paused": paused}, done, waits, timeout)
        metadata = document["metadata"]
        words = "is paused: nothing is changed or repaired" if paused else "goes on"
        target.say(
            f"{metadata['namespace']}/{metadata['name']} {words}",
            cohort=metadata["name"],
            namespace=metadata["namespace"],
            paused=paused,
        )

    return command


pause = click.command("pause", help="Leave all of COHORT as it is: nothing is changed or repaired until `resume`.")(
    click.argument("cohort", required=False)(_pausing(True))
)
resume = click.command("resume", help="Let the operator keep COHORT again.")(
    click.argument("cohort", required=False)(_pausing(False))
)


@click.command()
@click.argument("cohort", required=False)
@target_options
@click.option("--to", "revision", type=click.IntRange(1), help="Which revision.  [default: the one before]")
@click.option("--release", is_flag=True, help="Hold none any longer: the newest is put to work.")
@waiting_options(120)
def rollback(
    cohort: str | None, target: Target, revision: int | None, release: bool, waits: bool, timeout: float
) -> None:
    """Put an earlier model to work and hold it (spec.model.pinnedRevision)."""
    if release and revision is not None:
        raise click.UsageError("--to holds a revision, --release holds none: one of them")
    access = target.connect()
    document = target.cohort(access, cohort)
    namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]
    try:
        listed, _ = access.kube.list(CONFIG_MAP, namespace, labels=f"{COHORT_LABEL}={name}", metadata=True)
    except KubeError as error:
        target.fail(explained(error))
    kept = revisions(name, listed)
    now = ((document.get("status") or {}).get("model") or {}).get("revision") or 0
    wanted = None if release else revision or max((n for n in kept if n < now), default=None)
    known = ", ".join(map(str, kept)) or "none"
    if not release and wanted is None:
        target.fail(f"there is no revision before {now} to go back to; kept are {known}", NOT_DONE)
    if wanted is not None and wanted not in kept:
        target.fail(f"revision {wanted} is not kept; kept are {known}", NOT_DONE)
    expected = wanted if wanted is not None else max(kept, default=0)

    def done(status: Object) -> bool:
        return ((status.get("model") or {}).get("revision") or 0) == expected

    _followed(target, access, document, {"model": {"pinnedRevision": wanted}}, done, waits, timeout)
    text = f"revision {expected} is at work" + (", and held" if wanted is not None else "; none is held")
    target.say(text, cohort=name, namespace=namespace, revision=expected, held=wanted is not None, before=now)
