"""The agent's one SQLite file (WAL, synchronous FULL), shared by its processes and by all that it must remember.

Writers take turns by a lock file, because SQLite's own waiting sleeps and is unfair. Only the main process copies the
log back into the file (`checkpoint`), so that a receiving process never does it before an acknowledgement. Whatever
changes state and has to tell of it writes the event to the outbox in the same transaction (`put_event`).
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

from imaging_common.events import Event


class Database:
    """Two connections of one process: one reads, one writes. All methods block.

    Parameters
    ----------
    path
        The SQLite file; the folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._turn = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._write = _connect(path)
        self._read = _connect(path)

    def close(self) -> None:
        """Close the connections."""
        self._write.close()
        self._read.close()
        os.close(self._turn)

    def create(self, schema: str) -> None:
        """Create the tables of a schema file beside this module; what is there already stays."""
        with self._alone():
            self._write.executescript(files("edge_agent.adapters").joinpath(schema).read_text())

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction, durable on leaving; rolled back when the block raises."""
        with self._alone():
            self._write.execute("BEGIN IMMEDIATE")
            try:
                yield self._write
                self.before_commit(self._write)
                self._write.execute("COMMIT")
            except BaseException:
                if self._write.in_transaction:
                    self._write.execute("ROLLBACK")
                raise
            self.after_commit()

    def before_commit(self, db: sqlite3.Connection) -> None:
        """For a journal that keeps a figure up to date."""

    def after_commit(self) -> None:
        """Called within the writing transaction's turn."""

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Read what is committed."""
        with self._reading:
            return self._read.execute(query, values).fetchall()

    def checkpoint(self) -> None:
        """Copy what is committed from the log into the file; waits for nobody."""
        with self._writing:
            self._write.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._writing:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._turn, fcntl.LOCK_UN)


def put_event(db: sqlite3.Connection, topic: str, key: str, event: Event, traceparent: str | None = None) -> None:
    """Write an event to the outbox, in the transaction of the state change it tells."""
    db.execute(
        "INSERT INTO events (event_id, topic, key, type, data, traceparent) VALUES (?, ?, ?, ?, ?, ?)",
        (str(uuid4()), topic, key, event.type_name(), event.model_dump_json(), traceparent),
    )


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection
