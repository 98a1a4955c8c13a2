"""The InfluxDB that a measurement writes to: a bucket of its own, gone afterwards, and what is in it."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from holter.store.rows import tables


@dataclass(frozen=True, slots=True)
class Influx:
    """An InfluxDB 2 and a token that may make buckets.

    Attributes:
        url: its address.
        org: by name.
        token: an operator's or an all-access token.
    """

    url: str
    org: str
    token: str

    @contextmanager
    def bucket(self, folder: Path) -> Iterator["Bucket"]:
        """A new bucket, told to a service by files in `folder`; removed at the end."""
        name = f"bench.{secrets.token_hex(4)}"
        orgs = self.call("GET", f"/api/v2/orgs?org={self.org}")
        made = self.call("POST", "/api/v2/buckets", {"orgID": orgs["orgs"][0]["id"], "name": name})
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in (("url", self.url), ("org", self.org), ("token", self.token), ("bucket", name)):
            (folder / key).write_text(value)
        try:
            yield Bucket(self, name, folder)
        finally:
            self.call("DELETE", f"/api/v2/buckets/{made['id']}")

    def call(self, method: str, path: str, document: Any = None) -> Any:
        """One request of its API; the answer's JSON, None without one.

        Raises:
            OSError: it does not answer, or refuses.
        """
        body = self.send(method, path, None if document is None else json.dumps(document).encode(), "application/json")
        return json.loads(body) if body else None

    def send(self, method: str, path: str, body: bytes | None, content_type: str) -> bytes:
        """One request; the answer's bytes.

        Raises:
            OSError: it does not answer, or refuses.
        """
        headers = {"Authorization": f"Token {self.token}", "Content-Type": content_type}
        request = Request(self.url + path, body, headers, method=method)  # noqa: S310 - the address is the caller's own
        with urlopen(request, timeout=120) as answer:  # noqa: S310
            return bytes(answer.read())


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket.

    Attributes:
        influx: where it is.
        name: its name.
        folder: of the files url, org, token, bucket, as HOLTER_STORE=influxdb:<folder> names it.
    """

    influx: Influx
    name: str
    folder: Path

    def count(self, measurement: str, field: str) -> int:
        """Points of one field: a point is unique by its series and time."""
        flux = (
            f'from(bucket: "{self.name}") |> range(start: 0, stop: time(v: 4102444800000000000))'
            f' |> filter(fn: (r) => r._measurement == "{measurement}" and r._field == "{field}")'
            ' |> count() |> group() |> sum() |> keep(columns: ["_value"])'
        )
        document = {"query": flux, "dialect": {"header": True, "annotations": ["datatype"]}}
        body = json.dumps(document).encode()
        answer = self.influx.send("POST", f"/api/v2/query?org={self.influx.org}", body, "application/json")
        return sum(int(value) for table in tables(answer.decode()) for value in table.texts("_value"))
