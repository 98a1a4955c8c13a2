"""One listing of an organisation, shared by all its cohorts, and kept true to what is written meanwhile."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime

from holter_operator.io.influx_api import Api
from holter_operator.io.influx_http import InfluxError
from holter_operator.reconcile.provision_bucket import bucket_owner
from holter_operator.reconcile.provision_state import Authorization, Bucket, Observed
from holter_operator.reconcile.provision_tokens import token_owner

NOT_SET_UP = "InfluxDBNotSetUp"


class Listing:
    """Buckets and authorizations, found by name and by the cohort they are marked with."""

    def __init__(self, at: datetime, buckets: Iterable[Bucket], authorizations: Iterable[Authorization]) -> None:
        self._at = at
        self._buckets: dict[str, Bucket] = {}
        self._named: dict[str, str] = {}
        self._owned: dict[str, set[str]] = defaultdict(set)
        self._tokens: dict[str, dict[str, Authorization]] = defaultdict(dict)
        self._openers: dict[str, dict[str, str]] = defaultdict(dict)
        for bucket in buckets:
            self.put_bucket(bucket)
        for authorization in authorizations:
            self.put_authorization(authorization)

    def observed(self, uid: str, bucket: str) -> Observed:
        """What concerns the cohort with this uid and this bucket's name."""
        named = self._buckets.get(self._named.get(bucket, ""))
        marked = tuple(self._buckets[found] for found in sorted(self._owned.get(uid, ())))
        ids = {found.id for found in (*marked, *filter(None, [named]))}
        tenants = {found: frozenset(self._openers.get(found, {}).values()) for found in ids}
        return Observed(self._at, named, marked, tuple(self._tokens.get(uid, {}).values()), tenants)

    def put_bucket(self, bucket: Bucket) -> None:
        """A bucket as it is now."""
        self.drop_bucket(bucket.id)
        self._buckets[bucket.id] = bucket
        self._named[bucket.name] = bucket.id
        if uid := bucket_owner(bucket.description):
            self._owned[uid].add(bucket.id)

    def drop_bucket(self, bucket_id: str) -> None:
        """A bucket that is gone."""
        if old := self._buckets.pop(bucket_id, None):
            self._named.pop(old.name, None)
            self._owned[bucket_owner(old.description) or ""].discard(bucket_id)

    def put_authorization(self, authorization: Authorization) -> None:
        """An authorization as it is now. Only those of cohorts are kept."""
        if uid := token_owner(authorization.description):
            self._tokens[uid][authorization.id] = authorization
            for _, _, resource in authorization.permissions:
                self._openers[resource][authorization.id] = uid

    def drop_authorization(self, uid: str, authorization_id: str) -> None:
        """An authorization that is gone."""
        if old := self._tokens[uid].pop(authorization_id, None):
            for _, _, resource in old.permissions:
                self._openers[resource].pop(authorization_id, None)


class SharedListing:
    """The listing, at most `max_age` seconds old; its failure is shared just as long.

    While InfluxDB is known to fail, one thread tries again and the others get the last failure at once, so that an
    InfluxDB that is down does not hold all threads.
    """

    def __init__(self, api: Api, clock: Callable[[], float], max_age: float) -> None:
        self._api, self._clock, self._max_age = api, clock, max_age
        self._lock = threading.Lock()
        self._listing: Listing | None = None
        self._failure: InfluxError | None = None
        self._taken = float("-inf")
        self._organisation = ""

    @property
    def organisation(self) -> str:
        """The organisation's id, once it was listed."""
        return self._organisation

    def observed(self, uid: str, bucket: str) -> Observed:
        """What concerns one cohort.

        Raises:
            InfluxError: the listing failed.
        """
        failure = self._failure
        if not self._lock.acquire(blocking=failure is None):
            assert failure is not None
            raise failure.again()
        try:
            if self._clock() - self._taken >= self._max_age:
                self._refresh()
            if self._failure is not None:
                raise self._failure.again()
            assert self._listing is not None
            return self._listing.observed(uid, bucket)
        finally:
            self._lock.release()

    def forget(self) -> None:
        """List anew at the next look: something is not as listed."""
        with self._lock:
            self._taken = float("-inf")

    def write(self, note: Callable[[Listing], None]) -> None:
        """Note a write of ours: a listing that began before it may not have seen it."""
        with self._lock:
            if self._listing is not None:
                note(self._listing)

    def _refresh(self) -> None:
        try:
            organisation = self._api.organisation()
            # Authorizations first: their time must not be later than anything that is listed.
            at, authorizations = self._api.authorizations(organisation)
            self._listing = Listing(at, self._api.buckets(organisation), authorizations)
            self._organisation, self._failure = organisation, None
        except InfluxError as error:
            self._failure = self._explained(error)
        self._taken = self._clock()

    def empty(self) -> bool:
        """Whether nobody has set up this InfluxDB; no when it does not say."""
        try:
            return self._api.may_be_set_up()
        except InfluxError:
            return False

    def _explained(self, error: InfluxError) -> InfluxError:
        """An InfluxDB that nobody has set up refuses every token: say that instead."""
        if error.status != 401 or not self.empty():
            return error
        return InfluxError(
            NOT_SET_UP,
            f"InfluxDB at {self._api.access.url} is empty: set it up (`influx setup`, or let the operator do it)",
            status=error.status,
        )
