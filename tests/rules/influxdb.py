"""A bucket of its own in a real InfluxDB 2, and Flux against it."""

import csv
import json
import os
import re
import secrets
import urllib.request
from contextlib import contextmanager

NEEDED = ("INFLUXDB_URL", "INFLUXDB_TOKEN", "INFLUXDB_ORG")


class InfluxDB:
    """A little of its API."""

    def __init__(self, url, token, org):
        self.url, self.token, self.org = url, token, org

    @classmethod
    def given(cls):
        """The one that the environment names, if it does."""
        found = [os.environ.get(name) for name in NEEDED]
        return cls(*found) if all(found) else None

    def call(self, method, path, body=None, kind="application/json", accept="application/json"):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Token {self.token}", "Content-Type": kind, "Accept": accept}
        request = urllib.request.Request(f"{self.url}{path}", method=method, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    @contextmanager
    def bucket(self):
        """A bucket, gone afterwards."""
        (org,) = json.loads(self.call("GET", f"/api/v2/orgs?org={self.org}"))["orgs"]
        name = f"st-mary.rules-{secrets.token_hex(4)}"
        made = json.loads(self.call("POST", "/api/v2/buckets", {"orgID": org["id"], "name": name}))
        try:
            yield name
        finally:
            self.call("DELETE", f"/api/v2/buckets/{made['id']}")

    def flux(self, query):
        """Rows, each a dict of column to text."""
        text = self.call("POST", f"/api/v2/query?org={self.org}", query, "application/vnd.flux", "application/csv")
        tables = [part.splitlines() for part in re.split(r"\r?\n\r?\n", text) if part.strip()]
        rows = [row for table in tables for row in csv.DictReader(table)]
        assert not any("error" in row for row in rows), text
        return rows


def as_grafana_does(query, variables, start, stop, points=800):
    """A panel's Flux with what Grafana puts in: the time range, the window, the variables.

    Args:
        query: of a panel, a variable or an annotation.
        variables: text, or a list where many are chosen.
        start: s since the epoch.
        stop: s since the epoch.
        points: that the panel is wide.
    """
    for name, value in variables.items():
        query = query.replace(f"${{{name}:json}}", json.dumps(value))
        if isinstance(value, str):
            query = query.replace(f"${{{name}}}", value)
    assert "${" not in query, query
    window = max(1, round((stop - start) * 1000 / points))
    start_at, stop_at = (f"time(v: {round(at * 1e9)})" for at in (start, stop))
    head = f"option v = {{timeRangeStart: {start_at}, timeRangeStop: {stop_at}, windowPeriod: {window}ms}}\n"
    imports = "".join(line + "\n" for line in query.splitlines() if line.startswith("import "))
    rest = "\n".join(line for line in query.splitlines() if not line.startswith("import "))
    return imports + head + rest
