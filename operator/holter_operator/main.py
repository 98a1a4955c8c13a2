"""`holter operate`: the operator. kopf's handlers only tell what has changed; `reconcile/` does the work."""

import asyncio
import logging
import os
import signal
import sys
from typing import Any, cast

import click
import kopf
import structlog
from kopf._cogs.clients.errors import APINotFoundError  # kopf raises it and does not export it

from holter_operator.build.meta import COHORT_LABEL
from holter_operator.controller import Operator
from holter_operator.reconcile.kinds import CHILDREN, COHORT, SECRET, Kind
from holter_operator.settings import SettingError, Settings, read

log = structlog.get_logger()


def register(operator: Operator, registry: kopf.OperatorRegistry, ended: asyncio.Event) -> None:
    """Put the operator's handlers into a registry. Only `on.event`: others would leave finalizers on what they see.

    Args:
        operator: what the watches tell.
        registry: of kopf.
        ended: set by SIGINT and SIGTERM.
    """

    @kopf.on.login(registry=registry, errors=kopf.ErrorsMode.IGNORED)
    def login(**given: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_via_client(**given)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):  # kopf's own would be lost between two rounds of `run`
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        configure(settings)
        await operator.start()

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await operator.stop()

    @kopf.on.event(COHORT.group, COHORT.version, COHORT.plural, registry=registry)
    async def cohort(event: kopf.RawEvent, **_: Any) -> None:
        await operator.cohort(event["type"], cast("dict[str, Any]", event["object"]))

    for kind in CHILDREN:
        _child(operator, registry, kind)


def _child(operator: Operator, registry: kopf.OperatorRegistry, kind: Kind) -> None:
    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=f"child-{kind.plural}")
    async def child(event: kopf.RawEvent, **_: Any) -> None:
        await operator.child(kind, event["type"], cast("dict[str, Any]", event["object"]))


def configure(settings: kopf.OperatorSettings) -> None:
    """Watches that see only what concerns us, and end when nothing comes."""
    settings.posting.enabled = False  # ours are posted by io/events.py
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    for kind in CHILDREN:
        if kind is not SECRET:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = COHORT_LABEL
    # Cohorts name Secrets that are not ours; Helm's, which are many and large, none of them names.
    settings.watching.field_selectors[SECRET.group, SECRET.version, SECRET.plural] = "type!=helm.sh/release.v1"


@click.command()
def command() -> None:
    """Watch MonitoredCohorts on a Kubernetes cluster and keep them running (a service)."""
    try:
        settings = read(os.environ)
    except SettingError as error:
        raise click.ClickException(str(error)) from error
    configure_logs(settings.log_level)
    asyncio.run(run(settings))


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Where a watched kind is deleted, kopf may end on its watch: begin anew then."""
    ended = asyncio.Event()
    while not ended.is_set():
        registry = kopf.OperatorRegistry()
        register(Operator(settings), registry, ended)
        own = kopf.OperatorSettings()
        own.scanning.disabled = bool(settings.namespaces)
        try:
            await kopf.operator(
                registry=registry,
                settings=own,
                standalone=True,
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                stop_flag=ended,
            )
        except APINotFoundError:
            log.warning("a kind that was watched is gone: beginning anew")
        else:
            return


def configure_logs(level: str) -> None:
    """One JSON object a line on standard error, kopf's and ours."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # kopf says of each event that it was handed on; `reconcile/` says what came of it.
    for noisy in ("kopf.objects", "kopf.activities", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # what comes of its retries is told where it is used
    structlog.contextvars.bind_contextvars(service="operator")
