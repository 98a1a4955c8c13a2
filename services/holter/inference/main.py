"""`holter infer`: a worker that looks at its share of a cohort, as it comes."""

import asyncio
import signal
import time
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime
from threading import Thread
from typing import Any

import click
import orjson
import structlog
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from holter import logs
from holter.config import InferenceConfig, read
from holter.feed.client import Feed, parse_peers
from holter.inference.decision import Decision, Limits
from holter.inference.decision.life import Life
from holter.inference.engine import Engine
from holter.inference.live import CYCLE, Live
from holter.inference.outbox import Outbox
from holter.inference.profiles import Profiles
from holter.inference.shards import Duty
from holter.inference.sinks import build
from holter.inference.sinks.delivery import DeliveryMetrics, deliver
from holter.inference.telemetry import Telemetry
from holter.inference.warm import warm
from holter.inference.watched import Watched
from holter.inference.worker import Parts, Worker
from holter.keys import KeyFileError, KeyFolder, feed_keys
from holter.memory import keep_flat
from holter.metrics import Metrics
from holter.model.artifact import JSON, NPZ, load
from holter.model.npz import ArtifactError
from holter.serving import serve
from holter.settings import Settings, from_environment
from holter.store.open import open_store

_STUCK = 60.0
_KEYS_EVERY = 2.0
_log = structlog.get_logger()


class Service:
    """The worker with its surroundings: configuration, model, profiles, sinks, health."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._config_file = Watched(settings.config / "inference.json")
        self.config = read(InferenceConfig, self._config_file.path)
        self._config_file.poll()
        metrics = Metrics(self.config.cohort, CollectorRegistry())
        self.registry = metrics.registry
        telemetry = Telemetry(metrics)
        self.store = open_store(settings.store, layout=self.config.layout, writer=settings.pod)
        self.outbox = Outbox(settings.state / "outbox.db")
        self.profiles = Profiles(settings.profiles)
        engine = Engine(round(self.config.window), round(self.config.interval))
        life = Life(self.config.namespace, self.config.cohort, round(self.config.cooldown))
        decision = Decision(engine, life, Limits(cooldown=round(self.config.cooldown)), self.profiles.of)
        self.parts = Parts(self.store, self.outbox, engine, life, decision, telemetry)
        self._keys: KeyFolder | None = None
        self._next_keys = 0.0
        self._refresh_keys()
        self.duty = Duty(settings.ordinal, self.config.replicas)
        self.worker = Worker(self.parts, self.duty.mine)
        feed = Feed(parse_peers(settings.feed_peers), self._feed_keys) if settings.feed_peers else None
        self.live = Live(self.worker, self.duty, telemetry, feed, fed=self.config.source == "Feed")
        self._model_file = Watched(settings.model / JSON) if settings.model else None
        self._delivery_metrics = DeliveryMetrics(metrics, self._sink_names())
        self._delivery: asyncio.Task[None] | None = None
        self._fault: str | None = "starting: compiling"
        self._last_cycle: float | None = None
        self._restart = False

    def _sink_names(self) -> list[str]:
        names = ["store", *(f"webhook:{hook.name}" for hook in self.config.webhooks)]
        return [*names, "alertmanager"] if self.config.alertmanager else names

    def alive(self) -> str | None:
        """For /healthz."""
        if self._last_cycle is None:
            return None  # compiling, the first time on a machine: it may take minutes of a busy one
        quiet = time.monotonic() - self._last_cycle
        return f"no cycle for {round(quiet)} s" if quiet > _STUCK else None

    def ready(self) -> str | None:
        """For /readyz."""
        return self._fault or self.live.fault

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping` is set, or a change asks for a new process."""
        _log.info("compiling", patience="the first start on a machine takes up to a minute, later ones seconds")
        await _compiled(stopping)
        if stopping.is_set():
            return
        self._deliver()
        async with self.live.running():
            self._fault = None
            while not self._restart and not (stopping.is_set() and self.live.may_end()):
                began = time.monotonic()
                await self.live.cycle(self._refresh)
                self._last_cycle = time.monotonic()
                self._reconfigure()
                if self._delivery is not None and self._delivery.done():
                    self._delivery.result()
                pause = CYCLE - (time.monotonic() - began)
                # Once it is told to end there is nothing to be woken by: it goes on at its pace until it is relieved.
                await (asyncio.sleep(max(pause, 0.0)) if stopping.is_set() else _sleep(pause, stopping))
        await asyncio.to_thread(self.worker.write_baselines)
        if self._delivery is not None:
            self._delivery.cancel()
            await asyncio.gather(self._delivery, return_exceptions=True)
        self.outbox.close()
        self.store.close()

    def _feed_keys(self) -> tuple[bytes, ...]:
        return feed_keys(None if self._keys is None else self._keys.keys)

    def _refresh(self) -> None:
        """Take up a new model and new profiles, between two cycles."""
        if self.profiles.refresh():
            self.parts.decision.profiles_changed()
        self._refresh_keys()
        if self._model_file is None or self.settings.model is None:
            return
        try:
            text = self._model_file.poll()
            if text is None:
                return
            model = load((self.settings.model / NPZ).read_bytes(), text)
            self.worker.use(model, datetime.fromisoformat(orjson.loads(text)["trainedAt"]).timestamp())
        except FileNotFoundError:
            return
        except (ArtifactError, OSError, ValueError, KeyError) as error:
            _log.warning("model_not_read", reason=str(error), kept="the last one")
            self._model_file = Watched(self.settings.model / JSON)  # half-written: look again

    def _refresh_keys(self) -> None:
        """Follow the key of the feed; without one the store is read."""
        if self.settings.device_keys is None or time.monotonic() < self._next_keys:
            return
        self._next_keys = time.monotonic() + _KEYS_EVERY
        try:
            if self._keys is None:
                self._keys = KeyFolder(self.settings.device_keys)
            else:
                self._keys.refresh()
        except KeyFileError as error:
            _log.warning("keys_not_read", reason=str(error), kept="the last ones")

    def _reconfigure(self) -> None:
        content = self._config_file.poll()
        if content is None:
            return
        try:
            config = InferenceConfig.model_validate_json(content)
        except ValidationError as error:
            _log.error(
                "configuration_refused", file=str(self._config_file.path), reason=str(error), kept="the last one"
            )
            return
        old, self.config = self.config, config
        changed = {f for f in InferenceConfig.model_fields if getattr(old, f) != getattr(config, f)}
        alone = {"replicas"} if self.settings.feed_peers is None else set[str]()  # nobody would be heard to take over
        if changed & {*alone, "layout", "source", "window", "interval", "sample_rate"}:
            _log.info("restarting", reason="configuration", changed=sorted(changed))
            self._restart = True
            return
        self.duty.replicas = config.replicas
        self.parts.life.cooldown = round(config.cooldown)
        self.parts.decision.limits = replace(self.parts.decision.limits, cooldown=round(config.cooldown))
        if changed & {"webhooks", "alertmanager"}:
            self._deliver()
        if changed:
            _log.info("reconfigured", changed=sorted(changed))

    def _deliver(self) -> None:
        if self._delivery is not None:
            self._delivery.cancel()
        sinks = build(self.config, self.store, self.outbox, self.settings.webhooks)
        self._delivery = asyncio.create_task(deliver(self.outbox, sinks, self._delivery_metrics))


