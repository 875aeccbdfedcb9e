"""A look into the portal's database from outside, to aim by."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg2

from tests.soak import marks

_RUNNING = "SELECT external_id, attempt FROM diagnosis_diagnosis WHERE status = 'running'"


class Watch:
    """Says which jobs run now.

    Args:
        source: Address of PostgreSQL, or the file of SQLite.
    """

    def __init__(self, source: str | Path) -> None:
        self._source = source

    def running(self) -> dict[int, int]:
        """Return mark and attempt of each running job; nothing while the database is away."""
        try:
            rows = self._rows()
        except (psycopg2.Error, sqlite3.Error):
            return {}
        numbers = ((marks.number_named(name), attempt) for name, attempt in rows)
        return {number: attempt for number, attempt in numbers if number is not None}

    def _rows(self) -> list[tuple[str, int]]:
        if isinstance(self._source, Path):
            with closing(sqlite3.connect(f"file:{self._source}?mode=ro", uri=True, timeout=1)) as connection:
                return connection.execute(_RUNNING).fetchall()
        # A connection of its own for each look: one that is kept would not notice that the server died.
        with closing(psycopg2.connect(self._source, connect_timeout=2)) as connection, connection.cursor() as cursor:
            cursor.execute(_RUNNING)
            return cursor.fetchall()
