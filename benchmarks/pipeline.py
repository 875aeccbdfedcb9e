"""Seconds and peak memory of each step of the analysis, on drawn photographs.

Every case runs in a process of its own, as a worker's child does: models loaded, one photograph to warm up,
then the measured ones. Linux only: the peak of a step is the kernel's high-water mark, reset before it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from diagnosis.demo.drawing import CameraKind, FundusSpec, draw_fundus

# Megapixels to (width, height): a small screening camera, a tabletop one, a large sensor.
SIZES = {"0.3": (640, 512), "1.7": (1500, 1152), "12": (4000, 3000)}
MODES = ("classify", "segment_classify")
MIB = 1024


def draw(width: int, height: int) -> bytes:
    """Draw a gradable photograph of a retina on a black frame; returns JPEG bytes."""
    field = Image.fromarray(draw_fundus(FundusSpec(seed=7, camera=CameraKind.HANDHELD)))
    field = field.resize((height, height), Image.Resampling.LANCZOS)
    frame = Image.new("RGB", (width, height))
    frame.paste(field, ((width - height) // 2, 0))
    buffer = BytesIO()
    frame.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


class StepMeter:
    """Keeps seconds and peak resident memory of named steps, one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.peak_mib: dict[str, list[float]] = {}
        self._step: str | None = None
        self._began = 0.0

    def begin(self, step: str) -> None:
        """End the step at work and begin the next."""
        self.end()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._step, self._began = step, time.perf_counter()

    def end(self) -> None:
        """End the step at work, if there is one."""
        if self._step is None:
            return
        self.seconds.setdefault(self._step, []).append(time.perf_counter() - self._began)
        self.peak_mib.setdefault(self._step, []).append(_status_mib("VmHWM"))
        self._step = None


def _status_mib(key: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / MIB


@contextmanager
def _step(meter: StepMeter, name: str) -> Iterator[None]:
    meter.begin(name)
    yield
    meter.end()


def measure(size: str, mode: str, *, repeats: int, threads: int | None) -> dict[str, Any]:
    """Measure one case in this process.

    Args:
        size: A key of ``SIZES``.
        mode: A value of :class:`ml.contracts.Mode`.
        repeats: Measured photographs after the one that warms up.
        threads: Of the numeric libraries; None leaves their choice.

    Returns:
        ``seconds`` (median) and ``peak_mib`` (highest) by step, and ``loaded_mib`` before the first photograph.
    """
    from ml import runtime
    from ml.contracts import Mode
    from ml.pipeline import Pipeline

    if threads:
        runtime.limit_threads(threads)
    jpeg = draw(*SIZES[size])
    meter = StepMeter()
    with _step(meter, "load"):
        pipeline = Pipeline.load()
    loaded = _status_mib("VmRSS")
    _analyse(pipeline, jpeg, Mode(mode), StepMeter())
    for _ in range(repeats):
        _analyse(pipeline, jpeg, Mode(mode), meter)
    return {
        "megapixels": size,
        "mode": mode,
        "loaded_mib": round(loaded),
        "seconds": {step: round(statistics.median(times), 3) for step, times in meter.seconds.items()},
        "peak_mib": {step: round(max(peaks)) for step, peaks in meter.peak_mib.items()},
    }


def _analyse(pipeline: Any, jpeg: bytes, mode: Any, meter: StepMeter) -> None:
    from ml.imaging import io, render

    with _step(meter, "decoding"):
        image = io.load_canonical(jpeg)
    on_step: Callable[[Any], None] = lambda step: meter.begin(step.value)  # noqa: E731
    analysis = pipeline.analyse(image, mode, on_step=on_step)
    with _step(meter, "drawing"):
        # All of them at once, as the portal holds them until they are stored.
        pictures = []
        if analysis.vessel_probability is not None:
            pictures.append(render.vessel_map_png(analysis.vessel_probability))
            pictures.append(render.vessel_overlay_png(image.pixels, analysis.vessel_probability))
        if analysis.heatmap is not None:
            pictures.append(render.heatmap_png(analysis.heatmap))
            pictures.append(render.heatmap_overlay_png(image.pixels, analysis.heatmap))


def table(cases: list[dict[str, Any]]) -> str:
    """Return the cases as a Markdown table: milliseconds / peak MiB by step, then the whole."""
    steps = ["decoding", "checking", "segmenting", "classifying", "explaining", "drawing"]
    head = ["megapixels", "mode", "loaded MiB", *steps, "all ms", "peak MiB"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for case in cases:
        seconds, peaks = case["seconds"], case["peak_mib"]
        cells = [f"{seconds[s] * 1000:.0f} / {peaks[s]}" if s in seconds else "" for s in steps]
        whole = sum(seconds[s] for s in steps if s in seconds)
        peak = max(peaks[s] for s in steps if s in peaks)
        row = [case["megapixels"], case["mode"], case["loaded_mib"], *cells, f"{whole * 1000:.0f}", peak]
        lines.append(f"| {' | '.join(str(cell) for cell in row)} |")
    return "\n".join(lines)


def main() -> int:
    """Run every case and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--megapixels", nargs="+", choices=SIZES, default=list(SIZES), help="default: all")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="default: both")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="measured photographs a case (default: 3)")
    parser.add_argument("--threads", type=int, metavar="N", help="of the numeric libraries (default: their choice)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures as JSON")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.in_this_process:
        case = measure(args.megapixels[0], args.modes[0], repeats=args.repeats, threads=args.threads)
        sys.stdout.write(json.dumps(case))
        return 0
    cases = [_in_child(size, mode, args) for size in args.megapixels for mode in args.modes]
    if args.json:
        args.json.write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(cases) + "\n")
    return 0


def _in_child(size: str, mode: str, args: argparse.Namespace) -> dict[str, Any]:
    words = ["--in-this-process", "--megapixels", size, "--modes", mode, "--repeats", str(args.repeats)]
    words += ["--threads", str(args.threads)] if args.threads else []
    command = [sys.executable, "-m", "benchmarks.pipeline", *words]
    child = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603 - our own interpreter
    if child.returncode:
        raise SystemExit(child.stderr)
    return json.loads(child.stdout)


if __name__ == "__main__":
    sys.exit(main())
