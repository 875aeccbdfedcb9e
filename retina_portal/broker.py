"""Embedded message broker: kombu's SQLAlchemy transport over one SQLite file.

The database holds the truth about every job; this queue is only a doorbell, so a message lost
with a killed worker is rung again by the sweeper.
"""

from kombu.transport import TRANSPORT_ALIASES, sqlalchemy

EMBEDDED_SCHEME = "embedded"


class EmbeddedTransport(sqlalchemy.Transport):
    """SQLAlchemy transport that polls often enough for an interactive portal."""

    # Seconds; with the default of 1.0 a job waits 0.4-1.4 s before it starts.
    polling_interval = 0.1


def register() -> None:
    """Make ``embedded+sqlite:///path`` a broker address."""
    TRANSPORT_ALIASES[EMBEDDED_SCHEME] = f"{__name__}:EmbeddedTransport"
