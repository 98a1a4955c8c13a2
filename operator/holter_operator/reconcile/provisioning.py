"""A cohort's bucket and tokens: which connection, what the Secrets hold, and what status says of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from holter_operator.api import crd
from holter_operator.api.cohort import Cohort
from holter_operator.build import names
from holter_operator.build.given import Component, Connection, Given
from holter_operator.build.meta import Object
from holter_operator.build.serviceaccounts import components
from holter_operator.io.influx import FirstUser, SetUp
from holter_operator.reconcile.kinds import SECRET
from holter_operator.reconcile.live import Key, Live, Read, opened
from holter_operator.reconcile.provision import wanted
from holter_operator.reconcile.provision_state import Access, Change, Provisioned, Refused, Removed, Wanted
from holter_operator.reconcile.status import Bucket, Problem

ROTATE = f"{crd.GROUP}/rotate-tokens"
"""Annotation of a cohort: InfluxDB tokens issued before this time (RFC 3339) are replaced."""


class Provisioner(Protocol):
    """What `io.influx.Influx` does."""

    def ensure(self, wanted: Wanted, access: Access, secrets: Mapping[Component, str | None]) -> Provisioned | Refused:
        """Give a cohort its bucket and tokens."""

    def remove(self, uid: str, access: Access, *, delete_bucket: bool) -> Removed | Refused:
        """Take them away."""

    def set_up(self, access: Access, first: FirstUser) -> SetUp | Refused:
        """Set up an InfluxDB that is empty."""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of it.

    Attributes:
        bucket: for status.
        connections: by component, as far as they are known.
        complete: whether each component has its own.
        changes: what was changed in InfluxDB.
        again: seconds until this is to be looked at again.
        asked: what was asked of which InfluxDB; None where none could be asked.
    """

    bucket: Bucket
    connections: Mapping[Component, Connection] = field(default_factory=dict)
    complete: bool = False
    changes: tuple[Change, ...] = ()
    again: float | None = None
    asked: tuple[Wanted, Access, Mapping[Component, str | None]] | None = None


class Provisioning:
    """The step.

    Args:
        influx: who does it.
        folder: of the operator's own connection.
        secret: reads a Secret.
    """

    def __init__(
        self,
        influx: Provisioner,
        folder: Path | None,
        secret: Read,
    ) -> None:
        self._influx = influx
        self._folder = folder
        self.secret = secret

    def step(self, document: Object, cohort: Cohort, given: Given, live: Mapping[Key, Live]) -> Step:
        """Bucket and tokens.

        Raises:
            KubeError: a Secret cannot be read.
        """
        parts = components(cohort, given)
        held = {part: self._held(cohort, part, live) for part in parts}
        before = document.get("status", {}).get("bucket", {})
        old = {part: connection for part, found in held.items() if (connection := _connection(found))}
        access = self.access(cohort)
        if isinstance(access, Problem):
            bucket = Bucket(before.get("name"), before.get("id"), before.get("adopted", False), access)
            return Step(bucket, old, again=60.0)
        asked = wanted(cohort, document["metadata"]["uid"], parts, _rotation(document))
        tokens = {part: found.get("token") if found else None for part, found in held.items()}
        answer = self._influx.ensure(asked, access, tokens)
        if isinstance(answer, Refused) and self._set_up(cohort, access):
            answer = self._influx.ensure(asked, access, tokens)
        if isinstance(answer, Refused):
            bucket = Bucket(
                before.get("name"),
                before.get("id"),
                before.get("adopted", False),
                Problem(answer.reason, answer.message),
            )
            wait = 5.0 if answer.transient else 30.0
            return Step(bucket, old, changes=answer.changes, again=wait, asked=(asked, access, tokens))
        complete = set(answer.connections) == set(parts)
        lacking = ", ".join(part for part in parts if part not in answer.connections)
        problem = None if complete else Problem("TokensMissing", f"InfluxDB tokens of {lacking} are not there yet")
        bucket = Bucket(answer.bucket_name, answer.bucket_id, answer.adopted, problem)
        fresh = any(tokens[part] != connection.token for part, connection in answer.connections.items())
        again = 1.0 if fresh else answer.due_in  # what was superseded is seen to when the Secrets are written
        return Step(bucket, answer.connections, complete, answer.changes, again, (asked, access, tokens))

    def remove(self, cohort: Cohort, uid: str) -> Removed | Refused:
        """Tokens go, and the bucket if the cohort asks for it.

        Raises:
            KubeError: the connection's Secret cannot be read.
        """
        access = self.access(cohort)
        if isinstance(access, Problem):
            return Refused(access.reason, access.message)
        return self._influx.remove(uid, access, delete_bucket=cohort.spec.storage.deletion_policy == "Delete")

    def access(self, cohort: Cohort) -> Access | Problem:
        """The cohort's own connection where it names one, else the operator's.

        Raises:
            KubeError: the Secret cannot be read.
        """
        own = cohort.spec.storage.influxdb.connection_secret_ref
        if own:
            where = f"Secret {cohort.namespace}/{own.name}"
            values = self.secret(cohort.namespace, own.name)
            if values is None:
                return Problem(
                    "ConnectionMissing", f"{where} is not there: storage.influxdb.connectionSecretRef names it"
                )
        elif self._folder is None:
            return Problem(
                "ConnectionMissing",
                "the operator has no InfluxDB connection of its own: name one in storage.influxdb.connectionSecretRef",
            )
        else:
            where = f"the operator's connection, {self._folder}"
            values = _read(self._folder, ("url", "org", "token"))
        missing = [name for name in ("url", "org", "token") if not values.get(name, "").strip()]
        if missing:
            return Problem("ConnectionIncomplete", f"{where} lacks {', '.join(missing)}; url, org and token are needed")
        return Access(values["url"].strip(), values["org"].strip(), values["token"].strip())

    def _set_up(self, cohort: Cohort, access: Access) -> bool:
        """Set up the operator's own InfluxDB, if it is empty and its Secret says for whom; whether it was now."""
        if self._folder is None or cohort.spec.storage.influxdb.connection_secret_ref:
            return False
        first = _read(self._folder, ("username", "password"))
        if not all(first.get(name) for name in ("username", "password")):
            return False
        done = self._influx.set_up(access, FirstUser(first["username"], first["password"]))
        return isinstance(done, SetUp) and done.now

    def _held(self, cohort: Cohort, part: Component, live: Mapping[Key, Live]) -> Mapping[str, str] | None:
        """The values of a component's Secret; None where it is missing or on its way out, and a new token is due."""
        found = live.get((SECRET.plural, cohort.namespace, names.influxdb(cohort, part)))
        return opened(found, self.secret) if found and not found.deleting else None


def _read(folder: Path, keys: Iterable[str]) -> dict[str, str]:
    """Those files of a mounted Secret that are there."""
    files = {key: folder / key for key in keys}
    return {
        key: file.read_text(encoding="utf-8", errors="replace").strip() for key, file in files.items() if file.is_file()
    }


def _connection(held: Mapping[str, str] | None) -> Connection | None:
    if held is None or not all(held.get(name) for name in ("url", "org", "bucket", "token")):
        return None
    return Connection(held["url"], held["org"], held["bucket"], held["token"])


def _rotation(document: Object) -> datetime | None:
    text = document["metadata"].get("annotations", {}).get(ROTATE)
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return time if time and time.tzinfo else None
