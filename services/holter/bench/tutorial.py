"""The tutorial's pipeline, written anew from its description: what Holter is measured beside.

Ingest: a Tornado handler that parses JSON and hands one `Point` for each sample, without a time, to influxdb-client's
batching WriteApi. Inference: one patient at a time, a Flux query of the last ten seconds read as records, moments and
FFT bands of that window, then scaler, PCA and `score_samples` of one row.
"""
# mypy: disable-error-code="no-untyped-call"

import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass

import numpy as np
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.query_api import QueryApi
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import WriteApi, WriteOptions
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tornado.web import Application, RequestHandler

from holter.bench.bucket import Influx

FS = 250
WINDOW_SECONDS = 10
BATCH, FLUSH_MILLISECONDS = 500, 1000
MEASUREMENT = "ecg_tutorial"
COMPONENTS, TREES = 8, 100
_BANDS = ((0.5, 4.0), (4.0, 8.0), (8.0, 15.0), (15.0, 25.0), (25.0, 40.0))


class _Ingest(RequestHandler):
    def initialize(self, writer: WriteApi, bucket: str) -> None:
        self._writer, self._bucket = writer, bucket

    def post(self) -> None:
        data = json.loads(self.request.body)
        for sample in data["samples"]:
            point = Point(MEASUREMENT).tag("device_id", data["device_id"]).field("voltage", float(sample))
            self._writer.write(bucket=self._bucket, record=point)
        self.set_status(202)
        self.finish({"status": "accepted"})


async def _serve(influx: Influx, port: int) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    with influx.client() as client:
        options = WriteOptions(batch_size=BATCH, flush_interval=FLUSH_MILLISECONDS)
        writer = client.write_api(write_options=options)
        application = Application(
            [("/ingest", _Ingest, {"writer": writer, "bucket": influx.bucket})], log_function=_mute
        )
        server = application.listen(port, "127.0.0.1")
        await stopping.wait()
        server.stop()
        writer.close()


def _mute(_: RequestHandler) -> None:
    return


@dataclass(frozen=True, slots=True)
class OneAtATime:
    """The inference loop's body, on a fitted model."""

    client: InfluxDBClient
    bucket: str
    model: Pipeline

    def score(self, device_id: str, start: int) -> float:
        """One window of one patient that begins at `start`, µs since the epoch."""
        samples = self.fetch(self.client.query_api(), device_id, start)
        return float(self.model.score_samples(features(samples).reshape(1, -1))[0])

    def fetch(self, queries: QueryApi, device_id: str, start: int) -> NDArray[np.float64]:
        """Its 2,500 rows."""
        stop = start + WINDOW_SECONDS * 1_000_000
        tables = queries.query(
            f'from(bucket: "{self.bucket}")'
            f" |> range(start: time(v: {start * 1000}), stop: time(v: {stop * 1000}))"
            f' |> filter(fn: (r) => r._measurement == "{MEASUREMENT}" and r.device_id == "{device_id}"'
            ' and r._field == "voltage")'
        )
        return np.array([record.get_value() for table in tables for record in table.records])


def features(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moments and the power of five bands of one window, shape (n,) → (10,)."""
    mean, deviation = samples.mean(), samples.std()
    z = (samples - mean) / (deviation + 1e-9)
    power = np.abs(np.fft.rfft(samples - mean)) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / FS)
    bands = [np.log(power[(frequency >= low) & (frequency < high)].sum() + 1e-9) for low, high in _BANDS]
    return np.array([mean, deviation, (z**3).mean(), (z**4).mean(), np.ptp(samples), *bands])


def fit(rng: np.random.Generator) -> Pipeline:
    """Scaler, PCA and forest on windows of noise: the time of `score_samples` does not depend on what it has learnt."""
    windows = rng.normal(0, 0.3, (2000, FS * WINDOW_SECONDS))
    model = make_pipeline(
        StandardScaler(),
        PCA(n_components=COMPONENTS),
        IsolationForest(n_estimators=TREES, max_samples=256, contamination=0.01, random_state=0),
    )
    model.fit(np.array([features(window) for window in windows]))
    return model


def fill(influx: Influx, device_ids: list[str], start: int, samples: NDArray[np.int16]) -> None:
    """Write the samples that the loop reads, with times: what the tutorial's ingest would have kept if it gave any.

    Args:
        influx: where to.
        device_ids: n ids.
        start: time of the first sample, µs since the epoch.
        samples: shape (n, any), µV.
    """
    step = 1_000_000 // FS
    lines = [
        f"{MEASUREMENT},device_id={device_id} voltage={value / 1000} {start + i * step}"
        for device_id, row in zip(device_ids, samples.tolist(), strict=True)
        for i, value in enumerate(row)
    ]
    with influx.client() as client:
        writer = client.write_api(write_options=WriteOptions(batch_size=5000))
        for first in range(0, len(lines), 5000):
            writer.write(bucket=influx.bucket, record="\n".join(lines[first : first + 5000]), write_precision="us")
        writer.close()


def measure(influx: Influx, device_ids: list[str], start: int, seconds: float) -> tuple[float, float, int]:
    """CPU seconds of a window, of its query alone, and how many windows were measured."""
    model = fit(np.random.default_rng(0))
    with influx.client() as client:
        loop = OneAtATime(client, influx.bucket, model)
        queries = client.query_api()
        for device_id in device_ids[:3]:
            loop.score(device_id, start)
        found = len(loop.fetch(queries, device_ids[0], start))
        if found != FS * WINDOW_SECONDS:
            raise RuntimeError(f"the query gave {found} rows; {FS * WINDOW_SECONDS} were written")
        began, cpu, n = time.monotonic(), time.process_time(), 0
        while time.monotonic() - began < seconds or n < 10:
            loop.score(device_ids[n % len(device_ids)], start)
            n += 1
        whole = (time.process_time() - cpu) / n
        cpu = time.process_time()
        for i in range(10):
            loop.fetch(queries, device_ids[i % len(device_ids)], start)
        return whole, (time.process_time() - cpu) / 10, n


if __name__ == "__main__":
    given = json.load(sys.stdin)
    asyncio.run(_serve(Influx(**given["influx"]), given["port"]))
