"""The durable outbox: what was decided, who still has to be told, and how far the worker has read, in one file.

One transaction records events, queues a delivery of each to every sink and moves the read cursor. So a crash before it
decides again from the same chunks, a crash after it delivers what is queued, and nothing is lost or made twice.

    outbox = Outbox(settings.state / "outbox.db")
    sinks = build(config, store, outbox, settings.webhooks)     # sinks/__init__.py; names them to the outbox
    new = outbox.commit(events, cursor=page.cursor)             # the worker, after each cycle
    await deliver(outbox, sinks, metrics)                       # beside it: sinks/delivery.py

Every call blocks on SQLite: a commit is one fsync (0.5 ms on an SSD, more on a network disk). All are safe from any
thread; the worker commits from a thread, and `deliver` brings its own. A call that cannot be written (disk full)
raises `sqlite3.OperationalError` and has changed nothing.

Bounds. An event is kept for `RETENTION` after its commit and while it is the newest of an open alert. A delivery is
given up when its sink has refused it and `REFUSED_FOR` has passed since the commit, or when `RETENTION` has. Of more
than `limit` events the oldest go first: those delivered, then low, medium and high priority; never the newest event of
an open alert. `prune` applies this and returns the deliveries that it gave up, to be logged and counted.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

import orjson
import structlog

from holter.alert import AlertEvent, Kind, Priority, Transition

RETENTION = 7 * 86_400.0
REFUSED_FOR = 86_400.0
LIMIT = 100_000
"""Events: about 100 MB."""
LONGEST_WAIT = 3600.0
"""A retry that is due later than this was planned before the clock was set back: it is due now."""

_VERSION = 1
_SCHEMA = f"""
CREATE TABLE event (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, alert_id TEXT NOT NULL, rank INTEGER NOT NULL,
  decided_at INTEGER NOT NULL, committed_at REAL NOT NULL, body BLOB NOT NULL);
