"""Where alerts go: the cohort's webhooks, Alertmanager, the store."""

from pathlib import Path

from holter.config import InferenceConfig
from holter.inference.outbox import Outbox
from holter.inference.sinks.alertmanager import AlertmanagerSink
from holter.inference.sinks.sink import Sink
from holter.inference.sinks.store import StoreSink
from holter.inference.sinks.webhook import SigningSecret, WebhookSink
from holter.store.protocol import Store


def build(config: InferenceConfig, store: Store, outbox: Outbox, secrets: Path | None) -> tuple[Sink, ...]:
    """Every sink of a cohort, and the outbox set to queue for them; call it on the event loop.

    Args:
        config: names the webhooks and Alertmanager.
        store: is one too.
        outbox: also tells Alertmanager what is open.
        secrets: folder of `<webhook name>/secret`, None where nothing is signed.
    """
    sinks: list[Sink] = [StoreSink(store)]
    for hook in config.webhooks:
        secret = SigningSecret(secrets / hook.name / "secret") if secrets else None
        sinks.append(WebhookSink(hook.name, hook.url, config.namespace, config.cohort, secret))
    if config.alertmanager:
        sinks.append(AlertmanagerSink(config.alertmanager, config.namespace, config.cohort, outbox))
    outbox.configure([sink.name for sink in sinks])
    return tuple(sinks)
