"""What a patient costs, as measured: the file that ships with Holter, or a `bench.json`."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SHIPPED = Path(__file__).with_name("figures.json")
TRANSPORTS = ("json_http", "json_http_5s", "websocket", "websocket_device", "udp")


class FiguresError(Exception):
    """The file cannot be used; the message says why."""


class Figures(BaseModel):
    """What was measured, for one patient at 250 Hz. CPU in µs, memory and disk in bytes."""

    model_config = ConfigDict(frozen=True)

    measured: str = Field(description="where and when, in words")
    ingest_cpu_us: dict[str, float] = Field(description="of ingest for a patient's second, by way in")
    ingest_bytes: float = Field(gt=0, description="of ingest's memory")
    ingest_base_bytes: float = Field(gt=0, description="of an ingest process without patients")
    worker_cpu_us: float = Field(gt=0, description="of a worker for a patient and 5 s interval, scores stored")
    worker_bytes: float = Field(gt=0, description="of a worker's memory")
    worker_base_bytes: float = Field(gt=0, description="of a worker without patients")
    influxd_cpu_us: float = Field(gt=0, description="of influxd for a patient's second")
    chunk_disk_bytes: float = Field(gt=0, description="of one second in InfluxDB")
    score_disk_bytes: float = Field(gt=0, description="of one scored window in InfluxDB (estimated: 8 a field)")
    log_bytes: float = Field(gt=0, description="of one second in ingest's log")

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """The shipped figures, with what a `bench.json` has measured in their place.

        Raises:
            FiguresError: the file cannot be read, or has no figures.
        """
        shipped = cls.model_validate_json(SHIPPED.read_bytes())
        if path is None:
            return shipped
        try:
            document = _JSON.model_validate_json(path.read_bytes()).model_dump()
        except (OSError, ValidationError) as error:
            raise FiguresError(f"{path}: {error}; a bench.json of `holter bench` is expected") from error
        measured = _measured(document)
        if not measured:
            raise FiguresError(
                f"{path}: has neither `ingest` nor `end_to_end`: a bench.json of `holter bench` is expected"
            )
        try:
            return cls.model_validate({**shipped.model_dump(), **measured})
        except ValidationError as error:
            raise FiguresError(f"{path}: {error}") from error


class _JSON(BaseModel):
    model_config = ConfigDict(extra="allow")


def _measured(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if ingest := document.get("ingest"):
        found["ingest_cpu_us"] = {name: row["cpu_us"] for name, row in ingest.items()}
    if run := document.get("end_to_end"):
        found["worker_cpu_us"] = run["worker_cpu_us_per_patient_interval"]
        found["worker_bytes"] = run["worker_memory_per_patient"]
        found["ingest_bytes"] = run["ingest_memory_per_patient"]
        if run.get("influxd_cpu_us_per_patient_second"):
            found["influxd_cpu_us"] = run["influxd_cpu_us_per_patient_second"]
    if found:
        found["measured"] = f"bench.json of {document.get('at', 'an unknown time')}"
    return found
