"""The InfluxDB that a run is measured on: from the environment, with a bucket of its own that ends with the run."""
# mypy: disable-error-code="no-untyped-call"

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from holter.bench import usage

VARIABLES = ("INFLUXDB_URL", "INFLUXDB_TOKEN", "INFLUXDB_ORG")
HOW_TO = """\
An InfluxDB 2.7 is needed, and where it is has to be in the environment:
  docker run -d -p 8086:8086 -e DOCKER_INFLUXDB_INIT_MODE=setup -e DOCKER_INFLUXDB_INIT_USERNAME=admin \\
    -e DOCKER_INFLUXDB_INIT_PASSWORD=at-least-8 -e DOCKER_INFLUXDB_INIT_ORG=hospital \\
    -e DOCKER_INFLUXDB_INIT_BUCKET=first -e DOCKER_INFLUXDB_INIT_ADMIN_TOKEN=a-token influxdb:2.7
  export INFLUXDB_URL=http://127.0.0.1:8086 INFLUXDB_TOKEN=a-token INFLUXDB_ORG=hospital"""


class NoInfluxError(Exception):
    """There is none to measure on; the message says what is missing and how to start one."""


@dataclass(frozen=True, slots=True)
class Influx:
    """A reachable InfluxDB and the run's own bucket in it."""

    url: str
    token: str
    org: str
    bucket: str

    def client(self) -> InfluxDBClient:
        """A client of its own; close it."""
        return InfluxDBClient(url=self.url, token=self.token, org=self.org, timeout=120_000)

    def secret(self, folder: Path) -> str:
        """Write the files that a Holter service reads; the value of HOLTER_STORE for them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("url", "token", "org", "bucket"):
            (folder / name).write_text(getattr(self, name))
        return f"influxdb:{folder}"

    def cpu(self) -> float | None:
        """CPU seconds that influxd has used so far; None when it is on another machine."""
        pid = usage.listener(urlsplit(self.url).port or 8086)
        return None if pid is None else usage.cpu(pid)

    def times(self, measurement: str, field: str, device_id: str) -> list[int]:
        """Times (µs since the epoch) of one device's points."""
        flux = (
            f'from(bucket: "{self.bucket}") |> range(start: 0, stop: 2100-01-01T00:00:00Z)'
            f' |> filter(fn: (r) => r._measurement == "{measurement}" and r.device_id == "{device_id}"'
            f' and r._field == "{field}") |> keep(columns: ["_time"])'
        )
        with self.client() as client:
            found = client.query_api().query(flux)
        return sorted(round(record.get_time().timestamp() * 1e6) for table in found for record in table.records)

    def count(self, measurement: str, field: str, since: int) -> int:
        """Points of a measurement from `since` (µs since the epoch) on."""
        return sum(self.count_by_device(measurement, field, since).values())

    def chunks(self, prefix: str, base: int) -> dict[str, int]:
        """Chunks of each of the devices `<prefix>-<number>`, from a minute before `base` (µs since the epoch) on."""
        counts = self.count_by_device("ecg_chunk", "n", base - 60_000_000)
        return {device: n for device, n in counts.items() if device.rpartition("-")[0] == prefix}

    def count_by_device(self, measurement: str, field: str, since: int) -> dict[str, int]:
        """The same of each device."""
        flux = (
            f'from(bucket: "{self.bucket}") |> range(start: time(v: {since * 1000}), stop: 2100-01-01T00:00:00Z)'
            f' |> filter(fn: (r) => r._measurement == "{measurement}" and r._field == "{field}")'
            ' |> count() |> keep(columns: ["device_id", "_value"])'
        )
        with self.client() as client:
            return {
                record.values["device_id"]: int(record.get_value())
                for table in client.query_api().query(flux)
                for record in table.records
            }


@contextmanager
def own_bucket(environ: Mapping[str, str] = os.environ) -> Iterator[Influx]:
    """A bucket for one run, deleted afterwards.

    Raises:
        NoInfluxError: see there.
    """
    missing = [name for name in VARIABLES if not environ.get(name)]
    if missing:
        raise NoInfluxError(f"{', '.join(missing)} not set.\n{HOW_TO}")
    url, token, org = (environ[name].rstrip("/") for name in VARIABLES)
    influx = Influx(url, token, org, f"holter-bench-{secrets.token_hex(4)}")
    with influx.client() as client:
        buckets = client.buckets_api()
        try:
            bucket = buckets.create_bucket(bucket_name=influx.bucket, org=org)
        except (ApiException, HTTPError, OSError) as error:
            raise NoInfluxError(f"{url} makes no bucket in org {org!r}: {error}\n{HOW_TO}") from error
        try:
            yield influx
        finally:
            buckets.delete_bucket(bucket)
