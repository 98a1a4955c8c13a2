"""How the process follows its files, recovers, and ends when its log breaks."""

import asyncio
import base64
import os
import shutil
import ssl
import subprocess

import orjson
import pytest
from tornado.httpclient import AsyncHTTPClient

from holter.certificate import context as tls_context
from holter.certificate import load
from holter.config import IngestConfig
from holter.ingest import prune
from holter.ingest import service as module
from holter.ingest.intake import now
from holter.keys import KeyFileError, bearer
from holter.settings import SettingError, Settings
from holter.store.sqlite import SqliteStore

T0 = 1_750_000_000_000
OLD, NEW = bytes(range(32)), b"n" * 32


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another task changes it
            await asyncio.sleep(0.01)


async def test_configuration_and_keys_are_followed_and_broken_ones_are_let_be(start, document, monkeypatch):
    monkeypatch.setattr(module, "_WATCH_SECONDS", 0.02)
    async with start() as ingest:
        intake = ingest.service.intake
        ingest.configure(maxPatients=1, logBytes=12345678, sampleRate=500)
        await until(lambda: intake.config.max_patients == 1)
        assert (intake.timeline.max_devices, ingest.service.log.limit) == (1, 12345678)
        (ingest.folder / "config" / "ingest.json").write_text("{")
        (ingest.folder / "keys" / "previous").write_bytes(base64.urlsafe_b64encode(OLD))
        (ingest.folder / "keys" / "current").write_bytes(base64.urlsafe_b64encode(NEW))
        await asyncio.sleep(0.1)
        assert intake.config.max_patients == 1
        ingest.configure()
        await until(lambda: ingest.service._keys.keys.current == NEW)
        assert (await ingest.send(document(), token=bearer(NEW, "wearable-1"))).code == 202
        assert (await ingest.send(document(), token=bearer(OLD, "wearable-1"))).code == 202
        (ingest.folder / "keys" / "previous").unlink()
        await until(lambda: ingest.service._keys.keys.previous is None)
        assert (await ingest.send(document(), token=bearer(OLD, "wearable-1"))).code == 403


async def test_a_new_process_knows_what_the_last_one_took(tmp_path, start, document):
    async with start() as ingest:
        assert (await ingest.send(document(t0=T0))).code == 202
    async with start() as ingest:
        other = document(t0=T0)
        other["samples"] = other["samples"][::-1]
        assert b'"conflicting":250' in (await ingest.send(other)).body
        assert (await ingest.send(document(500, t0=T0 + 500))).code == 202
        chunks = await ingest.stored()
        assert [(c.t0 // 1000 - T0, len(c.samples)) for c in chunks] == [(0, 250), (1000, 125), (1500, 250)]


async def test_the_arrival_outlives_a_process_that_could_not_store(tmp_path, start, document, monkeypatch):
    monkeypatch.setattr(module, "STORE_SECONDS", 0.0)
    (tmp_path / "file").write_text("")
    before = now()
    async with start(f"sqlite:{tmp_path / 'file' / 'no.db'}") as ingest:
        assert (await ingest.send(document(500, t0=T0))).code == 202
        after = now()
    async with start() as ingest:
        assert (await ingest.send(document(t0=T0 + 2000))).code == 202
        first, second, later = await ingest.stored()
        assert before <= first.arrived == second.arrived <= after < later.arrived <= now()


async def test_the_store_is_pruned_with_the_configured_retention(start, monkeypatch):
    monkeypatch.setattr(prune, "FIRST", 0.0)
    asked = asyncio.Queue()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(
        SqliteStore, "prune", lambda _, before: loop.call_soon_threadsafe(asked.put_nowait, before) and 0
    )
    begun = now()
    async with start(retention=7200), asyncio.timeout(10):
        age = now() - await asked.get()
    assert 7200 * 10**6 <= age <= 7200 * 10**6 + (now() - begun)


async def test_a_log_that_cannot_be_written_answers_503_and_ends_the_process(start, document, monkeypatch):
    def broken(_):
        raise OSError(5, "Input/output error")

    async with start() as ingest:
        monkeypatch.setattr(os, "fdatasync", broken)
        response = await ingest.send(document(t0=T0))
        assert response.code == 503
        assert int(response.headers["Retry-After"]) > 0
        await asyncio.wait_for(asyncio.shield(ingest.task), 20)  # nobody asked it to stop
        assert "Input/output error" in ingest.service.broken


async def test_health_and_metrics_are_served_beside_the_device_port(start):
    async with start() as ingest:
        for path, expected in (("healthz", "ok"), ("readyz", "ok"), ("metrics", "holter_ingest_wal_bytes")):
            response = await ingest.client.fetch(f"http://127.0.0.1:{ingest.metrics_port}/{path}")
            assert expected in response.body.decode()
        ingest.service.commits.fault = "the log cannot be written"
        for path in ("healthz", "readyz"):
            url = f"http://127.0.0.1:{ingest.metrics_port}/{path}"
            response = await ingest.client.fetch(url, raise_error=False)
            assert (response.code, response.body) == (503, b"the log cannot be written\n")
        ingest.service.commits.fault = None
    assert ingest.service._unready() == "is closing"


def settings(folder, **more):
    (folder / "ingest.json").write_text(IngestConfig(cohort="w", namespace="n").model_dump_json(by_alias=True))
    ports = {"http": 0, "udp": 0, "metrics": 0}
    return Settings(folder, "sqlite:x", folder / "state", "127.0.0.1", ports, "ingest-0", **more)


def test_a_missing_key_is_said_at_the_start(tmp_path):
    with pytest.raises(SettingError, match="HOLTER_DEVICE_KEYS"):
        module.Service(settings(tmp_path))
    with pytest.raises(KeyFileError, match="current"):
        module.Service(settings(tmp_path, device_keys=tmp_path))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH: no certificate can be made")
async def test_tls(start, document, tmp_path, monkeypatch, token_of):
    folder = tmp_path / "tls"
    folder.mkdir()
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    out = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
    make = ["openssl", *command.split(), *out]
    await asyncio.to_thread(subprocess.run, make, check=True, capture_output=True)
    context = tls_context(folder)
    load(context, folder)  # what a renewal does
    monkeypatch.setattr(module.certificate, "context", lambda _: context)
    async with start() as ingest:
        client = AsyncHTTPClient(force_instance=True)
        trust = ssl.create_default_context(cafile=folder / "tls.crt")
        response = await client.fetch(
            f"https://127.0.0.1:{ingest.service.http_port}/ingest",
            method="POST",
            body=orjson.dumps(document()),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token_of('wearable-1')}"},
            ssl_options=trust,
        )
        assert response.code == 202
        client.close()
