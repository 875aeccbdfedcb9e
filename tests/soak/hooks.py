"""What a soak changes inside the product's processes: the analysis, and places where they can be hit.

The harness leaves *orders*, empty files; a process takes one by removing it, so that each is carried out once.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import django.utils.timezone

from diagnosis import inference, storage
from diagnosis.inference import Findings
from diagnosis.services import janitor
from tests.soak import marks, orders

LONGEST_PAUSE_S = 60
STEPS = ("checking", "segmenting", "classifying", "explaining")

_orders = Path(os.environ.get("SOAK_ORDERS", "/nonexistent"))
ORPHAN_SECONDS = int(os.environ.get("SOAK_ORPHAN_SECONDS", "60"))
_version = int(os.environ.get("SOAK_VERSION", "2"))
_wanted = threading.local()
_real_analyse = inference.analyse
_real_pipeline = inference.pipeline
_real_write = storage.write_durably


def install() -> None:
    """Replace the analysis, watch the writing of photographs, shift the clock."""
    inference.analyse = analyse
    inference.pipeline = pipeline
    # A soak starts many workers and shows few pictures to the networks.
    inference.warm_up = lambda: None
    storage.write_durably = write_durably
    # An hour in the product: a soak has no time for it.
    janitor.quarantine_orphans.__kwdefaults__["older_than"] = timedelta(seconds=ORPHAN_SECONDS)
    shift = float(os.environ.get("SOAK_CLOCK_SHIFT", "0"))
    if shift:
        shift_clock(shift)


def take(order: str) -> bool:
    """Return whether this process has to carry out an order; nobody else has to then."""
    try:
        (_orders / order).unlink()
    except OSError:
        return False
    return True


def shift_clock(seconds: float) -> None:
    """Make Django's clock wrong in this process; that of the database stays right."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return super().now(tz) + timedelta(seconds=seconds)

    django.utils.timezone.datetime = Shifted


def write_durably(relative: str, content: bytes) -> str:
    """Write as the product does; die or linger around the writing of a photograph if ordered to."""
    is_photograph = relative.startswith("images/")
    if is_photograph and take(orders.KILL_BEFORE_WRITE):
        os.kill(os.getpid(), signal.SIGKILL)
    digest = _real_write(relative, content)
    if is_photograph and take(orders.KILL_AFTER_WRITE):
        os.kill(os.getpid(), signal.SIGKILL)
    if is_photograph and take(orders.PAUSE_AFTER_WRITE):
        _wait_to_go_on()
    return digest


def _wait_to_go_on() -> None:
    deadline = time.monotonic() + LONGEST_PAUSE_S
    while time.monotonic() < deadline and not take(orders.GO_ON):
        time.sleep(0.05)


def pipeline() -> Any:
    """Load the networks only for a picture that is meant for them."""
    return _real_pipeline() if getattr(_wanted, "real", False) else None


def analyse(jpeg: bytes, *, mode: str, on_step: Callable[[str], None], **more: Any) -> Findings:
    """Do with a photograph what its mark says, and tell the harness which process does."""
    number = marks.read(jpeg)
    note = _orders / orders.RUNNING / str(os.getpid())
    note.write_text(str(number))
    try:
        return _by_kind(number, jpeg, mode=mode, on_step=on_step, **more)
    finally:
        note.unlink(missing_ok=True)


def _by_kind(number: int, jpeg: bytes, *, mode: str, on_step: Callable[[str], None], **more: Any) -> Findings:
    kind = marks.kind_of(number)
    if kind is marks.Kind.POISON:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    if kind is marks.Kind.REAL:
        _wanted.real = True
        try:
            return _real_analyse(jpeg, mode=mode, on_step=on_step, **more)
        finally:
            _wanted.real = False
    for step in STEPS:
        on_step(step)
        time.sleep(marks.seconds_of_work(number) / len(STEPS))
    return _findings(number, mode=mode)


def _findings(number: int, *, mode: str) -> Findings:
    both = mode == "segment_classify"
    found = marks.probabilities(number)
    path = {"prediction": "DiabeticRetinopathy", "probabilities": found}
    names = marks.ARTIFACTS if both else marks.ARTIFACTS[2:]
    return Findings(
        outcome="finding",
        prediction="DiabeticRetinopathy",
        probabilities=found,
        conditions=None,
        operating_point="balanced",
        image_path=path,
        vessel_path=path if both else None,
        agreement=True if both else None,
        vessel_features=None,
        quality={"gradable": True, "score": 1.0, "reasons": [], "remarks": []},
        models=[{"name": "stub", "version": f"{_version}.0.0", "sha256": "0" * 64}],
        timings_ms={"total": 0.0},
        pictures={
            name: (f"{name}.png", "image/png", marks.artifact(marks.Origin(number, name, _version))) for name in names
        },
    )
