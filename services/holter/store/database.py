"""A SQLite file shared by several processes and threads: connections, schema, transactions, error classes."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from holter.store.protocol import StoreRefusedError, StoreUnavailableError

BUSY_TIMEOUT = 10.0
"""Seconds that a writer waits for another process's transaction; theirs last milliseconds."""

VERSION = 2
SCHEMA = """
CREATE TABLE chunks (
    arrival   INTEGER PRIMARY KEY AUTOINCREMENT,  -- the cursor: a number is never used twice
    device_id TEXT    NOT NULL,
    t0        INTEGER NOT NULL,                   -- us since the epoch, as all times here
    ends      INTEGER NOT NULL,
    shard     INTEGER NOT NULL,
    arrived   INTEGER NOT NULL,                   -- at ingest, wall clock; 0 when not known
    stored    INTEGER NOT NULL,                   -- wall clock of the store, never falls with arrival
    fs        REAL    NOT NULL,
    seq       INTEGER NOT NULL,
    flags     INTEGER NOT NULL,
    checksum  INTEGER NOT NULL,
    pcm       BLOB    NOT NULL,                   -- int16, little-endian, uV
    UNIQUE (device_id, t0)
);
CREATE INDEX chunks_stored ON chunks (stored);

CREATE TABLE feature_sets (
    id    INTEGER PRIMARY KEY,
    names TEXT NOT NULL UNIQUE                    -- a JSON list
);
CREATE TABLE scores (
    id         INTEGER PRIMARY KEY,               -- apart from the key, so that choosing windows reads the key alone
    device_id  TEXT    NOT NULL,
    ends       INTEGER NOT NULL,
    ordered    REAL, forest REAL, score REAL, quality REAL,
    flagged    INTEGER NOT NULL,
    alerted    INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    feature_set INTEGER NOT NULL REFERENCES feature_sets (id),
    features   BLOB    NOT NULL,                  -- float32, little-endian
    UNIQUE (device_id, ends)
);
CREATE INDEX scores_ends ON scores (ends);

CREATE TABLE alerts (
    id TEXT PRIMARY KEY, alert_id TEXT NOT NULL, event TEXT NOT NULL, device_id TEXT NOT NULL, kind TEXT NOT NULL,
    priority TEXT NOT NULL, onset INTEGER NOT NULL, decided_at INTEGER NOT NULL, reason TEXT NOT NULL,
    score REAL, threshold REAL, model_revision INTEGER NOT NULL
);
CREATE INDEX alerts_decided ON alerts (decided_at);

CREATE TABLE acks (
    alert_id TEXT NOT NULL, device_id TEXT NOT NULL, by_whom TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (at, alert_id, by_whom)
) WITHOUT ROWID;

CREATE TABLE strips (
    alert_id TEXT PRIMARY KEY, device_id TEXT NOT NULL, t0 INTEGER NOT NULL, fs REAL NOT NULL,
    seq INTEGER NOT NULL, flags INTEGER NOT NULL, pcm BLOB NOT NULL
);

CREATE TABLE baselines (
    device_id TEXT PRIMARY KEY, shard INTEGER NOT NULL, at INTEGER NOT NULL, payload BLOB NOT NULL
);
"""

# Primary result codes after which the same statement may succeed later; any other will fail again.
_TRANSIENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_SCHEMA,
}


class Database:
    """Connections to one file. Each transaction has a connection of its own, so threads never share one."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            StoreUnavailableError: it cannot be opened now.
            StoreRefusedError: it is not a Holter database, or one of another schema.
        """
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        # SQLite's own wait for a lock polls and is unfair; within a process writers queue here.
        self._writing = threading.Lock()
        with self._translated("open"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # WAL and shared memory files take their mode from it
            self._set_up()

    @contextmanager
    def read(self, call: str) -> Iterator[sqlite3.Connection]:
        """One snapshot: all statements inside see the same data. `call` is what an error names."""
        with self._translated(call), self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self, call: str) -> Iterator[sqlite3.Connection]:
        """One write transaction: on disk when it ends, undone when it raises."""
        with self._translated(call), self._writing, self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        """Close the file; transactions still running close theirs when they end."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk ends it by itself
                    connection.execute("ROLLBACK")
                raise
        finally:
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreRefusedError(f"{self.path} is closed")
        # A connection is used by one thread at a time, not by one thread only.
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        # Ingest forgets its log once the store has a chunk, so a commit has to survive a power cut: FULL, not NORMAL.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection

    def _set_up(self) -> None:
        connection = self._connect()
        try:
            # Going over to WAL does not wait for other processes that do the same at this moment.
            for attempt in Retrying(
                retry=retry_if_exception(_is_busy),
                stop=stop_after_delay(BUSY_TIMEOUT),
                wait=wait_random(0.01, 0.1),
                reraise=True,
            ):
                with attempt:
                    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreRefusedError(
                    f"{self.path} is on a file system without WAL (a network mount?): use a local disk"
                )
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
            if version not in (0, VERSION):
                raise StoreRefusedError(
                    f"{self.path} has schema {version}, this Holter reads {VERSION}:"
                    " use the Holter that made it or another file"
                )
        finally:
            connection.close()

    @contextmanager
    def _translated(self, call: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            transient = isinstance(error, OSError) or _code(error) in _TRANSIENT
            kind = StoreUnavailableError if transient else StoreRefusedError
            raise kind(f"{call} on {self.path}: {error}") from error


def _code(error: BaseException) -> int:
    """SQLite's primary result code; 0 for an error that is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_busy(error: BaseException) -> bool:
    return _code(error) == sqlite3.SQLITE_BUSY
