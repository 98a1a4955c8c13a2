"""Decisions about buckets and tokens, as tables; then the level-triggered loop on a made-up InfluxDB."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from holter_operator.api.cohort import parse
from holter_operator.api.schema import check
from holter_operator.build.given import Component
from holter_operator.reconcile.provision import decide, decide_removal, wanted
from holter_operator.reconcile.provision_bucket import bucket_owner
from holter_operator.reconcile.provision_state import (
    Authorization,
    Bucket,
    CreateBucket,
    DeleteBucket,
    Issue,
    Observed,
    Plan,
    Refused,
    Revoke,
    Supersede,
    UpdateBucket,
    Wanted,
)
from holter_operator.reconcile.provision_tokens import (
    MOST_SPARE,
    Tokens,
    described,
    fingerprint,
    rights,
    token_owner,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GRACE = timedelta(minutes=10)
UID = "0b6e7c1c-4a5e-4c38-9f6e-2d1f6f5b7a01"
DAY = 86400
WANTED = Wanted(
    uid=UID,
    namespace="st-mary",
    name="ward",
    bucket="st-mary.ward",
    retention=30 * DAY,
    adopt=False,
    own_connection=False,
    components=frozenset({Component.INGEST}),
)
OURS = Bucket("b1", "st-mary.ward", f"holter.dev/{UID} MonitoredCohort st-mary/ward", 30 * DAY)
FOREIGN = Bucket("b2", "st-mary.ward", "nurses' own", 7 * DAY)


def decided(wanted=WANTED, known=None, **observed):
    return decide(wanted, Observed(at=NOW, **observed), known or {}, GRACE)


def authorization(token="t1", generation=1, *, component="ingest", actions=("write",), bucket="b1", suffix="", **other):
    mark = f"holter.dev/{UID}/{component}/{generation}"
    return Authorization(
        id=other.get("id", f"a{generation}"),
        description=(described(mark, token) if token else mark) + suffix,
        active=other.get("active", True),
        created=other.get("created", NOW - timedelta(days=generation == 1)),
        permissions=frozenset((action, "buckets", bucket) for action in actions),
    )


HELD = {Component.INGEST: Tokens(fingerprint("t1"))}


class TestBucket:
    def test_missing_is_created_with_the_mark(self):
        plan = decided()
        (create,) = plan.actions
        assert isinstance(create, CreateBucket)
        assert (create.name, create.retention) == ("st-mary.ward", 30 * DAY)
        assert create.description == f"holter.dev/{UID} MonitoredCohort st-mary/ward"
        assert bucket_owner(create.description) == UID
        assert plan.bucket is None
        assert plan.held == {}

    @pytest.mark.parametrize(
        "bucket", ["st-john.ward", "st-mary", "st-mary.", "ward", "st-maryx.ward", "St-mary.ward", "xst-mary.ward"]
    )
    def test_another_namespace_s_name_is_refused_whatever_is_there(self, bucket):
        asked = replace(WANTED, bucket=bucket, adopt=True)
        for named in (None, replace(OURS, name=bucket), replace(FOREIGN, name=bucket)):
            refused = decided(asked, named=named, marked=(OURS,))
            assert isinstance(refused, Refused)
            assert refused.reason == "BucketOfAnotherNamespace"
            assert bucket in refused.message
            assert "'st-mary.'" in refused.message

    def test_any_name_will_do_with_the_namespace_s_own_connection(self):
        plan = decided(replace(WANTED, bucket="ward", own_connection=True))
        assert isinstance(plan.actions[0], CreateBucket)

    @pytest.mark.parametrize(
        ("adopt", "own", "description", "told"),
        [
            (False, False, "nurses' own", "was not made by Holter: name another bucket, or remove"),
            (True, False, "nurses' own", "adopt needs the namespace's own connection"),
            (False, True, "nurses' own", "set spec.storage.adopt"),
            (False, False, "holter.dev/another-uid MonitoredCohort st-mary/ward", "cohort with uid another-uid"),
            (False, False, f"holter.dev/{UID}0", f"uid {UID}0"),
            (False, False, f"by holter.dev/{UID}", "was not made by Holter"),
            (False, False, f"holter.dev/{UID}/ingest/1", "was not made by Holter"),
            (False, False, "", "was not made by Holter"),
        ],
    )
    def test_another_s_is_refused(self, adopt, own, description, told):
        named = replace(FOREIGN, description=description)
        refused = decided(replace(WANTED, adopt=adopt, own_connection=own), named=named)
        assert isinstance(refused, Refused)
        assert refused.reason == "BucketOwnedByAnother"
        assert told in refused.message
        assert f"'holter.dev/{UID}'" in refused.message

    @pytest.mark.parametrize("description", ["nurses' own", "holter.dev/another-uid"])
    def test_adopted_is_used_and_nothing_about_it_is_changed(self, description):
        named = replace(FOREIGN, description=description)
        plan = decided(replace(WANTED, adopt=True, own_connection=True), named=named)
        assert plan.adopted
        assert plan.bucket == named
        assert {type(action) for action in plan.actions} == {Issue}

    def test_own_bucket_is_not_adopted_though_adopt_says_so(self):
        plan = decided(replace(WANTED, adopt=True, own_connection=True, retention=DAY), named=OURS, marked=(OURS,))
        assert not plan.adopted
        assert isinstance(plan.actions[0], UpdateBucket)

    @pytest.mark.parametrize(
        ("name", "retention", "told"),
        [
            ("st-mary.ward", 7 * DAY, "its retention was 168h, not 720h"),
            ("st-mary.ward", 0, "its retention was unlimited, not 720h"),
            ("st-mary.ward", 5400, "its retention was 5400s"),
            ("st-mary.renamed", 30 * DAY, "its name was st-mary.renamed"),
            ("st-mary.renamed", DAY, "its name was st-mary.renamed, its retention was 24h, not 720h"),
        ],
    )
    def test_ours_is_set_right(self, name, retention, told):
        bucket = replace(OURS, name=name, retention=retention)
        plan = decided(named=bucket if name == WANTED.bucket else None, marked=(bucket,))
        update = plan.actions[0]
        assert isinstance(update, UpdateBucket)
        assert (update.id, update.name, update.retention) == ("b1", "st-mary.ward", 30 * DAY)
        assert told in update.change.message

    def test_another_s_bucket_in_the_place_of_ours_is_not_pushed_aside(self):
        refused = decided(named=FOREIGN, marked=(replace(OURS, name="st-mary.renamed"),))
        assert isinstance(refused, Refused)

    @pytest.mark.parametrize("name", ["st-mary.ward", "st-mary.renamed"])
    def test_a_bucket_that_another_cohort_s_token_opens_is_not_ours(self, name):
        """Who may write a bucket may describe it as ours, and would go on reading it."""
        bucket = replace(OURS, name=name)
        there = {"named": bucket if name == WANTED.bucket else None, "marked": (bucket,)}
        found = decided(**there, tenants={"b1": frozenset({UID, "intruder"})})
        if name == WANTED.bucket:
            assert isinstance(found, Refused)
            assert (found.reason, "intruder" in found.message) == ("BucketOwnedByAnother", True)
        else:
            assert isinstance(found.actions[0], CreateBucket)
        for harmless in ({UID}, set()):
            assert decided(**there, tenants={"b1": frozenset(harmless)}).bucket == bucket
        own = decided(replace(WANTED, own_connection=True), **there, tenants={"b1": frozenset({"neighbour"})})
        assert own.bucket == bucket


class TestTokens:
    def plan(self, known, *authorizations, at=NOW, **asked):
        observed = Observed(at=at, named=OURS, marked=(OURS,), authorizations=authorizations)
        found = decide(replace(WANTED, **asked), observed, known, GRACE)
        assert isinstance(found, Plan)
        return found

    def test_nothing_is_done_when_all_is_well(self):
        plan = self.plan(HELD, authorization())
        assert plan == Plan((), OURS, False, {Component.INGEST: fingerprint("t1")}, None)

    @pytest.mark.parametrize(
        ("component", "actions"),
        [
            (Component.INGEST, {"write"}),
            (Component.INFERENCE, {"read", "write"}),
            (Component.CONSOLE, {"read", "write"}),
            (Component.REFIT, {"read"}),
        ],
    )
    def test_each_component_has_its_rights_on_that_bucket_alone(self, component, actions):
        (issue,) = self.plan({}, components=frozenset({component})).actions
        assert isinstance(issue, Issue)
        assert issue.permissions == {(action, "buckets", "b1") for action in actions}
        assert issue.mark == f"holter.dev/{UID}/{component}/1"
        assert token_owner(issue.mark) == UID

    @pytest.mark.parametrize(
        ("secret", "found", "why"),
        [
            (None, {}, "its Secret has none"),
            ("t1", None, "no authorization for the one in its Secret"),
            ("edited", {}, "no authorization for the one in its Secret"),
            ("t1", {"token": None}, "no authorization for the one in its Secret"),
            ("t1", {"active": False}, "inactive"),
            ("t1", {"bucket": "b0"}, "for another bucket than st-mary.ward (b1)"),
            ("t1", {"bucket": ""}, "another bucket"),
            ("t1", {"actions": ("read", "write")}, "has other rights"),
            ("t1", {"actions": ()}, "has other rights"),
            ("t1", {"suffix": " superseded:2026-05-01T11:55:00Z"}, "was superseded"),
        ],
    )
    def test_a_new_one_is_issued(self, secret, found, why):
        known = {Component.INGEST: Tokens(fingerprint(secret) if secret else None)}
        authorizations = () if found is None else (authorization(**found),)
        plan = self.plan(known, *authorizations)
        (issue,) = plan.actions
        assert isinstance(issue, Issue)
        assert why in issue.change.message
        assert issue.mark.endswith("/1" if found is None else "/2")
        assert plan.held == {}

    def test_one_just_issued_is_held_until_its_secret_is_written_and_the_old_stays_valid(self):
        known = {Component.INGEST: Tokens(fingerprint("t1"), frozenset({fingerprint("t2")}))}
        plan = self.plan(known, authorization("t1"), authorization("t2", 2), at=NOW + timedelta(days=9))
        assert plan.actions == ()
        assert plan.held == {Component.INGEST: fingerprint("t2")}
        assert plan.due_in is None

    def test_the_old_one_is_superseded_when_the_secret_has_the_new_one_then_revoked_after_the_grace(self):
        known = {Component.INGEST: Tokens(fingerprint("t2"))}
        old, new = authorization("t1"), authorization("t2", 2)
        (mark,) = self.plan(known, old, new).actions
        assert mark == Supersede("a1", f"{old.description} superseded:2026-05-01T12:00:00Z")
        old = replace(old, description=mark.description)
        for passed, left in ((0, 600), (599, 1)):
            plan = self.plan(known, old, new, at=NOW + timedelta(seconds=passed))
            assert (plan.actions, plan.due_in) == ((), left)
        plan = self.plan(known, old, new, at=NOW + GRACE)
        (revoke,) = plan.actions
        assert isinstance(revoke, Revoke)
        assert revoke.id == "a1"
        assert plan.due_in is None

    def test_a_superseded_token_that_came_back_into_the_secret_is_replaced(self):
        known = {Component.INGEST: Tokens(fingerprint("t1"))}
        old = authorization("t1", suffix=" superseded:2026-05-01T11:59:00Z")
        (issue,) = self.plan(known, old, authorization("t2", 2)).actions
        assert issue.mark.endswith("/3")

    @pytest.mark.parametrize(
        ("after", "rotated"),
        [
            (NOW - timedelta(hours=25), False),
            (NOW - timedelta(hours=1), True),
            (NOW, True),
            (NOW + timedelta(seconds=1), False),
        ],
    )
    def test_rotation_when_asked_for_and_the_time_has_come(self, after, rotated):
        plan = self.plan(HELD, authorization(), issued_after=after)
        assert [type(action) for action in plan.actions] == ([Issue] if rotated else [])

    def test_a_rotated_token_is_not_rotated_again(self):
        known = {Component.INGEST: Tokens(fingerprint("t2"))}
        new = authorization("t2", 2, created=NOW)
        assert self.plan(known, new, issued_after=NOW).actions == ()

    def test_spare_ones_do_not_pile_up_and_the_one_in_the_secret_is_spared(self):
        dead = [authorization(None, n, id=f"a{n:02}") for n in range(2, 12)]
        lost = {Component.INGEST: Tokens(fingerprint("t1"))}
        unfit = authorization("t1", active=False)
        plan = self.plan(lost, unfit, *dead)
        assert isinstance(plan.actions[0], Issue)
        assert plan.actions[0].mark.endswith("/12")
        assert {action.id for action in plan.actions[1:]} == {one.id for one in dead[:-MOST_SPARE]}
        assert all(isinstance(action, Revoke) for action in plan.actions[1:])

    def test_with_the_secret_written_spare_ones_are_superseded_or_revoked_never_both(self):
        dead = [authorization(None, n, id=f"a{n:02}") for n in range(2, 12)]
        plan = self.plan(HELD, authorization(), *dead)
        assert len({action.id for action in plan.actions}) == len(plan.actions) == len(dead)
        assert sum(isinstance(action, Supersede) for action in plan.actions) == MOST_SPARE

    def test_a_component_that_does_not_run_has_no_token(self):
        console = authorization("c", component="console", actions=("read", "write"), id="c1")
        (revoke,) = self.plan(HELD, authorization(), console).actions
        assert isinstance(revoke, Revoke)
        assert revoke.id == "c1"

    @pytest.mark.parametrize("suffix", [" superseded:yesterday", " superseded:2026-04-30", " superseded:0001-01-01"])
    def test_an_edited_time_does_not_keep_a_token(self, suffix):
        known = {Component.INGEST: Tokens(fingerprint("t2"))}
        (revoke,) = self.plan(known, authorization("t1", suffix=suffix), authorization("t2", 2)).actions
        assert isinstance(revoke, Revoke)

    def test_an_unknown_component_s_token_is_left_alone(self):
        newer = authorization("n", component="exporter", id="n1")
        assert self.plan(HELD, authorization(), newer).actions == ()

    def test_nothing_tells_a_token(self):
        assert "t1" not in str(self.plan({}, authorization()))
        assert len(fingerprint("t1")) == 32


def test_whose_a_description_is():
    for text in (f"holter.dev/{UID}/ingest", f"my holter.dev/{UID}/ingest/1", f"holter.dev/{UID}/ingest/1x", "", "x"):
        assert token_owner(text) is None
    assert token_owner(f"holter.dev/{UID}/ingest/1") == UID
    assert bucket_owner(f"holter.dev/{UID}") == UID
    for text in ("holter.dev/", "holter.dev", "holterxdev/u", " ", "", f"holter.dev/{UID}/ingest/1"):
        assert bucket_owner(text) is None


@pytest.mark.parametrize("delete", [True, False])
def test_removal(delete):
    unknown = authorization("n", component="exporter", id="n1")
    observed = Observed(NOW, named=FOREIGN, marked=(OURS,), authorizations=(authorization(), unknown))
    actions = decide_removal(observed, delete_bucket=delete)
    assert {action.id for action in actions if isinstance(action, Revoke)} == {"a1", "n1"}
    assert [action.id for action in actions if isinstance(action, DeleteBucket)] == (["b1"] if delete else [])
    assert decide_removal(Observed(NOW, named=FOREIGN), delete_bucket=True) == ()


class TestConvergence:
    """Any sequence of deeds and damage, cut short anywhere, ends with one valid token per component, in its Secret."""

    class Influx:
        def __init__(self):
            self.bucket, self.tokens, self.authorizations = None, {}, {}
            self.at, self.ids = NOW, count(1)

        def observed(self):
            return Observed(
                self.at, self.bucket, (self.bucket,) if self.bucket else (), tuple(self.authorizations.values())
            )

        def do(self, action):
            """Both halves of an issue are separate writes: a generator that can be left in between."""
            match action:
                case CreateBucket():
                    self.bucket = Bucket(f"b{next(self.ids)}", action.name, action.description, action.retention)
                case UpdateBucket():
                    self.bucket = replace(self.bucket, name=action.name, retention=action.retention)
                case Issue():
                    number = next(self.ids)
                    made = Authorization(f"a{number:04}", action.mark, True, self.at, action.permissions)
                    self.authorizations[made.id] = made
                    yield
                    self.tokens[made.id] = f"token-{number}"
                    text = described(action.mark, self.tokens[made.id])
                    self.authorizations[made.id] = replace(made, description=text)
                    yield action.component, self.tokens[made.id]
                case Supersede():
                    old = self.authorizations[action.id]
                    self.authorizations[action.id] = replace(old, description=action.description)
                case Revoke():
                    del self.authorizations[action.id]
            yield

    def reconcile(self, influx, secrets, steps):
        """One life of the operator, killed after so many writes; True when it came to an end before."""
        issued = {}
        asked = replace(WANTED, components=frozenset(Component))
        while True:
            known = {
                one: Tokens(
                    fingerprint(secrets[one]) if one in secrets else None,
                    frozenset(map(fingerprint, issued.get(one, ()))),
                )
                for one in Component
            }
            plan = decide(asked, influx.observed(), known, GRACE)
            assert isinstance(plan, Plan)
            if not plan.actions:
                break
            for action in plan.actions:
                for made in influx.do(action):
                    if (steps := steps - 1) < 0:
                        return False
                    if made:
                        issued.setdefault(made[0], []).append(made[1])
        for component, held in plan.held.items():
            token = next(one for one in influx.tokens.values() if fingerprint(one) == held)
            if secrets.get(component) != token:
                if (steps := steps - 1) < 0:
                    return False
                secrets[component] = token
        return True

    @pytest.mark.parametrize("damage", ["nothing", "bucket", "secrets", "authorizations", "edited"])
    def test_killed_after_any_write(self, damage):
        for steps in range(40):
            influx, secrets = self.Influx(), {}
            assert self.reconcile(influx, secrets, 1000)
            if damage == "bucket":
                influx.bucket = None
            elif damage == "secrets":
                secrets.clear()
            elif damage == "authorizations":
                influx.authorizations.clear()
            elif damage == "edited":
                secrets |= dict.fromkeys(secrets, "edited")
            for _ in range(3):
                self.reconcile(influx, secrets, steps)
                for component in Component:
                    mine = [one for one in influx.authorizations.values() if f"/{component}/" in one.description]
                    assert len(mine) <= MOST_SPARE + 2
            for _ in range(3):  # retire, wait, revoke
                assert self.reconcile(influx, secrets, 1000)
                influx.at += GRACE
            assert len(influx.authorizations) == len(Component)
            for one in influx.authorizations.values():
                component = next(each for each in Component if f"/{each}/" in one.description)
                assert influx.tokens[one.id] == secrets[component]
                assert one.permissions == rights(component, influx.bucket.id)


def cohort(**storage):
    metadata = {"name": "ward", "namespace": "st-mary"}
    document = {"apiVersion": "holter.dev/v1alpha1", "kind": "MonitoredCohort", "metadata": metadata}
    defaulted, faults = check(document | {"spec": {"storage": storage}})
    assert faults == []
    return parse(defaulted)


def test_what_a_cohort_wants():
    parts = (Component.INGEST, Component.REFIT)
    asked = wanted(cohort(retention="48h"), UID, parts, NOW)
    assert asked == replace(WANTED, retention=2 * DAY, components=frozenset(parts), issued_after=NOW)
    own = wanted(
        cohort(bucket="shared", adopt=True, influxdb={"connectionSecretRef": {"name": "influxdb"}}), UID, parts
    )
    assert (own.bucket, own.adopt, own.own_connection, own.issued_after) == ("shared", True, True, None)
