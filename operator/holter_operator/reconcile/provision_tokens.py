"""Tokens: one authorization per component, with that component's rights on that bucket alone.

InfluxDB shows a token once, so it is never read back. What tells whose a Secret's token is, is written where it cannot
get lost, in the authorization's description: `holter.dev/<uid>/<component>/<generation> sha256:<fingerprint>`.

A token is *held* when a Secret has it (or this process, which issued it a moment ago) and its authorization is active,
has exactly its component's rights and is not superseded. Nothing held: a new one is issued. When the Secret has the
new one, all others are marked `superseded:<time>`, and revoked when the grace is over: until then pods may use either.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from holter_operator.build.given import Component
from holter_operator.reconcile.provision_state import (
    Action,
    Authorization,
    Bucket,
    Change,
    Issue,
    Observed,
    Permission,
    Revoke,
    Supersede,
    Wanted,
)

MOST_SPARE = 3
"""Tokens of a component that no Secret holds. Each crash between token and Secret leaves one; they must not pile up."""

_ACTIONS: Mapping[Component, tuple[str, ...]] = {
    Component.INGEST: ("write",),
    Component.INFERENCE: ("read", "write"),
    Component.REFIT: ("read",),
    Component.CONSOLE: ("read", "write"),
}
_MARK = re.compile(
    r"holter\.dev/(?P<uid>[A-Za-z0-9-]+)/(?P<component>[a-z]+)/(?P<generation>[0-9]{1,9})(?=\s|$)"
    r"(?:\s+sha256:(?P<fingerprint>[0-9a-f]+))?"
    r"(?:\s+superseded:(?P<superseded>\S+))?"
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A component's tokens that are known, as fingerprints.

    Attributes:
        secret: the one in its Secret; None when the Secret or the key is missing.
        issued: those this process has issued and not yet seen in the Secret.
    """

    secret: str | None = None
    issued: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """What is to be done about tokens; see `Plan`."""

    actions: tuple[Action, ...]
    held: Mapping[Component, str]
    due_in: float | None


@dataclass(frozen=True, slots=True)
class _Ours:
    """An authorization with what its description says."""

    id: str
    authorization: Authorization
    component: str
    generation: int
    fingerprint: str | None
    superseded: datetime | None


def token_owner(description: str) -> str | None:
    """The uid of the cohort whose authorization this describes; None when it is not of ours."""
    match = _MARK.match(description)
    return match["uid"] if match else None


def fingerprint(token: str) -> str:
    """What a description says of a token: 128 bits of its SHA-256."""
    return sha256(token.encode()).hexdigest()[:32]


def described(mark: str, token: str) -> str:
    """The description of an authorization whose token is known."""
    return f"{mark} sha256:{fingerprint(token)}"


def rights(component: Component, bucket_id: str) -> frozenset[Permission]:
    """What a component may do: its actions, on one bucket."""
    return frozenset((action, "buckets", bucket_id) for action in _ACTIONS[component])


def decide_tokens(
    wanted: Wanted, bucket: Bucket, observed: Observed, known: Mapping[Component, Tokens], grace: timedelta
) -> TokenPlan:
    """What is to be done so that each component that runs, and no other, has a token for the bucket."""
    ours = sorted((_read(found) for found in observed.authorizations), key=_age)
    actions: dict[str, Action] = {}
    held: dict[Component, str] = {}
    due: list[float] = []
    for component in Component:
        mine = [one for one in ours if one.component == component]
        if component not in wanted.components:
            actions |= {one.id: _revoke(one, "the cohort does not run this component") for one in mine}
            continue
        tokens = known.get(component, Tokens())
        fitting = [one for one in mine if _unfit(one, wanted, component, bucket, observed.at, tokens) is None]
        chosen = fitting[-1] if fitting else None
        spare = [one for one in mine if one is not chosen]
        if chosen is None:
            issue = _issue(mine, wanted, component, bucket, observed.at, tokens)
            actions[issue.mark] = issue
        else:
            held[component] = str(chosen.fingerprint)
            if chosen.fingerprint == tokens.secret:
                retired = [(one, _retire(one, observed.at, grace)) for one in spare]
                actions |= {one.id: step for one, step in retired if not isinstance(step, float)}
                due += [step for _, step in retired if isinstance(step, float)]
        nowhere = [one for one in spare if one.fingerprint != tokens.secret]
        actions |= {one.id: _revoke(one, "too many are spare") for one in nowhere[:-MOST_SPARE]}
    return TokenPlan(tuple(actions.values()), held, min(due, default=None))


def revoke_all(observed: Observed) -> tuple[Action, ...]:
    """All of a cohort's authorizations go."""
    return tuple(_revoke(_read(found), "the cohort is deleted") for found in observed.authorizations)


def _read(found: Authorization) -> _Ours:
    match = _MARK.match(found.description)
    assert match is not None, "only authorizations of ours are observed"
    return _Ours(
        found.id,
        found,
        component=match["component"],
        generation=int(match["generation"]),
        fingerprint=match["fingerprint"],
        superseded=_time(match["superseded"]),
    )


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        # Somebody's edit: superseded, and long ago.
        return datetime.fromtimestamp(0, UTC)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _age(one: _Ours) -> tuple[int, datetime, str]:
    return one.generation, one.authorization.created, one.id


def _unfit(
    one: _Ours, wanted: Wanted, component: Component, bucket: Bucket, at: datetime, tokens: Tokens
) -> str | None:
    """Why a token cannot be the one in use; None when it can."""
    after = wanted.issued_after
    if one.fingerprint is None or one.fingerprint not in tokens.issued | {tokens.secret}:
        return "its token is known to nobody"
    if one.superseded is not None:
        return "the one in its Secret was superseded"
    if not one.authorization.active:
        return "the one in its Secret was made inactive in InfluxDB"
    if one.authorization.permissions != rights(component, bucket.id):
        return f"the one in its Secret is for another bucket than {bucket.name} ({bucket.id}), or has other rights"
    # Both times are InfluxDB's, and `at` is not later than any token issued from here on: none is due when it is new.
    if after is not None and one.authorization.created < after <= at:
        return f"rotation was asked for of all issued before {after.isoformat()}"
    return None


def _issue(
    mine: Sequence[_Ours], wanted: Wanted, component: Component, bucket: Bucket, at: datetime, tokens: Tokens
) -> Issue:
    generation = max((one.generation for one in mine), default=0) + 1
    if tokens.secret is None:
        why = "its Secret has none"
    else:
        in_secret = [one for one in mine if one.fingerprint == tokens.secret]
        unfit = _unfit(in_secret[-1], wanted, component, bucket, at, tokens) if in_secret else None
        why = unfit or "InfluxDB has no authorization for the one in its Secret"
    return Issue(
        component,
        f"holter.dev/{wanted.uid}/{component}/{generation}",
        rights(component, bucket.id),
        Change("TokenIssued", f"InfluxDB token {generation} of {component} is issued: {why}"),
    )


def _retire(one: _Ours, at: datetime, grace: timedelta) -> Supersede | Revoke | float:
    """The next step of a token whose successor is in the Secret, or seconds until it is due."""
    if one.superseded is None:
        return Supersede(one.id, f"{one.authorization.description} superseded:{at:%Y-%m-%dT%H:%M:%SZ}")
    left = (one.superseded + grace - at).total_seconds()
    return left if left > 0 else _revoke(one, "another has taken its place")


def _revoke(one: _Ours, why: str) -> Revoke:
    change = Change("TokenRevoked", f"InfluxDB token {one.generation} of {one.component} is revoked: {why}")
    return Revoke(one.id, change)
