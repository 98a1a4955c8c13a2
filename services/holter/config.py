"""What the operator tells a service: one JSON file a service, from the cohort's ConfigMap, reloaded live."""

from datetime import datetime
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel


class _Model(BaseModel):
    # Unknown keys are let be: an operator may be newer than a service.
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class CohortConfig(_Model):
    """What every service knows of its cohort. Durations are seconds, sizes bytes, rates Hz."""

    cohort: str
    namespace: str
    sample_rate: float = 250.0


class IngestConfig(CohortConfig):
    """`ingest.json`."""

    udp: bool = True
    batch_size: int = Field(500, description="points per write to the store")
    flush_interval: float = 1.0
    max_patients: int = 5000
    log_bytes: int = 4 << 30
    layout: Literal["Chunks", "Samples"] = "Chunks"
    access: Literal["Token", "Open"] = "Token"
    retention: float = Field(720 * 3600.0, ge=3600, description="how long the embedded store keeps what it has")


class Webhook(_Model):
    """A receiver of alerts; its signing secret, when it has one, is in `<webhooks folder>/<name>/secret`."""

    name: str
    url: str


class InferenceConfig(CohortConfig):
    """`inference.json`."""

    replicas: int = 1
    source: Literal["Feed", "Store"] = "Feed"
    layout: Literal["Chunks", "Samples"] = "Chunks"
    window: float = 10.0
    interval: float = 5.0
    cooldown: float = 60.0
    false_alerts_per_patient_day: float = 2.0
    webhooks: tuple[Webhook, ...] = ()
    alertmanager: str | None = None


class RefitConfig(CohortConfig):
    """`refit.json`."""

    layout: Literal["Chunks", "Samples"] = "Chunks"
    interval: float = 5.0
    estimators: int = 100
    contamination: float = 0.01
    max_samples: int = 256
    components: int = 8
    max_training_windows: int = 200_000
    lookback: float = 86_400.0
    min_windows: int = 500
    false_alerts_per_patient_day: float = 2.0


class ConsoleConfig(CohortConfig):
    """`console.json`."""

    layout: Literal["Chunks", "Samples"] = "Chunks"


class PatientProfile(_Model):
    """What a ward knows of one patient."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid", allow_inf_nan=False
    )

    paced: bool = False
    known_af: bool = Field(False, alias="knownAF")
    hr_low: float = Field(40.0, ge=20, le=120, description="1/min")
    hr_high: float = Field(200.0, ge=80, le=300, description="1/min")
    muted_until: float | None = Field(None, description="seconds since the epoch; RFC 3339 is read too")

    @field_validator("muted_until", mode="before")
    @classmethod
    def _from_rfc3339(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("RFC 3339 or seconds since the epoch is expected") from None
        if time.tzinfo is None:
            raise ValueError("RFC 3339 needs an offset: Z or +01:00")
        return time.timestamp()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.hr_low >= self.hr_high:
            raise ValueError("hrLow must be below hrHigh")
        return self


M = TypeVar("M", bound=CohortConfig)


def read(model: type[M], path: Path) -> M:
    """Read one service's configuration.

    Raises:
        OSError: the file is not there.
        pydantic.ValidationError: names each field that is wrong.
    """
    return model.model_validate_json(path.read_bytes())
