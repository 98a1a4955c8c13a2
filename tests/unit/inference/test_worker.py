"""A worker on a real SQLite store: cycles, crashes, restarts, hot swaps and outages."""

from dataclasses import replace
from itertools import islice

import pytest

from holter.alert import Acknowledgement, Kind, Transition
from holter.chunk import MICROSECONDS, shard_of
from holter.inference.decision import Decision, Limits
from holter.inference.decision.life import Life
from holter.inference.engine import Engine
from holter.inference.live import WARM_TAKEOVER
from holter.inference.outbox import Outbox
from holter.inference.telemetry import Telemetry
from holter.inference.worker import Parts, Worker
from holter.metrics import Metrics
from holter.signal.features import FEATURES, LOOKAHEAD
from holter.sim.ward import ward
from holter.store.protocol import StoreUnavailableError
from holter.store.sqlite import SqliteStore

BASE = 1_790_000_000 * MICROSECONDS
RHYTHMS = ("resting", "vt", "pvcs")


class Ward:
    """Chunks of simulated patients, a store, and workers on it that can be killed."""

    def __init__(self, folder):
        self.now = BASE / MICROSECONDS
        self.store = SqliteStore(folder / "store.db", clock=lambda: round(self.now * MICROSECONDS))
        self.folder = folder
        beds = ward(RHYTHMS, base=BASE, onset=60.0, seed=4)
        self.streams = [bed.patient.chunks(BASE) for bed in beds]
        self.devices = [bed.truth.device_id for bed in beds]
        self.start()

    def start(self, store=None):
        """A worker process begins; what the last one had in memory is gone."""
        self.outbox = Outbox(self.folder / "outbox.db", clock=lambda: self.now)
        self.outbox.configure(["receiver"])
        engine, life = Engine(), Life("n", "c", 60)
        decision = Decision(engine, life, Limits())
        self.metrics = Metrics("c")
        parts = Parts(store or self.store, self.outbox, engine, life, decision, Telemetry(self.metrics))
        self.worker = Worker(parts, range(64), clock=lambda: self.now)
        self.worker.restore()

    def live(self, seconds, cycle=True, lag=0.25):
        """Seconds pass: each patient sends, which arrives `lag` seconds before it is stored, and the worker looks."""
        for _ in range(seconds):
            self.now += 1
            arrived = round((self.now - lag) * MICROSECONDS)
            self.store.write_chunks([replace(next(chunks), arrived=arrived) for chunks in self.streams])
            if cycle:
                self.cycle()

    def cycle(self):
        """What `holter.inference.live` does, in one strand: read the store to its end, judge, do the errands."""
        more = True
        while more:
            before = self.worker.cursor
            page = self.worker.fetch()
            self.worker.judge(page.chunks, page.cursor)
            more = page.cursor != before and page.chunks
        self.worker.errands.run(self.now)
        self.worker.look()

    def fed(self, seconds, stored=True, sweep=5):
        """The same with the feed: judged at once, and read again from the store each `sweep` seconds."""
        waiting = []
        for second in range(seconds):
            self.now += 1
            arrived = round(self.now * MICROSECONDS)
            chunks = [replace(next(chunks), arrived=arrived) for chunks in self.streams]
            self.worker.judge(chunks)
            waiting += chunks
            if stored:
                self.store.write_chunks(chunks)
            if stored and second % sweep == sweep - 1:
                self.cycle()
            else:
                self.worker.look()
        return waiting

    def told(self):
        return self.outbox.recent(0)

    def windows(self):
        scores = self.store.read_windows(0, 10_000, 0)
        return set(zip(scores.device_ids, (scores.ends // MICROSECONDS).tolist(), strict=True))

    def value(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, {"cohort": "c", **labels})


@pytest.fixture
def patients(tmp_path):
    return Ward(tmp_path)


def test_from_store_to_outbox_and_scores(patients):
    patients.live(130)
    raised = {(e.device_id, e.kind) for e in patients.told() if e.event is Transition.RAISED}
    assert (patients.devices[1], Kind.VENTRICULAR_TACHYCARDIA) in raised
    assert (patients.devices[2], Kind.ECTOPY) in raised
    assert not [e for e in patients.told() if e.device_id == patients.devices[0]]
    assert patients.windows() == windows_until(patients, 130)
    assert patients.value("holter_inference_windows_total") == 3 * 24
    assert patients.value("holter_inference_patients") == 3
    assert (
        patients.value("holter_alerts_total", category="physiological", priority="high", kind="ventricular_tachycardia")
        == 1
    )


def delays(patients, path):
    """How often, and how long on average (s), `path` took from sample to decision."""
    name = "holter_sample_to_decision_seconds"
    count = patients.value(f"{name}_count", path=path)
    return count, patients.value(f"{name}_sum", path=path) / count if count else 0.0


def test_from_arrival_to_commit_is_measured_for_each_second_and_each_window(patients, monkeypatch):
    commit = patients.outbox.commit

    def slow(*args):
        patients.now += 0.125
        return commit(*args)

    monkeypatch.setattr(patients.outbox, "commit", slow)
    patients.live(30)
    assert delays(patients, "life_threatening") == (3 * 30, pytest.approx(0.25 + 0.125))
    assert delays(patients, "window") == (3 * 4, pytest.approx(0.25 + 0.125))


def test_what_a_failed_commit_decided_is_measured_when_it_is_decided_again(patients, monkeypatch):
    patients.live(20)
    commit = patients.outbox.commit

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(patients.outbox, "commit", fail)
    with pytest.raises(OSError, match="disk full"):
        patients.live(1)
    assert delays(patients, "life_threatening")[0] == 3 * 20
    monkeypatch.setattr(patients.outbox, "commit", commit)
    patients.start()
    patients.now += 4
    patients.cycle()
    assert delays(patients, "life_threatening") == (3, pytest.approx(4.25))


def test_a_restart_measures_what_it_catches_up_with_and_not_what_it_only_reads_again(patients):
    patients.live(100)
    patients.start()
    patients.cycle()
    assert delays(patients, "life_threatening") == (0, 0)
    patients.live(10, cycle=False)
    patients.start()
    patients.cycle()
    # Ten seconds arrived while it was down, 9.25 to 0.25 s ago.
    assert delays(patients, "life_threatening") == (3 * 10, pytest.approx(4.75))
    assert delays(patients, "window") == (3 * 2, pytest.approx(5.75))
    assert patients.value("holter_inference_windows_total") == 3 * 20


def test_arrivals_that_are_not_known_or_ahead_of_this_clock(patients):
    patients.live(20, lag=-0.5)
    assert delays(patients, "life_threatening") == (3 * 20, 0.0)
    patients.streams = [(replace(c, arrived=0) for c in chunks) for chunks in patients.streams]
    for _ in range(10):
        patients.now += 1
        patients.store.write_chunks([next(chunks) for chunks in patients.streams])
        patients.cycle()
    assert delays(patients, "life_threatening")[0] == 3 * 20
    assert patients.value("holter_inference_windows_total") == 3 * 4


@pytest.mark.parametrize("at", [20, 63, 66, 90, 125])
def test_a_kill_loses_no_window_and_repeats_no_alert(tmp_path, at):
    quiet, killed = Ward(tmp_path / "quiet"), Ward(tmp_path / "killed")
    quiet.live(140)
    killed.live(at)
    killed.outbox.close()
    killed.live(4, cycle=False)  # while it is down
    killed.start()
    killed.live(140 - at - 4)
    assert killed.windows() == quiet.windows()
    once = [(e.device_id, e.kind) for e in killed.told() if e.event is Transition.RAISED]
    assert len(once) == len(set(once))
    assert set(once) == {(e.device_id, e.kind) for e in quiet.told() if e.event is Transition.RAISED}


def test_a_kill_between_decision_and_commit_decides_again(patients, monkeypatch):
    patients.live(60)

    class KilledError(Exception):
        pass

    commit = patients.outbox.commit

    def kill(events, cursor=None):
        if any(e.kind is Kind.VENTRICULAR_TACHYCARDIA for e in events):
            raise KilledError
        return commit(events, cursor)

    monkeypatch.setattr(patients.outbox, "commit", kill)
    with pytest.raises(KilledError):
        patients.live(20)
    assert Kind.VENTRICULAR_TACHYCARDIA not in {e.kind for e in patients.told()}
    patients.start()
    patients.live(20)
    assert [e.event for e in patients.told() if e.kind is Kind.VENTRICULAR_TACHYCARDIA] == [Transition.RAISED]


class Broken:
    """A store whose calls fail as told; fakes what a real one cannot be made to do at will."""

    def __init__(self, store):
        self.store, self.failing = store, set()

    def __getattr__(self, name):
        if name in self.failing:
            raise StoreUnavailableError(f"{name}: refused")
        return getattr(self.store, name)


def test_scores_wait_for_a_store_that_is_away(patients):
    broken = Broken(patients.store)
    patients.start(broken)
    broken.failing = {"write_scores", "write_baselines", "write_strip"}
    patients.live(70)
    assert patients.windows() == set()
    assert any(e.kind is Kind.VENTRICULAR_TACHYCARDIA for e in patients.told())
    broken.failing = set()
    patients.live(1)
    assert len(patients.windows()) == 3 * 12
    assert patients.value("holter_store_errors_total") > 0


def test_a_failed_read_is_made_good(patients):
    broken = Broken(patients.store)
    patients.start(broken)
    patients.live(20)
    broken.failing = {"read_chunks"}
    with pytest.raises(StoreUnavailableError):
        patients.cycle()
    patients.live(10, cycle=False)
    broken.failing = set()
    patients.live(10)
    assert patients.windows() == windows_until(patients, 40)


def test_the_strip_around_an_alert_is_kept(patients):
    patients.live(90)
    event = next(e for e in patients.told() if e.kind is Kind.VENTRICULAR_TACHYCARDIA)
    strip = patients.store.read_strip(event.alert_id)
    assert (strip.chunk.t0, len(strip.chunk.samples), strip.chunk.fs) == (event.onset - 10 * MICROSECONDS, 5000, 250.0)
    around = patients.store.read_span(event.device_id, strip.chunk.t0, strip.chunk.t0 + MICROSECONDS)
    assert (strip.chunk.samples[:250] == around[0].samples).all()


def test_an_acknowledgement_unlatches(patients):
    patients.live(70)
    event = next(e for e in patients.told() if e.kind is Kind.VENTRICULAR_TACHYCARDIA)
    ack = Acknowledgement(event.alert_id, event.device_id, "nurse", "seen", round(patients.now * MICROSECONDS))
    patients.store.write_ack(ack)
    patients.live(3)
    life = patients.worker._parts.life
    assert life.open(event.device_id)[Kind.VENTRICULAR_TACHYCARDIA].acknowledged


def test_silence_is_told_and_ends_with_the_next_chunk(patients):
    patients.live(20)
    for _ in range(12):
        patients.now += 1
        patients.cycle()
    told = [
        (e.event, e.priority) for e in patients.told() if e.kind is Kind.NO_DATA and e.device_id == patients.devices[0]
    ]
    assert told == [(Transition.RAISED, "low"), (Transition.UPDATED, "high")]
    for chunks in patients.streams:
        list(islice(chunks, 12))  # what was never sent
    patients.live(15)
    assert [e.event for e in patients.told() if e.kind is Kind.NO_DATA][-1] is Transition.CLEARED


def test_who_has_been_gone_for_an_hour_is_let_go_of(patients):
    patients.live(20)
    patients.now += 3700
    patients.cycle()
    patients.cycle()
    assert patients.value("holter_inference_patients") == 0


def test_a_model_is_swapped_between_two_windows(patients, tmp_path):
    from holter.config import RefitConfig
    from holter.refit.train import train

    patients.live(70)
    windows = patients.store.read_windows(0, 10_000, 0)
    config = RefitConfig(cohort="c", namespace="n", min_windows=10)
    model = replace(train(windows, FEATURES, config, None, 0).model, revision=7)
    patients.worker.use(model, patients.now)
    patients.live(70)
    scores = patients.store.read_windows(0, 10_000, 0)
    assert patients.windows() == windows_until(patients, 140)
    swapped = BASE + (70 - LOOKAHEAD) * MICROSECONDS
    assert set(scores.revision[scores.ends <= swapped].tolist()) == {0}
    assert set(scores.revision[scores.ends > swapped].tolist()) == {7}
    assert patients.value("holter_model_revision") == 7


def windows_until(patients, last):
    """Of all windows that are judged once the second `last` has been."""
    start = BASE // MICROSECONDS
    return {(d, start + k) for d in patients.devices for k in range(10, last - LOOKAHEAD + 1, 5)}


def test_what_feed_and_store_both_bring_is_judged_once(patients):
    patients.fed(130)
    assert patients.windows() == windows_until(patients, 130)
    assert patients.value("holter_inference_windows_total") == 3 * 24
    assert patients.value("holter_late_chunks_total") == 0
    assert delays(patients, "life_threatening") == (3 * 130, pytest.approx(0.0))
    raised = [(e.device_id, e.kind) for e in patients.told() if e.event is Transition.RAISED]
    assert len(raised) == len(set(raised))
    assert (patients.devices[1], Kind.VENTRICULAR_TACHYCARDIA) in raised


def test_a_backlog_that_the_store_gets_after_an_outage_changes_nothing(patients):
    patients.fed(20)
    backlog = patients.fed(120, stored=False)
    assert Kind.VENTRICULAR_TACHYCARDIA in {e.kind for e in patients.told()}
    told = patients.told()
    for first in range(0, len(backlog), 50):
        patients.store.write_chunks(backlog[first : first + 50])
        patients.cycle()
    patients.fed(20)
    assert patients.told()[: len(told)] == told
    assert patients.windows() == windows_until(patients, 160)
    assert patients.value("holter_inference_windows_total") == 3 * 30
    assert patients.value("holter_late_chunks_total") == 0


def test_a_gap_of_the_feed_is_filled_from_the_store(patients):
    patients.fed(40)
    patients.now += 1
    lost = [replace(next(c), arrived=round(patients.now * MICROSECONDS)) for c in patients.streams]
    patients.store.write_chunks(lost)
    patients.now += 1
    patients.worker.judge([replace(next(c), arrived=round(patients.now * MICROSECONDS)) for c in patients.streams])
    assert patients.worker.waiting
    patients.cycle()
    assert not patients.worker.waiting
    patients.fed(20)
    assert patients.windows() == windows_until(patients, 62)
    assert patients.value("holter_gap_samples_total", reason="missing") == 0


@pytest.mark.parametrize("at", [22, 63, 93])
def test_a_kill_of_a_fed_worker_loses_no_window_and_repeats_no_alert(tmp_path, at):
    quiet, killed = Ward(tmp_path / "quiet"), Ward(tmp_path / "killed")
    quiet.live(140)
    killed.fed(at)
    killed.outbox.close()
    killed.live(4, cycle=False)  # while it is down
    killed.start()
    killed.cycle()
    killed.fed(140 - at - 4)
    killed.cycle()
    assert killed.windows() == quiet.windows()
    once = [(e.device_id, e.kind) for e in killed.told() if e.event is Transition.RAISED]
    assert len(once) == len(set(once))
    assert set(once) == {(e.device_id, e.kind) for e in quiet.told() if e.event is Transition.RAISED}


class Standby(Ward):
    """Another worker on the same store, with an outbox of its own."""

    def __init__(self, ward, folder):
        self.__dict__.update(ward.__dict__)
        self.folder = folder
        self.start()
        self.worker.release(range(64))


@pytest.mark.parametrize("at", [45, 66, 95])
def test_shards_go_to_a_standby_and_back(tmp_path, at):
    quiet, owner = Ward(tmp_path / "quiet"), Ward(tmp_path / "owner")
    quiet.live(170)
    owner.fed(at)
    owner.worker.write_baselines()
    deliver(owner)
    owner.live(5, cycle=False)  # frozen
    standby = Standby(owner, tmp_path / "standby")
    standby.worker.resume(standby.worker.recall(range(64), WARM_TAKEOVER))
    standby.cycle()
    standby.fed(40)
    standby.cycle()
    deliver(standby)
    owner.now = standby.now
    owner.worker.release(range(64))  # it is back, and has been stood in for
    owner.worker.resume(owner.worker.recall(range(64), WARM_TAKEOVER))
    owner.cycle()
    standby.worker.release(range(64))
    assert standby.outbox.open_alerts() == ()
    assert standby.value("holter_inference_patients") == 3
    standby.worker.look()
    owner.fed(170 - at - 45)
    owner.cycle()
    assert owner.windows() == quiet.windows()
    once = {e.id: e for e in (*owner.told(), *standby.told())}
    for events in (owner.told(), standby.told()):
        assert all(once[e.id] == e for e in events), "the same id has the same content"
    raised = [(e.device_id, e.kind) for e in once.values() if e.event is Transition.RAISED]
    assert len(raised) == len(set(raised))
    assert set(raised) == {(e.device_id, e.kind) for e in quiet.told() if e.event is Transition.RAISED}


def deliver(ward):
    """What the sink `store` does."""
    for event in ward.told():
        ward.store.write_alert(event)


def test_a_standby_goes_on_with_the_alerts_it_finds(tmp_path):
    owner = Ward(tmp_path / "owner")
    owner.fed(75)
    deliver(owner)
    standby = Standby(owner, tmp_path / "standby")
    standby.worker.resume(standby.worker.recall(range(64), WARM_TAKEOVER))
    kinds = {e.kind for e in owner.outbox.open_alerts()}
    assert Kind.VENTRICULAR_TACHYCARDIA in kinds
    assert {e.kind for e in standby.outbox.open_alerts()} == kinds
    assert standby.outbox.pending("receiver") == 0, "they have been told already"
    standby.cycle()
    assert standby.outbox.pending("receiver") == 0


def test_an_audit_finds_what_the_feed_has_missed(patients):
    patients.fed(30)
    shard = shard_of(patients.devices[0])
    assert not patients.worker.is_missing(patients.worker.audit(shard))
    for _ in range(12):  # one device's chunks go by
        patients.now += 1
        arrived = round(patients.now * MICROSECONDS)
        chunks = [replace(next(chunks), arrived=arrived) for chunks in patients.streams]
        patients.store.write_chunks(chunks)
        patients.worker.judge([chunk for chunk in chunks if chunk.device_id != patients.devices[0]])
    patients.worker.skip(arrived)
    assert patients.worker.is_missing(patients.worker.audit(shard))
    patients.worker.rewind(60)
    patients.cycle()
    assert not patients.worker.is_missing(patients.worker.audit(shard))
    assert patients.windows() == windows_until(patients, 42)


def test_each_baseline_is_written_once_a_minute(patients):
    patients.fed(20)
    at = {device: set() for device in patients.devices}
    for _ in range(26):
        patients.fed(5)
        for baseline in patients.store.read_baselines(range(64)):
            at[baseline.device_id].add(baseline.at)
    assert {device: len(times) for device, times in at.items()} == dict.fromkeys(patients.devices, 3)


def test_while_two_hold_a_shard_one_speaks_and_the_other_goes_on_from_it(tmp_path):
    owner = Ward(tmp_path / "owner")
    owner.fed(61)  # the rhythm changes within the next seconds
    owner.worker.write_baselines()
    deliver(owner)
    new = Standby(owner, tmp_path / "new")
    new.worker.resume(new.worker.recall(range(64), WARM_TAKEOVER))
    adopted = new.told()
    new.worker.quiet = frozenset(range(64))
    new.cycle()
    for _ in range(25):
        waiting = owner.fed(1)
        new.now = owner.now
        new.worker.judge(waiting)
        new.worker.look()
    deliver(owner)
    kept_back = list(new.worker._unsaid)
    assert {e.kind for e in kept_back} >= {Kind.VENTRICULAR_TACHYCARDIA}
    assert new.told() == adopted
    new.worker.speak(range(64), new.worker.told())
    vt = [e for e in (*owner.told(), *new.told()) if e.kind is Kind.VENTRICULAR_TACHYCARDIA]
    assert len({e.alert_id for e in vt}) == 1, "one alert, whoever tells of it"
    assert [e.alert_id for e in new.outbox.open_alerts() if e.kind is Kind.VENTRICULAR_TACHYCARDIA]
    owner.worker.release(range(64))
    new.fed(10)
    assert len({e.alert_id for e in new.told() if e.kind is Kind.VENTRICULAR_TACHYCARDIA}) == 1


def test_what_was_kept_back_is_said_when_the_other_has_said_nothing(tmp_path):
    patients = Ward(tmp_path)
    patients.worker.quiet = frozenset(range(64))
    patients.fed(90)
    assert patients.told() == ()
    patients.worker.speak(range(64), patients.worker.told())
    assert {e.kind for e in patients.told()} >= {Kind.VENTRICULAR_TACHYCARDIA}


def test_what_is_decided_after_another_has_taken_over_is_not_said(tmp_path):
    patients = Ward(tmp_path)
    patients.fed(55)
    told, cursor = patients.told(), patients.outbox.cursor()
    patients.worker.until = 0.0  # long ago
    patients.fed(40)
    assert patients.told() == told
    assert patients.outbox.cursor() == cursor


def test_a_worker_that_does_not_keep_up_takes_nobody_to_be_silent(patients):
    patients.fed(20)
    waiting = []
    for _ in range(30):  # it gets on with nothing
        patients.now += 1
        arrived = round(patients.now * MICROSECONDS)
        waiting += [replace(next(chunks), arrived=arrived) for chunks in patients.streams]
    for first in range(0, len(waiting), 3):
        patients.worker.judge(waiting[first : first + 3])
        patients.worker.look()
    assert not [e for e in patients.told() if e.kind is Kind.NO_DATA]
    patients.now += 12
    patients.worker.look()
    assert {e.device_id for e in patients.told() if e.kind is Kind.NO_DATA} == set(patients.devices)
