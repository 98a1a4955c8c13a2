"""Buckets and tokens of InfluxDB 2 for cohorts. What is done is decided in `reconcile/provision.py`.

    influx = Influx()  # one per operator; thread-safe, for `asyncio.to_thread`
    found = influx.ensure(wanted(cohort, uid, components), Access(url, org, token), {Component.INGEST: "its token", …})
    match found:
        case Provisioned():  …   # apply the Secrets of `found.connections` at once: InfluxDB shows a token only once
        case Refused():      …   # condition BucketReady=False with its reason and message

Calls for one cohort must not overlap (the operator's lock per cohort), and tokens must come from Secrets read just
before, or from a watch, which does not go back in time. Nothing here raises for what InfluxDB does or does not do, and
every request is bounded (`Http`). While an organisation is known to fail, one thread tries again and the others are
refused at once.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from holter_operator.build.given import Component, Connection
from holter_operator.io.influx_api import Api
from holter_operator.io.influx_http import Http, InfluxError, unavailable
from holter_operator.io.influx_listing import NOT_SET_UP, SharedListing
from holter_operator.reconcile.provision import decide, decide_removal
from holter_operator.reconcile.provision_access import unusable
from holter_operator.reconcile.provision_state import (
    Access,
    Action,
    Change,
    CreateBucket,
    DeleteBucket,
    Issue,
    Plan,
    Provisioned,
    Refused,
    Removed,
    Revoke,
    Supersede,
    UpdateBucket,
    Wanted,
)
from holter_operator.reconcile.provision_tokens import Tokens, described, fingerprint

_MOST_ROUNDS = 6
_STALE = frozenset({404, 422})  # what was listed is no more so
_UNUSED_AFTER = 600.0  # seconds

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FirstUser:
    """Who an empty InfluxDB is set up for; `bucket` is one that InfluxDB insists on."""

    name: str
    password: str = field(repr=False)
    bucket: str = "holter"


@dataclass(frozen=True, slots=True)
class SetUp:
    """The InfluxDB is set up; `now` when it was this call that did it."""

    now: bool


@dataclass(slots=True)
class _Known:
    """An organisation, and when it was last asked for."""

    api: Api
    listing: SharedListing
    used: float


class Influx:
    """All InfluxDB organisations that cohorts use.

    Args:
        grace: for how long a token is still valid after its successor has come into the Secret. A kubelet takes up to
            two minutes to bring a Secret into pods.
        clock: monotonic seconds.
        listing_age: seconds for which cohorts share one listing of an organisation.
        http: the transport.
    """

    def __init__(
        self,
        *,
        grace: timedelta = timedelta(minutes=10),
        clock: Callable[[], float] = time.monotonic,
        listing_age: float = 5.0,
        http: Http | None = None,
    ) -> None:
        self._grace, self._clock, self._listing_age = grace, clock, listing_age
        self._http = http or Http()
        self._lock = threading.Lock()
        self._organisations: dict[Access, _Known] = {}
        # Tokens issued and not yet seen in their Secret, by cohort, component and fingerprint: while a Secret cannot be
        # written, each attempt hands out the same token.
        self._issued: dict[str, dict[Component, dict[str, str]]] = {}

    def ensure(self, wanted: Wanted, access: Access, secrets: Mapping[Component, str | None]) -> Provisioned | Refused:
        """Give a cohort its bucket and a token for each of its components; write nothing when all is well.

        Args:
            wanted: see `reconcile.provision.wanted`.
            access: the namespace's own connection if `wanted.own_connection`, else the operator's.
            secrets: the token in each component's Secret as it is now; None or left out when there is none.
        """
        if (refused := unusable(access)) is not None:
            return refused
        known = self._organisation(access)
        self._settle(wanted.uid, secrets)
        changes: list[Change] = []
        stale: InfluxError | None = None
        try:
            for _ in range(_MOST_ROUNDS):
                tokens = self._tokens(wanted, secrets)
                observed = known.listing.observed(wanted.uid, wanted.bucket)
                plan = decide(wanted, observed, tokens, self._grace)
                if isinstance(plan, Refused):
                    return replace(plan, changes=tuple(changes))
                if not plan.actions and plan.bucket is not None:
                    plain = self._plain(wanted.uid, secrets)
                    connections = {
                        component: Connection(access.url, access.org, plan.bucket.name, plain[held])
                        for component, held in plan.held.items()
                    }
                    return Provisioned(
                        plan.bucket.name, plan.bucket.id, plan.adopted, connections, tuple(changes), plan.due_in
                    )
                try:
                    self._carry_out(known, wanted.uid, plan.actions, changes)
                except InfluxError as error:
                    if error.status not in _STALE:
                        raise
                    stale = error
        except InfluxError as error:
            return _refused(error, changes)
        return _refused(stale or unavailable(access, "it does not stay as it is set"), changes)

    def settled(self, wanted: Wanted, access: Access, secrets: Mapping[Component, str | None]) -> bool:
        """Whether all is as `ensure` left it; no when InfluxDB does not say. Looks at the listing alone."""
        if unusable(access) is not None:
            return False
        try:
            observed = self._organisation(access).listing.observed(wanted.uid, wanted.bucket)
        except InfluxError:
            return False
        plan = decide(wanted, observed, self._tokens(wanted, secrets), self._grace)
        return isinstance(plan, Plan) and not plan.actions and plan.bucket is not None

    def remove(self, uid: str, access: Access, *, delete_bucket: bool) -> Removed | Refused:
        """Revoke a cohort's tokens and, if asked for, delete its own bucket; fine when all is gone already.

        Call it when the pods are gone: what they still drain needs their tokens.
        """
        if (refused := unusable(access)) is not None:
            return refused
        known = self._organisation(access)
        changes: list[Change] = []
        try:
            actions = decide_removal(known.listing.observed(uid, ""), delete_bucket=delete_bucket)
            self._carry_out(known, uid, actions, changes)
        except InfluxError as error:
            return _refused(error, changes)
        self._issued.pop(uid, None)
        return Removed(tuple(changes))

    def set_up(self, access: Access, first: FirstUser) -> SetUp | Refused:
        """Set up an empty InfluxDB with `access`' organisation and token; leave another as it is."""
        if (refused := unusable(access)) is not None:
            return refused
        known = self._organisation(access)
        try:
            known.listing.observed("", "")
        except InfluxError as error:
            if error.reason != NOT_SET_UP:
                return _refused(error, [])
        else:
            return SetUp(now=False)
        try:
            known.api.set_up(first.name, first.password, first.bucket)
        except InfluxError as error:
            if known.listing.empty():
                return _refused(error, [])
            return SetUp(now=False)  # somebody else was faster
        finally:
            known.listing.forget()
        _log.info("influxdb set up", url=access.url, org=access.org)
        return SetUp(now=True)

    def _organisation(self, access: Access) -> _Known:
        now = self._clock()
        with self._lock:
            known = self._organisations.get(access)
            if known is None:
                for unused in [one for one, old in self._organisations.items() if now - old.used > _UNUSED_AFTER]:
                    del self._organisations[unused]
                api = Api(self._http, access)
                known = self._organisations[access] = _Known(
                    api, SharedListing(api, self._clock, self._listing_age), now
                )
            known.used = now
        return known

    def _settle(self, uid: str, secrets: Mapping[Component, str | None]) -> None:
        """What has come into its Secret need not be remembered."""
        issued = self._issued.get(uid, {})
        for component in [one for one, found in issued.items() if secrets.get(one) in found.values()]:
            del issued[component]

    def _tokens(self, wanted: Wanted, secrets: Mapping[Component, str | None]) -> dict[Component, Tokens]:
        issued = self._issued.get(wanted.uid, {})
        return {
            component: Tokens(
                secret=fingerprint(token) if (token := secrets.get(component)) else None,
                issued=frozenset(issued.get(component, ())),
            )
            for component in wanted.components
        }

    def _plain(self, uid: str, secrets: Mapping[Component, str | None]) -> dict[str, str]:
        """All known tokens of a cohort, by fingerprint."""
        issued = [found for each in self._issued.get(uid, {}).values() for found in each.values()]
        return {fingerprint(token): token for token in (*secrets.values(), *issued) if token}

    def _carry_out(self, known: _Known, uid: str, actions: Sequence[Action], changes: list[Change]) -> None:
        for action in actions:
            try:
                self._do(known, uid, action)
            except InfluxError:
                # It may have been done all the same, or what was listed is no more so.
                known.listing.forget()
                raise
            if not isinstance(action, Supersede):
                changes.append(action.change)
                _log.info(action.change.message, reason=action.change.reason, cohort_uid=uid)

    def _do(self, known: _Known, uid: str, action: Action) -> None:
        api, listing = known.api, known.listing
        match action:
            case CreateBucket():
                bucket = api.create_bucket(listing.organisation, action.name, action.description, action.retention)
                listing.write(lambda it: it.put_bucket(bucket))
            case UpdateBucket():
                bucket = api.update_bucket(action.id, action.name, action.retention)
                listing.write(lambda it: it.put_bucket(bucket))
            case DeleteBucket():
                api.delete_bucket(action.id)
                listing.write(lambda it: it.drop_bucket(action.id))
            case Issue():
                made, token = api.create_authorization(listing.organisation, action.mark, action.permissions)
                issued = api.describe_authorization(made, described(action.mark, token))
                self._issued.setdefault(uid, {}).setdefault(action.component, {})[fingerprint(token)] = token
                listing.write(lambda it: it.put_authorization(issued))
            case Supersede():
                found = api.describe_authorization(action.id, action.description)
                listing.write(lambda it: it.put_authorization(found))
            case Revoke():
                api.delete_authorization(action.id)
                listing.write(lambda it: it.drop_authorization(uid, action.id))


def _refused(error: InfluxError, changes: Sequence[Change]) -> Refused:
    return Refused(error.reason, str(error), error.transient, tuple(changes))
