"""The sample files of a sandbox: written once by the demo, read by the portal's pages."""

import os
import tempfile
from pathlib import Path

from django.conf import settings

from diagnosis.demo.samples import SAMPLES, Sample, make


def find(slug: str) -> Sample | None:
    """Return the sample of this name."""
    return next((sample for sample in SAMPLES if sample.slug == slug), None)


def write_missing() -> int:
    """Make the samples that are not there yet, and return how many those were."""
    settings.SANDBOX_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    missing = [sample for sample in SAMPLES if not _path(sample).is_file()]
    for sample in missing:
        # Under its own name only when it is complete: a page may look at the same moment.
        with tempfile.NamedTemporaryFile(dir=settings.SANDBOX_DIR, delete=False) as file:
            file.write(make(sample))
        os.replace(file.name, _path(sample))  # noqa: PTH105 - says that the target is replaced
    return len(missing)


def available() -> list[Sample]:
    """Return the samples that can be read."""
    return [sample for sample in SAMPLES if _path(sample).is_file()]


def read(sample: Sample) -> bytes:
    """Return a sample's bytes.

    Raises:
        FileNotFoundError: The demo has not made it.
    """
    return _path(sample).read_bytes()


def _path(sample: Sample) -> Path:
    return Path(settings.SANDBOX_DIR) / sample.file_name
