"""The operator's settings: environment variables alone, read once at start."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from holter_operator.build.given import Component

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
LEVELS = ("debug", "info", "warning", "error")


class SettingError(Exception):
    """A variable cannot be used; the message names it, its value and what would be right."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the chart gives the operator.

    Attributes:
        images: by component.
        image_pull_policy: of all containers.
        namespaces: watched; empty for all of the cluster.
        influxdb: the folder of the operator's own connection, a mounted Secret's keys url, org and token; None where
            every cohort brings its own.
        listen: address of `/metrics` and `/healthz`.
        port: their port.
        resync: seconds after which a cohort is looked at again though nothing told of a change.
        workers: reconciles at a time.
        deletion: seconds after which a cohort goes even if its bucket could not be cleared up.
        log_level: debug, info, warning or error.
    """

    images: Mapping[Component, str]
    image_pull_policy: str
    namespaces: tuple[str, ...]
    influxdb: Path | None
    listen: str
    port: int
    resync: float
    workers: int
    deletion: float
    log_level: str


def read(environ: Mapping[str, str]) -> Settings:
    """Settings from the environment.

    Raises:
        SettingError: one cannot be used.
    """
    image = environ.get("HOLTER_IMAGE") or f"holter-services:{version('holter')}"
    images = {part: environ.get(f"HOLTER_IMAGE_{part.upper()}") or image for part in Component}
    namespaces = tuple(filter(None, re.split(r"[\s,]+", environ.get("HOLTER_WATCH_NAMESPACES", ""))))
    for name in namespaces:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
            raise SettingError(f"HOLTER_WATCH_NAMESPACES: {name!r} is no namespace; names with commas between, no *")
    folder = environ.get("HOLTER_INFLUXDB")
    return Settings(
        images=images,
        image_pull_policy=_choice(environ, "HOLTER_IMAGE_PULL_POLICY", "IfNotPresent", PULL_POLICIES),
        namespaces=namespaces,
        influxdb=Path(folder) if folder else None,
        listen=environ.get("HOLTER_LISTEN", "0.0.0.0"),  # noqa: S104 - a pod's only interface
        port=int(_number(environ, "HOLTER_PORT_METRICS", 9090, 0, 65535)),
        resync=_number(environ, "HOLTER_RESYNC_SECONDS", 600, 1, 86400),
        workers=int(_number(environ, "HOLTER_WORKERS", 8, 1, 64)),
        deletion=_number(environ, "HOLTER_DELETION_SECONDS", 120, 1, 3600),
        log_level=_choice(environ, "HOLTER_LOG_LEVEL", "info", LEVELS),
    )


def _choice(environ: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = environ.get(name) or default
    if value not in choices:
        raise SettingError(f"{name}={value!r}: one of {', '.join(choices)} is expected")
    return value


def _number(environ: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise SettingError(f"{name}={text!r}: a number from {least:g} to {most:g} is expected")
    return value
