"""What a service finds in its environment: paths, ports and names, as the pod template or `holter up` set them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SettingError(Exception):
    """A variable is missing or wrong; the message names it, its value and what would be right."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of one service.

    Attributes:
        config: folder of `ingest.json`, `inference.json`, `refit.json`, `console.json` (HOLTER_CONFIG).
        store: `influxdb:<folder of url, org, bucket, token>` or `sqlite:<file>` (HOLTER_STORE).
        state: folder that survives a crash of the process: log, outbox (HOLTER_STATE).
        listen: address of every port (HOLTER_LISTEN).
        ports: by name, from HOLTER_PORT_<NAME>: http, udp, metrics.
        pod: this instance's name, its ordinal last where it has one (HOLTER_POD).
        device_keys: folder of `current` and `previous` (HOLTER_DEVICE_KEYS).
        model: folder of `model.npz` and `model.json` (HOLTER_MODEL).
        webhooks: folder of `<name>/secret` (HOLTER_WEBHOOKS).
        profiles: file of patient profiles (HOLTER_PROFILES).
        candidate: `configmap:<namespace>/<name>` or `file:<folder>`: where refit leaves a model (HOLTER_CANDIDATE).
        tls: folder of `tls.crt` and `tls.key` (HOLTER_TLS).
        feed_peers: `host:port` of the ingest processes' feed, several joined by commas (HOLTER_FEED_PEERS).
        console_tokens: folder of `view` and `acknowledge` (HOLTER_CONSOLE_TOKENS).
    """

    config: Path
    store: str
    state: Path
    listen: str
    ports: Mapping[str, int]
    pod: str
    device_keys: Path | None = None
    model: Path | None = None
    webhooks: Path | None = None
    profiles: Path | None = None
    candidate: str | None = None
    tls: Path | None = None
    feed_peers: str | None = None
    console_tokens: Path | None = None

    @property
    def ordinal(self) -> int:
        """The number at the end of the pod's name, 0 where it has none."""
        tail = self.pod.rpartition("-")[2]
        return int(tail) if tail.isdigit() else 0

    def port(self, name: str) -> int:
        """A port by name.

        Raises:
            SettingError: it is not set.
        """
        try:
            return self.ports[name]
        except KeyError:
            raise SettingError(f"HOLTER_PORT_{name.upper()} is not set: a port number is expected") from None


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment.

    Raises:
        SettingError: a variable is missing or wrong.
    """

    def required(name: str) -> str:
        value = environ.get(name, "")
        if not value:
            raise SettingError(f"{name} is not set; `holter up` and the operator set it")
        return value

    def path(name: str) -> Path | None:
        return Path(environ[name]) if environ.get(name) else None

    ports = {}
    for name, value in environ.items():
        if name.startswith("HOLTER_PORT_"):
            if not value.isdigit() or int(value) > 65535:
                raise SettingError(f"{name}={value!r}: a port number, 0..65535, is expected")
            ports[name.removeprefix("HOLTER_PORT_").lower()] = int(value)
    return Settings(
        config=Path(required("HOLTER_CONFIG")),
        store=required("HOLTER_STORE"),
        state=Path(environ.get("HOLTER_STATE", "/var/lib/holter")),
        listen=environ.get("HOLTER_LISTEN", "0.0.0.0"),  # noqa: S104 - a pod's only interface
        ports=ports,
        pod=environ.get("HOLTER_POD", "holter-0"),
        device_keys=path("HOLTER_DEVICE_KEYS"),
        model=path("HOLTER_MODEL"),
        webhooks=path("HOLTER_WEBHOOKS"),
        profiles=path("HOLTER_PROFILES"),
        candidate=environ.get("HOLTER_CANDIDATE") or None,
        tls=path("HOLTER_TLS"),
        feed_peers=environ.get("HOLTER_FEED_PEERS") or None,
        console_tokens=path("HOLTER_CONSOLE_TOKENS"),
    )
