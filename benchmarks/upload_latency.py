"""``python -m benchmarks.upload_latency``: how long an upload takes to be accepted, one after the other."""

import argparse
import os
import statistics
import tempfile
import time
import urllib.request
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.pipeline import draw
from tests.flows.stack import Stack, make_stack

CLINIC = "Benchmark clinic"
WARM_UP = 3
# Two megapixels.
SIZE = (1632, 1224)


def photographs_of(count: int) -> list[bytes]:
    """Return photographs that differ, so that each is stored anew."""
    pixels = np.array(Image.open(BytesIO(draw(*SIZE))))
    made = []
    for number in range(count):
        pixels[:16, :16] = 8 * (number % 32)
        pixels[16:32, :16] = 8 * (number // 32)
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
        made.append(buffer.getvalue())
    return made


def main() -> None:
    """Start a portal without workers, send it photographs, print milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="photographs that are measured, after a few to warm up")
    options = parser.parse_args()
    photographs = photographs_of(options.count + WARM_UP)
    with tempfile.TemporaryDirectory() as directory:
        stack = make_stack("embedded", Path(directory))
        try:
            stack.start("--web-only")
            measure(stack, photographs)
        finally:
            stack.stop()


def measure(stack: Stack, photographs: list[bytes]) -> None:
    """Send all photographs, and as many requests that touch nothing, and print both."""
    patient = stack.register(CLINIC)
    for photograph in photographs[:WARM_UP]:
        stack.submit(CLINIC, patient=patient, image=photograph, endpoint="classify")
    uploads, probes = [], []
    for photograph in photographs[WARM_UP:]:
        began = time.perf_counter()
        stack.submit(CLINIC, patient=patient, image=photograph, endpoint="classify")
        uploads.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        with urllib.request.urlopen(stack.address + "healthz", timeout=60):  # noqa: S310 - our own http address
            probes.append(1000 * (time.perf_counter() - began))
    size = statistics.median(len(photograph) for photograph in photographs) / 1e6
    print(f"{len(uploads)} JPEG files of {size:.1f} MB; load average {os.getloadavg()[0]:.1f}")
    for name, values in (("upload", uploads), ("/healthz", probes)):
        print(f"{name}: median {statistics.median(values):.0f} ms, {min(values):.0f} - {max(values):.0f} ms")


if __name__ == "__main__":
    main()
