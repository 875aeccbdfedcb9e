"""A worker whose pipeline is replaced by one that is quick, carries a watermark, and dies of poison."""

import os
import random
import time
from collections.abc import Callable

import django

from retina_portal.celery import app

django.setup()

from diagnosis import inference  # noqa: E402 - models may be imported only after django.setup()
from diagnosis.inference import Findings  # noqa: E402

POISON = b"poison"
BUNDLE = [{"name": "soak", "version": "1.0.0", "sha256": "0" * 64}]


def analyse(jpeg: bytes, *, mode: str, on_step: Callable[[str], None]) -> Findings:
    """Return the photograph itself as the picture, so that every mix-up shows."""
    for step in ("checking", "classifying"):
        on_step(step)
        time.sleep(random.uniform(0, 0.05))
    if jpeg.startswith(POISON):
        os._exit(9)
    return Findings(
        outcome="ungradable",
        prediction="",
        probabilities=None,
        image_path=None,
        vessel_path=None,
        agreement=None,
        vessel_features=None,
        quality={"gradable": False, "score": 0.0, "reasons": [mode]},
        models=BUNDLE,
        timings_ms={"total": 0.0},
        pictures={"grad_cam": ("grad_cam.png", "image/png", jpeg)},
    )


inference.analyse = analyse
inference.pipeline = lambda: None

__all__ = ["app"]
