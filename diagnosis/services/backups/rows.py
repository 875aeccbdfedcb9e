"""Rows as JSON lines: one list of values for each row, in the order of the table's columns."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from django.apps.registry import Apps
from django.core.management.color import no_style
from django.db import connection, models

PART_ROWS = 1000
# The id of the media folder is the folder's: a copy gets its own. Sessions, lockouts and heartbeats belong to running processes; the echo of the sandbox lives for an hour.
LEFT_OUT = frozenset(
    {"diagnosis.mediainstance", "sessions.session", "diagnosis.workerheartbeat", "diagnosis.webhookecho"}
)
LEFT_OUT_APPS = frozenset({"axes"})


def tables(apps: Apps) -> dict[str, type[models.Model]]:
    """Return the models whose rows a backup holds, many-to-many tables included, by label."""
    found = {
        model._meta.label_lower: model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and model._meta.app_label not in LEFT_OUT_APPS
    }
    return {label: found[label] for label in sorted(found) if label not in LEFT_OUT}


def columns(model: type[models.Model]) -> list[str]:
    """Return the names of the columns in the order in which rows are written."""
    return [field.attname for field in model._meta.concrete_fields]


def lines_of(model: type[models.Model], names: Sequence[str]) -> Iterator[bytes]:
    """Yield each row as one line, by primary key. The same content is the same bytes on every database."""
    rows = model._meta.base_manager.order_by("pk").values_list(*names)
    for row in rows.iterator(chunk_size=PART_ROWS):
        yield json.dumps(row, default=plain, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def plain(value: object) -> str:
    """Return what JSON has no form for as text, without loss."""
    if isinstance(value, datetime | date | time):
        # Django's own encoder cuts microseconds off, and with them the audit trail's hashes.
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    raise TypeError(f"A backup cannot hold a {type(value).__name__}.")


def parts(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines in groups that fit into memory."""
    rest = iter(lines)
    while part := list(islice(rest, PART_ROWS)):
        yield part


def digest_of(model: type[models.Model], names: Sequence[str]) -> tuple[int, str]:
    """Return how many rows a table has and the SHA-256 of their lines."""
    digest, count = hashlib.sha256(), 0
    for line in lines_of(model, names):
        digest.update(line)
        count += 1
    return count, digest.hexdigest()


def insert(model: type[models.Model], names: Sequence[str], lines: Iterable[bytes]) -> None:
    """Store rows as they were, primary keys and moments of creation included.

    Args:
        model: Of a state of the migrations, whose classes belong to the caller.
        names: Columns in the order of the values.
        lines: As ``lines_of`` yields them.
    """
    fields = [next(field for field in model._meta.concrete_fields if field.attname == name) for name in names]
    for field in fields:
        if isinstance(field, models.DateField):
            field.auto_now = field.auto_now_add = False
    objects = []
    for line in lines:
        values = json.loads(line)
        objects.append(model(**{f.attname: f.to_python(v) for f, v in zip(fields, values, strict=True)}))
    model._meta.base_manager.bulk_create(objects, batch_size=PART_ROWS)


def reset_sequences(models_of_tables: Iterable[type[models.Model]]) -> None:
    """Let the next row of each table get a number that is free."""
    statements = connection.ops.sequence_reset_sql(no_style(), list[Any](models_of_tables))
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
