"""What InfluxDB should hold for a cohort, decided from what it holds. Pure: data in, actions out.

Level-triggered: observe, `decide`, act, and again until nothing is to be done. Each action may be the last before a
crash; the next round sees what is left.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from holter_operator.api.cohort import Cohort
from holter_operator.build import names
from holter_operator.build.given import Component
from holter_operator.reconcile.provision_bucket import decide_bucket, delete_buckets
from holter_operator.reconcile.provision_state import Action, Observed, Plan, Refused, Wanted
from holter_operator.reconcile.provision_tokens import Tokens, decide_tokens, revoke_all


def wanted(cohort: Cohort, uid: str, components: Iterable[Component], issued_after: datetime | None = None) -> Wanted:
    """What a cohort asks of InfluxDB.

    Args:
        cohort: the cohort.
        uid: its `metadata.uid`.
        components: those it runs.
        issued_after: tokens that were issued before are rotated; with a time zone.
    """
    storage = cohort.spec.storage
    return Wanted(
        uid=uid,
        namespace=cohort.namespace,
        name=cohort.name,
        bucket=names.bucket(cohort),
        retention=storage.retention,
        adopt=storage.adopt,
        own_connection=storage.influxdb.connection_secret_ref is not None,
        components=frozenset(components),
        issued_after=issued_after,
    )


def decide(wanted: Wanted, observed: Observed, known: Mapping[Component, Tokens], grace: timedelta) -> Plan | Refused:
    """What is to be done now for a cohort to have its bucket and tokens.

    Args:
        wanted: what the cohort asks for.
        observed: what InfluxDB holds.
        known: tokens in Secrets, and issued by this process.
        grace: for how long a superseded token is still valid.
    """
    bucket = decide_bucket(wanted, observed)
    if isinstance(bucket, Refused):
        return bucket
    if bucket.bucket is None:
        return Plan(bucket.actions)
    tokens = decide_tokens(wanted, bucket.bucket, observed, known, grace)
    return Plan(bucket.actions + tokens.actions, bucket.bucket, bucket.adopted, tokens.held, tokens.due_in)


def decide_removal(observed: Observed, *, delete_bucket: bool) -> tuple[Action, ...]:
    """What is to be done when a cohort is deleted: its tokens go, its own bucket only if asked for."""
    return revoke_all(observed) + (delete_buckets(observed) if delete_bucket else ())
