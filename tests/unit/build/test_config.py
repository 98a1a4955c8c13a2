"""The ConfigMap's JSON, read with the services' own models."""

import pytest

from holter.config import ConsoleConfig, InferenceConfig, IngestConfig, RefitConfig, Webhook
from holter_operator.build.config import services


@pytest.fixture
def files(make, bare):
    return lambda name, **sections: services(make(name, **sections), bare)["data"]


def test_ingest(files):
    assert IngestConfig.model_validate_json(files("everything")["ingest.json"]) == IngestConfig(
        cohort="cardiology-ward",
        namespace="st-mary",
        sample_rate=250,
        udp=True,
        batch_size=800,
        flush_interval=2,
        max_patients=1200,
        log_bytes=int(0.9 * 8 * 2**30),
        layout="Samples",
        access="Token",
        retention=168 * 3600,
    )


def test_inference(files):
    assert InferenceConfig.model_validate_json(files("everything")["inference.json"]) == InferenceConfig(
        cohort="cardiology-ward",
        namespace="st-mary",
        sample_rate=250,
        replicas=4,
        source="Store",
        layout="Samples",
        window=12,
        interval=3,
        cooldown=90,
        false_alerts_per_patient_day=0.5,
        webhooks=(
            Webhook(name="ward", url="https://ward.example.org/alerts"),
            Webhook(name="bridge", url="http://bridge.paging.svc:8080/in"),
            Webhook(name="log", url="http://log"),
        ),
        alertmanager="http://alertmanager:9093",
    )


def test_refit(files):
    assert RefitConfig.model_validate_json(files("everything")["refit.json"]) == RefitConfig(
        cohort="cardiology-ward",
        namespace="st-mary",
        sample_rate=250,
        layout="Samples",
        interval=3,
        estimators=50,
        contamination=0.02,
        max_samples=512,
        components=6,
        max_training_windows=50_000,
        lookback=72 * 3600,
        min_windows=900,
        false_alerts_per_patient_day=0.5,
    )


def test_console(files):
    assert ConsoleConfig.model_validate_json(files("persistent")["console.json"]) == ConsoleConfig(
        cohort="rehabilitation", namespace="clinic", sample_rate=500, layout="Chunks"
    )


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("ingest.json", IngestConfig),
        ("inference.json", InferenceConfig),
        ("refit.json", RefitConfig),
        ("console.json", ConsoleConfig),
    ],
)
def test_each_field_is_told_and_no_other(files, file, model):
    """A field left out would be the service's own default; one it does not know would be a misspelling."""
    parsed = model.model_validate_json(files("minimal")[file])
    assert parsed.model_fields_set == set(model.model_fields)
    strict = type("Strict", (model,), {"model_config": {"extra": "forbid"}})
    strict.model_validate_json(files("minimal")[file])


def test_a_full_log_leaves_room_on_its_volume(make, bare, files):
    parsed = IngestConfig.model_validate_json(files("minimal", ingest={"log": {"size": "100Mi"}})["ingest.json"])
    assert parsed.log_bytes < 100 * 2**20
