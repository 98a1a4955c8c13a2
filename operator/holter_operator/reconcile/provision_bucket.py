"""The bucket: whose it is, and what it should be like.

With the operator's own connection its name begins with `<namespace>.`, so no namespace names another's. A bucket whose
description begins with `holter.dev/<uid>` is the cohort's own: made, kept to its name and retention, deleted when asked
for. Who may read and write a bucket may rename it and describe it anew, InfluxDB has no finer right: so with the
operator's own connection a bucket that another cohort's token opens is not ours, whatever it says. A bucket that is not
ours is used only with `adopt: true` and the namespace's own connection, and nothing about it is ever changed.
"""

from dataclasses import dataclass

from holter_operator.reconcile.provision_state import (
    Action,
    Bucket,
    Change,
    CreateBucket,
    DeleteBucket,
    Observed,
    Refused,
    UpdateBucket,
    Wanted,
)


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """What is to be done about the bucket; `bucket` is None while there is none."""

    actions: tuple[Action, ...]
    bucket: Bucket | None = None
    adopted: bool = False


def cohort_mark(uid: str) -> str:
    """What the description of a cohort's bucket begins with."""
    return f"holter.dev/{uid}"


def bucket_owner(description: str) -> str | None:
    """The uid of the cohort whose bucket this describes; None when it is not Holter's."""
    domain, _, uid = next(iter(description.split()), "").partition("/")
    return uid if domain == "holter.dev" and uid and "/" not in uid else None


def decide_bucket(wanted: Wanted, observed: Observed) -> BucketPlan | Refused:
    """What is to be done so that the cohort has its bucket, or why it may not have it."""
    prefix = f"{wanted.namespace}."
    if not wanted.own_connection and not (wanted.bucket.startswith(prefix) and wanted.bucket != prefix):
        return Refused(
            "BucketOfAnotherNamespace",
            f"bucket {wanted.bucket!r}: with the operator's own InfluxDB connection its name has to begin with"
            f" {prefix!r}; leave spec.storage.bucket out, or name a connection of the namespace's own in"
            " spec.storage.influxdb.connectionSecretRef",
        )
    named = observed.named
    if named is None:
        ours = [bucket for bucket in observed.marked if not _others(wanted, observed, bucket)]
        renamed = min(ours, key=lambda bucket: bucket.id, default=None)
        return BucketPlan((_create(wanted),)) if renamed is None else _kept(wanted, renamed)
    others = _others(wanted, observed, named)
    if bucket_owner(named.description) == wanted.uid and not others:
        return _kept(wanted, named)
    if wanted.adopt and wanted.own_connection:
        return BucketPlan((), named, adopted=True)
    return Refused("BucketOwnedByAnother", _owned(wanted, named, others))


def delete_buckets(observed: Observed) -> tuple[Action, ...]:
    """All buckets of the cohort go; one that was adopted is not among them."""
    return tuple(
        DeleteBucket(bucket.id, Change("BucketDeleted", f"InfluxDB bucket {bucket.name} is deleted with all its data"))
        for bucket in observed.marked
    )


def _create(wanted: Wanted) -> CreateBucket:
    return CreateBucket(
        wanted.bucket,
        f"{cohort_mark(wanted.uid)} MonitoredCohort {wanted.namespace}/{wanted.name}",
        wanted.retention,
        Change("BucketCreated", f"InfluxDB bucket {wanted.bucket} is created, retention {_hours(wanted.retention)}"),
    )


def _kept(wanted: Wanted, bucket: Bucket) -> BucketPlan:
    """A bucket of ours, with what it takes to make it as wanted."""
    differs = []
    if bucket.name != wanted.bucket:
        differs.append(f"its name was {bucket.name}")
    if bucket.retention != wanted.retention:
        differs.append(f"its retention was {_hours(bucket.retention)}, not {_hours(wanted.retention)}")
    if not differs:
        return BucketPlan((), bucket)
    change = Change("BucketUpdated", f"InfluxDB bucket {wanted.bucket} is set right: {', '.join(differs)}")
    return BucketPlan((UpdateBucket(bucket.id, wanted.bucket, wanted.retention, change),), bucket)


def _others(wanted: Wanted, observed: Observed, bucket: Bucket) -> frozenset[str]:
    """Cohorts whose tokens open a bucket that is nobody's but one cohort's."""
    return frozenset() if wanted.own_connection else observed.tenants.get(bucket.id, frozenset()) - {wanted.uid}


def _owned(wanted: Wanted, bucket: Bucket, others: frozenset[str]) -> str:
    other = bucket_owner(bucket.description)
    if other == wanted.uid:
        return (
            f"bucket {bucket.name} ({bucket.id}) is described as this cohort's, but tokens of the cohorts with uid"
            f" {', '.join(sorted(others))} open it: revoke them in InfluxDB if the bucket is to be this cohort's"
        )
    whose = f"belongs to the cohort with uid {other}" if other else "was not made by Holter"
    if wanted.adopt:
        remedy = "spec.storage.adopt needs the namespace's own connection in spec.storage.influxdb.connectionSecretRef"
    elif wanted.own_connection:
        remedy = "set spec.storage.adopt to use it as it is, or name another bucket"
    else:
        remedy = "name another bucket, or remove this one"
    return (
        f"bucket {bucket.name} ({bucket.id}) {whose}: {remedy}; to hand it to this cohort for good, make"
        f" {cohort_mark(wanted.uid)!r} its description in InfluxDB"
    )


def _hours(seconds: int) -> str:
    if seconds == 0:
        return "unlimited"
    return f"{seconds // 3600}h" if seconds % 3600 == 0 else f"{seconds}s"