async def _compiled(stopping: asyncio.Event) -> None:
    """Compile in a thread that does not keep the process: the first time takes half a minute, and it may be stopped."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def run() -> None:
        try:
            warm()
        except Exception as error:
            loop.call_soon_threadsafe(done.set_exception, error)
        else:
            loop.call_soon_threadsafe(done.set_result, None)

    Thread(target=run, daemon=True, name="compile").start()
    stop = asyncio.ensure_future(stopping.wait())
    both: set[asyncio.Future[Any]] = {done, stop}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if done.done():
        done.result()


async def _sleep(seconds: float, stopping: asyncio.Event) -> None:
    waiting: Coroutine[object, object, bool] = stopping.wait()
    try:
        await asyncio.wait_for(waiting, max(seconds, 0.0))
    except TimeoutError:
        return


async def _main(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    service = Service(settings)
    server = serve(
        service.registry,
        alive=service.alive,
        ready=service.ready,
        port=settings.port("metrics"),
        address=settings.listen,
    )
    _log.info("started", cohort=service.config.cohort, pod=settings.pod, source=service.config.source)
    try:
        await service.run(stopping)
    finally:
        server.stop()
    _log.info("stopped")


@click.command()
def command() -> None:
    """Look at every patient each second, raise alerts, score windows. Configured by the environment."""
    keep_flat()
    logs.configure("inference")
    asyncio.run(_main(from_environment()))