CREATE INDEX event_decided ON event (decided_at);
CREATE INDEX event_alert ON event (alert_id, seq);
CREATE TABLE open (alert_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE delivery (
  sink TEXT NOT NULL, seq INTEGER NOT NULL REFERENCES event ON DELETE CASCADE, alert_id TEXT NOT NULL,
  rank INTEGER NOT NULL, next_at REAL NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
  refused INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (sink, seq)) WITHOUT ROWID;
CREATE INDEX delivery_alert ON delivery (sink, alert_id, seq);
CREATE INDEX delivery_order ON delivery (sink, rank, next_at, seq);
CREATE INDEX delivery_event ON delivery (seq);
CREATE TABLE sink (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE cursor (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL);
PRAGMA user_version = {_VERSION};
"""
_RANK = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}
_FIND = "SELECT seq, alert_id FROM event WHERE id = ?"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event that one sink has not taken yet.

    Attributes:
        event: what to tell.
        sink: whom, by the sink's name.
        committed_at: when it was decided, wall clock, seconds since the epoch.
        attempts: how often it was tried.
    """

    event: AlertEvent
    sink: str
    committed_at: float
    attempts: int


class Outbox:
    """See the module. A file that is damaged or of another version is set aside and a new one begun: alarms go on.

    Args:
        path: the database's file; its folder is made. Its sinks are those of the last `configure`.
        clock: wall clock, seconds since the epoch.
        limit: the most events kept.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, limit: int = LIMIT) -> None:
        self._clock = clock
        self._limit = limit
        self._lock = RLock()
        self._listeners: list[Callable[[], None]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(path)
        except _UnreadableError as fault:
            aside = path.with_name(f"{path.name}.unreadable-{int(clock())}")
            for suffix in ("", "-wal", "-shm"):
                file = path.with_name(path.name + suffix)
                if file.exists():
                    file.rename(aside.with_name(aside.name + suffix))
            _log.error("outbox_set_aside", file=str(path), kept_as=str(aside), reason=str(fault))
            self._db = _open(path)
        self.configure([name for (name,) in self._rows("SELECT name FROM sink")])

    def configure(self, sinks: Sequence[str]) -> None:
        """Set the sinks that get every event from now on; all that waits is due at once.

        What was queued for a sink no longer named is dropped.
        """
        names = sorted(set(sinks))
        with self._transaction() as db:
            db.execute("DELETE FROM sink")
            db.executemany("INSERT INTO sink VALUES (?)", [(name,) for name in names])
            dropped = db.execute("DELETE FROM delivery WHERE sink NOT IN (SELECT name FROM sink)")
            db.execute("UPDATE delivery SET next_at = 0 WHERE next_at > 0")
            self._sinks = names
        if dropped.rowcount:
            _log.warning("deliveries_dropped", reason="their sink is no longer configured", deliveries=dropped.rowcount)

    @contextmanager
    def listening(self, callback: Callable[[], None]) -> Iterator[None]:
        """Meanwhile call `callback` after each commit of something new, in the thread that committed."""
        self._listeners.append(callback)
        try:
            yield
        finally:
            self._listeners.remove(callback)

    def commit(self, events: Iterable[AlertEvent], cursor: int | None = None) -> tuple[AlertEvent, ...]:
        """Record events in their order, queue their deliveries and move the cursor, all or nothing, fsynced.

        An id that is already recorded is left as it is, whatever its content. `cursor=None` leaves the cursor.

        Returns:
            The events that were new.
        """
        with self._transaction() as db:
            new = tuple(event for event in events if self._record(db, event, self._sinks))
            if cursor is not None:
                db.execute("INSERT OR REPLACE INTO cursor VALUES (1, ?)", (cursor,))
        if new:
            for callback in tuple(self._listeners):
                callback()
        return new

    def _record(self, db: sqlite3.Connection, event: AlertEvent, sinks: Sequence[str]) -> bool:
        body, rank = orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY), _RANK[event.priority]
        inserted = db.execute(
            "INSERT OR IGNORE INTO event (id, alert_id, rank, decided_at, committed_at, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (event.id, event.alert_id, rank, int(event.decided_at), self._clock(), body),
        )
        if not inserted.rowcount:
            ((kept,),) = db.execute("SELECT body FROM event WHERE id = ?", (event.id,))
            if kept != body:
                _log.warning("alert_event_differs", event_id=event.id, device_id=event.device_id, kept="the first")
            return False
        seq = inserted.lastrowid
        if event.event == Transition.CLEARED:
            db.execute("DELETE FROM open WHERE alert_id = ?", (event.alert_id,))
        else:
            db.execute("INSERT OR REPLACE INTO open VALUES (?, ?)", (event.alert_id, seq))
        db.executemany(
            "INSERT INTO delivery (sink, seq, alert_id, rank) VALUES (?, ?, ?, ?)",
            [(sink, seq, event.alert_id, rank) for sink in sinks],
        )
        return True

    def adopt(self, events: Iterable[AlertEvent]) -> None:
        """Keep the newest events of alerts that another worker has told of: they are this one's to go on with."""
        with self._transaction() as db:
            for event in events:
                self._record(db, event, sinks=())

    def release(self, device_ids: Iterable[str]) -> None:
        """Another worker goes on with these devices' alerts: they are no longer open here. Deliveries go on."""
        leaving = frozenset(device_ids)
        with self._transaction() as db:
            for event in self.open_alerts():
                if event.device_id in leaving:
                    db.execute("DELETE FROM open WHERE alert_id = ?", (event.alert_id,))

    def cursor(self) -> int | None:
        """The cursor of the last commit that moved it, None before the first."""
        rows = self._rows("SELECT value FROM cursor")
        return rows[0][0] if rows else None

    def open_alerts(self) -> tuple[AlertEvent, ...]:
        """The newest event of each alert that is not cleared, in the order of their commits."""
        return _events(self._rows("SELECT body FROM event JOIN open USING (seq) ORDER BY seq"))

    def recent(self, since: int) -> tuple[AlertEvent, ...]:
        """Events decided at or after `since` (event time, µs), in the order of their commits."""
        return _events(self._rows("SELECT body FROM event WHERE decided_at >= ? ORDER BY seq", since))

    def history(self, alert_id: str) -> tuple[AlertEvent, ...]:
        """What is kept of one alert's life, in the order of the commits."""
        return _events(self._rows("SELECT body FROM event WHERE alert_id = ? ORDER BY seq", alert_id))

    def due(self, sink: str, now: float, limit: int) -> tuple[Delivery, ...]:
        """Deliveries that may be tried now, high priority first, then the longest due.

        An event waits until its sink has taken the earlier ones of its alert; one that the sink refused holds up none.
        """
        rows = self._rows(
            "SELECT body, committed_at, attempts FROM delivery d JOIN event USING (seq)"
            " WHERE sink = ? AND (next_at <= ? OR next_at > ?) AND NOT EXISTS (SELECT 1 FROM delivery e"
            "  WHERE e.sink = d.sink AND e.alert_id = d.alert_id AND e.seq < d.seq AND NOT e.refused)"
            " ORDER BY d.rank, next_at, seq LIMIT ?",
            *(sink, now, now + LONGEST_WAIT, limit),
        )
        return tuple(Delivery(_event(body), sink, committed_at, attempts) for body, committed_at, attempts in rows)

    def pending(self, sink: str) -> int:
        """How many deliveries the sink has yet to take."""
        return int(self._rows("SELECT count(*) FROM delivery WHERE sink = ?", sink)[0][0])

    def delivered(self, id: str, sink: str) -> tuple[Delivery, ...]:  # noqa: A002
        """The sink has taken an event.

        Returns:
            Earlier events of the same alert that it had refused: given up now, for they would come out of order.
        """
        with self._transaction() as db:
            for seq, alert_id in db.execute(_FIND, (id,)).fetchall():
                db.execute("DELETE FROM delivery WHERE sink = ? AND seq = ?", (sink, seq))
                return self._give_up(db, "sink = ? AND d.alert_id = ? AND d.seq < ?", sink, alert_id, seq)
        return ()

    def failed(self, id: str, sink: str, next_at: float, *, refused: bool = False) -> None:  # noqa: A002
        """The sink did not take an event; try again at `next_at` (wall clock, s).

        Args:
            id: of the event.
            sink: by name.
            next_at: wall clock, seconds since the epoch, at most `LONGEST_WAIT` ahead.
            refused: it said that it never will (see Bounds above).
        """
        with self._transaction() as db:
            db.execute(
                "UPDATE delivery SET next_at = ?, attempts = attempts + 1, refused = ?"
                " WHERE sink = ? AND seq = (SELECT seq FROM event WHERE id = ?)",
                (next_at, refused, sink, id),
            )

    def prune(self, now: float) -> tuple[Delivery, ...]:
        """Forget what is beyond the bounds above; `now` is wall clock, seconds.

        Returns:
            The deliveries that were given up.
        """
        with self._transaction() as db:
            given_up = self._give_up(
                db, "committed_at < ? OR refused AND committed_at < ?", now - RETENTION, now - REFUSED_FOR
            )
            db.execute(
                "DELETE FROM event WHERE committed_at < ? AND seq NOT IN (SELECT seq FROM open)", (now - RETENTION,)
            )
            excess = db.execute("SELECT count(*) FROM event").fetchone()[0] - self._limit
            if excess > 0:
                # Chosen once, before deliveries are given up: that would change the order.
                chosen = db.execute(
                    "SELECT seq FROM event e WHERE seq NOT IN (SELECT seq FROM open) ORDER BY"
                    " CASE WHEN EXISTS (SELECT 1 FROM delivery p WHERE p.seq = e.seq) THEN rank ELSE 3 END DESC, seq"
                    " LIMIT ?",
                    (excess,),
                ).fetchall()
                for (seq,) in chosen:
                    given_up += self._give_up(db, "d.seq = ?", seq)
                    db.execute("DELETE FROM event WHERE seq = ?", (seq,))
        return given_up

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @staticmethod
    def _give_up(db: sqlite3.Connection, condition: str, *values: object) -> tuple[Delivery, ...]:
        rows = db.execute(
            "SELECT sink, d.seq, body, committed_at, attempts FROM delivery d JOIN event USING (seq)"  # noqa: S608
            f" WHERE {condition} ORDER BY d.seq, sink",
            values,
        ).fetchall()
        db.executemany("DELETE FROM delivery WHERE sink = ? AND seq = ?", [row[:2] for row in rows])
        return tuple(Delivery(_event(body), sink, at, attempts) for sink, _, body, at, attempts in rows)

    def _rows(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock:
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


class _UnreadableError(Exception):
    pass


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        # FULL: a commit is on disk before anybody is told, so no id is ever made again with another content.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            db.execute(f"PRAGMA {pragma}")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
            db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        elif version != _VERSION:
            raise _UnreadableError(f"its version is {version}; {_VERSION} is expected")
        elif (fault := db.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
            raise _UnreadableError(fault)
    except _UnreadableError:
        db.close()
        raise
    except sqlite3.DatabaseError as error:
        db.close()
        if isinstance(error, sqlite3.OperationalError):  # locked, full, not permitted: the file itself may be sound
            raise
        raise _UnreadableError(str(error)) from error
    return db


def _event(body: bytes) -> AlertEvent:
    fields = orjson.loads(body)
    enums = {"event": Transition(fields["event"]), "kind": Kind(fields["kind"])}
    return AlertEvent(**{**fields, **enums, "priority": Priority(fields["priority"])})


def _events(rows: list[tuple]) -> tuple[AlertEvent, ...]:  # type: ignore[type-arg]
    return tuple(_event(body) for (body,) in rows)
