"""Embedded message broker: kombu's SQLAlchemy transport over one SQLite file.

The database holds the truth about every job; this queue is only a doorbell, so a message lost
with a killed worker is rung again by the sweeper.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from kombu.transport import TRANSPORT_ALIASES, sqlalchemy

EMBEDDED_SCHEME = "embedded"


class EmbeddedTransport(sqlalchemy.Transport):
    """SQLAlchemy transport that polls often enough for an interactive portal."""

    # Seconds; with the default of 1.0 a job waits 0.4-1.4 s before it starts.
    polling_interval = 0.1


def register() -> None:
    """Make ``embedded+sqlite:///path`` a broker address."""
    TRANSPORT_ALIASES[EMBEDDED_SCHEME] = f"{__name__}:EmbeddedTransport"


def path_of(broker_url: str) -> Path | None:
    """Return the file of an embedded broker, or None: it is another one, or has no file yet."""
    scheme, _separator, path = broker_url.partition("+sqlite:///")
    return Path(path) if scheme == EMBEDDED_SCHEME and Path(path).is_file() else None


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as broker:
        yield broker


def spent_messages(path: Path) -> int:
    """Return how many messages were handed out: the transport hides them and keeps them for ever."""
    with _opened(path) as broker:
        count: int = broker.execute("SELECT count(*) FROM kombu_message WHERE NOT visible").fetchone()[0]
        return count


def forget_spent_messages(path: Path) -> int:
    """Remove messages that were handed out, and give their room back once it is half of the file.

    Nobody reads them again: what a worker has not finished is in its memory and, for good, in the database.
    """
    with _opened(path) as broker:
        count = broker.execute("DELETE FROM kombu_message WHERE NOT visible").rowcount
        pages = broker.execute("PRAGMA page_count").fetchone()[0]
        free = broker.execute("PRAGMA freelist_count").fetchone()[0]
        if free * 2 > pages:
            broker.execute("VACUUM")
    return count
