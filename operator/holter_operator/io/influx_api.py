"""The calls of InfluxDB 2 that provisioning needs, in its own terms. What they are for: `docs/influxdb.md`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holter_operator.io.influx_http import Http, InfluxError, unavailable
from holter_operator.reconcile.provision_state import Access, Authorization, Bucket, Permission

_PAGE = 100  # the most that InfluxDB gives
_HOUR, _DAY = 3600, 86400


@dataclass(frozen=True, slots=True)
class Api:
    """One organisation of one InfluxDB.

    Every method raises InfluxError.
    """

    http: Http
    access: Access

    def organisation(self) -> str:
        """The organisation's id, by its name."""
        try:
            answer = self.http.request(self.access, "GET", "orgs", {"org": self.access.org})
        except InfluxError as error:
            if error.status == 404:
                raise self._no_organisation() from None
            raise
        for found in self._list(answer.content, "orgs"):
            if found.get("name") == self.access.org:
                return str(found["id"])
        raise self._no_organisation()

    def buckets(self, organisation: str) -> Iterator[Bucket]:
        """All buckets, over as many pages as there are."""
        query = {"orgID": organisation, "limit": str(_PAGE)}
        while True:
            page = self._list(self.http.request(self.access, "GET", "buckets", query).content, "buckets")
            yield from map(_bucket, page)
            if len(page) < _PAGE:
                return
            query["after"] = str(page[-1]["id"])

    def authorizations(self, organisation: str) -> tuple[datetime, list[Authorization]]:
        """All authorizations (InfluxDB has no pages of them), and InfluxDB's time."""
        answer = self.http.request(self.access, "GET", "authorizations", {"orgID": organisation})
        return answer.at, [_authorization(found) for found in self._list(answer.content, "authorizations")]

    def create_bucket(self, organisation: str, name: str, description: str, retention: int) -> Bucket:
        """A new bucket; `retention` in seconds."""
        body = {"orgID": organisation, "name": name, "description": description, "retentionRules": _rules(retention)}
        return _bucket(self._object(self.http.request(self.access, "POST", "buckets", body=body).content))

    def update_bucket(self, bucket_id: str, name: str, retention: int) -> Bucket:
        """Another name and retention."""
        body = {"name": name, "retentionRules": _rules(retention)}
        return _bucket(self._object(self.http.request(self.access, "PATCH", f"buckets/{bucket_id}", body=body).content))

    def delete_bucket(self, bucket_id: str) -> None:
        """The bucket is gone afterwards, and was perhaps before."""
        self._delete(f"buckets/{bucket_id}")

    def create_authorization(
        self, organisation: str, description: str, permissions: Iterable[Permission]
    ) -> tuple[str, str]:
        """A new authorization: its id, and its token, which is shown here and never again."""
        wanted = [
            {"action": action, "resource": {"type": kind, "id": resource, "orgID": organisation}}
            for action, kind, resource in sorted(permissions)
        ]
        body = {"orgID": organisation, "description": description, "permissions": wanted}
        found = self._object(self.http.request(self.access, "POST", "authorizations", body=body).content)
        return str(found["id"]), str(found["token"])

    def describe_authorization(self, authorization_id: str, description: str) -> Authorization:
        """Another description."""
        body = {"description": description}
        answer = self.http.request(self.access, "PATCH", f"authorizations/{authorization_id}", body=body)
        return _authorization(self._object(answer.content))

    def delete_authorization(self, authorization_id: str) -> None:
        """The token is invalid afterwards, and was perhaps before."""
        self._delete(f"authorizations/{authorization_id}")

    def may_be_set_up(self) -> bool:
        """Whether this InfluxDB is empty, without user or organisation."""
        return self._object(self.http.request(self.access, "GET", "setup").content).get("allowed") is True

    def set_up(self, user: str, password: str, bucket: str) -> None:
        """The first user, organisation, bucket and token of an empty InfluxDB."""
        body = {
            "username": user,
            "password": password,
            "org": self.access.org,
            "bucket": bucket,
            "token": self.access.token,
        }
        self.http.request(self.access, "POST", "setup", body=body)

    def _delete(self, path: str) -> None:
        try:
            self.http.request(self.access, "DELETE", path)
        except InfluxError as error:
            if error.status != 404:
                raise

    def _list(self, content: Any, name: str) -> list[dict[str, Any]]:
        found = self._object(content).get(name)
        if not (isinstance(found, list) and all(isinstance(one, dict) and "id" in one for one in found)):
            raise unavailable(self.access, f"what answers there is not InfluxDB 2 (no {name})")
        return found

    def _object(self, content: Any) -> Mapping[str, Any]:
        if not isinstance(content, dict):
            raise unavailable(self.access, "what answers there is not InfluxDB 2")
        return content

    def _no_organisation(self) -> InfluxError:
        return InfluxError(
            "InfluxDBOrgNotFound",
            f"InfluxDB at {self.access.url} has no organisation {self.access.org!r} that the connection's token may"
            " read: set `org` to its name, or give the token the right to read it",
        )


def _rules(retention: int) -> list[dict[str, Any]]:
    # A shorter retention is refused unless the shard groups shrink along. These are InfluxDB's own defaults.
    shard = _HOUR if retention < 2 * _DAY else _DAY if retention < 180 * _DAY else 7 * _DAY
    return [{"type": "expire", "everySeconds": retention, "shardGroupDurationSeconds": shard}]


def _bucket(found: Mapping[str, Any]) -> Bucket:
    rules = found.get("retentionRules") or [{}]
    return Bucket(
        id=str(found["id"]),
        name=str(found.get("name", "")),
        description=str(found.get("description", "")),
        retention=int(rules[0].get("everySeconds", 0)),
    )


def _authorization(found: Mapping[str, Any]) -> Authorization:
    # Its token, which InfluxDB before 2.9 shows here, is not looked at.
    resources = [(str(one.get("action", "")), one.get("resource") or {}) for one in found.get("permissions") or ()]
    return Authorization(
        id=str(found["id"]),
        description=str(found.get("description", "")),
        active=found.get("status") == "active",
        created=_created(found.get("createdAt")),
        permissions=frozenset(
            (action, str(resource.get("type", "")), str(resource.get("id", ""))) for action, resource in resources
        ),
    )


def _created(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
