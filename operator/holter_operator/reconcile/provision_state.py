"""What provisioning speaks of: what InfluxDB holds, what a cohort wants, what is to be done, what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from holter_operator.build.given import Component, Connection

Permission = tuple[str, str, str]
"""Action, type of resource, id of the resource ("" for all of them)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a cohort has no bucket or no tokens.

    Attributes:
        reason: CamelCase, for the condition BucketReady and Events.
        message: in words that an SRE can act on.
        transient: it may pass by itself, so try again soon. What is not passes when somebody changes something.
        changes: what was changed in InfluxDB before it came to this.
    """

    reason: str
    message: str
    transient: bool = False
    changes: tuple["Change", ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """The operator's own, or a namespace's, way to an organisation of an InfluxDB."""

    url: str
    org: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """What was changed in InfluxDB, as an Event tells it."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A cohort's bucket, and each component's way to it.

    Attributes:
        bucket_name: as InfluxDB has it.
        bucket_id: the same.
        adopted: it is not Holter's: its retention is never changed and it is never deleted.
        connections: what each component's Secret has to hold. Write them at once: a token is shown only once.
        changes: what was changed on the way here.
        due_in: seconds until a superseded token is to be revoked; None when there is none.
    """

    bucket_name: str
    bucket_id: str
    adopted: bool
    connections: Mapping[Component, Connection]
    changes: tuple[Change, ...] = ()
    due_in: float | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed at a cohort's deletion; nothing when it was gone already."""

    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a cohort asks of InfluxDB.

    Attributes:
        uid: the cohort's `metadata.uid`.
        namespace: the cohort's.
        name: the cohort's.
        bucket: name of the bucket.
        retention: seconds.
        adopt: a bucket that is not Holter's may be used, given `own_connection`.
        own_connection: the namespace brings its own, so bucket names are its own business.
        components: who gets a token.
        issued_after: tokens older than this are rotated (once the time has come, by InfluxDB's clock).
    """

    uid: str
    namespace: str
    name: str
    bucket: str
    retention: int
    adopt: bool
    own_connection: bool
    components: frozenset[Component]
    issued_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket; `retention` in seconds, 0 for ever."""

    id: str
    name: str
    description: str
    retention: int


@dataclass(frozen=True, slots=True)
class Authorization:
    """An authorization, without its token."""

    id: str
    description: str
    active: bool
    created: datetime
    permissions: frozenset[Permission]


@dataclass(frozen=True, slots=True)
class Observed:
    """What InfluxDB holds that concerns one cohort.

    Attributes:
        at: InfluxDB's time.
        named: the bucket of the wanted name.
        marked: buckets with the cohort's mark.
        authorizations: those with the cohort's mark.
        tenants: of these buckets, by id, the uids of all cohorts that have a token for it.
    """

    at: datetime
    named: Bucket | None = None
    marked: tuple[Bucket, ...] = ()
    authorizations: tuple[Authorization, ...] = ()
    tenants: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CreateBucket:
    """Create a bucket of ours."""

    name: str
    description: str
    retention: int
    change: Change


@dataclass(frozen=True, slots=True)
class UpdateBucket:
    """Give a bucket of ours its name and retention."""

    id: str
    name: str
    retention: int
    change: Change


@dataclass(frozen=True, slots=True)
class DeleteBucket:
    """Delete a bucket of ours with all that is in it."""

    id: str
    change: Change


@dataclass(frozen=True, slots=True)
class Issue:
    """Create an authorization, then put its token's fingerprint behind the mark in its description."""

    component: Component
    mark: str
    permissions: frozenset[Permission]
    change: Change


@dataclass(frozen=True, slots=True)
class Supersede:
    """Note in an authorization's description since when another token is in use."""

    id: str
    description: str


@dataclass(frozen=True, slots=True)
class Revoke:
    """Delete an authorization."""

    id: str
    change: Change


Action = CreateBucket | UpdateBucket | DeleteBucket | Issue | Supersede | Revoke


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now, and what is fine already.

    Attributes:
        actions: in this order; observe and decide again after them. None: the cohort has all it asks for.
        bucket: in use; None while it is to be created.
        adopted: see `Provisioned`.
        held: by component, the fingerprint of the token in use.
        due_in: see `Provisioned`.
    """

    actions: tuple[Action, ...]
    bucket: Bucket | None = None
    adopted: bool = False
    held: Mapping[Component, str] = field(default_factory=dict)
    due_in: float | None = None
