"""``diagnose``: the whole pipeline on files and folders, without the web application."""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ml import runtime
from ml.commands import _common
from ml.contracts import Analysis, FundusImage, Mode, Prediction
from ml.errors import MLError, UnreadableImageError
from ml.imaging import io, render

if TYPE_CHECKING:
    from ml.pipeline import Pipeline

HELP = "analyse photographs: vessel map, class probabilities, Grad-CAM, quality"

NOTICE = "Decision support, not a medical device. A clinician decides."
# What is picked up from a folder; a file that is named itself is always tried.
PHOTOGRAPH_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".dcm", ".dicom", ".dic", ".ima"})
_MODES = {mode.value.replace("_", "-"): mode for mode in Mode}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add images, mode and output folder."""
    parser.epilog = "The exit status is 0 when at least one photograph was analysed, and 1 when none was."
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG, PNG or DICOM file, or a folder")
    parser.add_argument("--mode", choices=sorted(_MODES), default="segment-classify", help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a folder of results per image here")


def run(args: argparse.Namespace) -> int:
    """Analyse each image; a bad one is reported in its own result and does not stop the rest."""
    from ml.pipeline import Pipeline

    runtime.seed_everything(args.seed)
    mode = _MODES[args.mode]
    files = [file for image in args.images for file in _files_of(image)]
    pipeline = Pipeline.load()
    results = []
    # disable=None: no bar where nobody watches.
    for file, folder in tqdm(_with_folders(files, args.out), total=len(files), unit="image", disable=None):
        result = diagnose_file(pipeline, file, mode=mode, folder=folder)
        results.append(result)
        _report(result)
    _common.write_json(results, args.json)
    return 0 if any(result["status"] == "succeeded" for result in results) else 1


def diagnose_file(pipeline: "Pipeline", file: Path, *, mode: Mode, folder: Path | None) -> dict[str, Any]:
    """Analyse one file and write its folder of results.

    Args:
        pipeline: Loaded models.
        file: Photograph.
        mode: What to run.
        folder: Where pictures and ``result.json`` go; created; None to write nothing.

    Returns:
        The result as in the REST contract, without ids and links; ``status`` is ``failed`` and
        ``error`` is set when the file cannot be read as a photograph.
    """
    try:
        data = _read(file)
        image = io.read_photograph(data, file_name=file.name)
        analysis = pipeline.analyse(image, mode)
    except MLError as error:
        result = _failure(file, mode, error)
    else:
        source = {"sha256": image.sha256, "source_sha256": hashlib.sha256(data).hexdigest()}
        result = {**_success(file, mode, image, analysis), "image": source}
        result["artifacts"] = _write_pictures(image, analysis, folder)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        _common.write_json(result, str(folder / "result.json"))
    return result


def _files_of(image: Path) -> list[Path]:
    if not image.is_dir():
        return [image]
    return sorted(path for path in image.rglob("*") if path.suffix.lower() in PHOTOGRAPH_SUFFIXES and path.is_file())


def _with_folders(files: list[Path], out: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """Pair each file with its folder ``<stem>``; equal stems get ``-2``, ``-3`` … in order."""
    taken: set[str] = set()
    for file in files:
        name, number = file.stem, 1
        while name in taken:
            number += 1
            name = f"{file.stem}-{number}"
        taken.add(name)
        yield file, None if out is None else out / name


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(io.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableImageError("The file cannot be opened.", code="file_missing") from error


def _failure(file: Path, mode: Mode, error: MLError) -> dict[str, Any]:
    return {
        **_body(file, mode),
        "status": "failed",
        "error": {"code": error.code, "detail": error.message},
    }


def _success(file: Path, mode: Mode, image: FundusImage, analysis: Analysis) -> dict[str, Any]:
    return {
        **_body(file, mode),
        "status": "succeeded",
        "laterality": image.dicom.laterality if image.dicom else None,
        "outcome": analysis.outcome.value,
        "prediction": analysis.named,
        "probabilities": analysis.prediction.probabilities if analysis.prediction else None,
        "conditions": [asdict(each) for each in analysis.conditions] or None,
        "operating_point": analysis.operating_point or None,
        "paths": {"image": _path(analysis.image_path), "vessel": _path(analysis.vessel_path)},
        "agreement": analysis.agreement,
        "vessel_features": analysis.vessel_features.to_dict() if analysis.vessel_features else None,
        "quality": {
            "gradable": analysis.quality.gradable,
            "score": round(analysis.quality.score, 4),
            "reasons": list(analysis.quality.reasons),
            "remarks": list(analysis.quality.remarks),
        },
        "models": [{"name": model.name, "version": model.version, "sha256": model.sha256} for model in analysis.models],
        "timings_ms": {step: round(spent, 1) for step, spent in analysis.timings_ms.items()},
    }


def _body(file: Path, mode: Mode) -> dict[str, Any]:
    """Return the contract's keys with the values they have before a success."""
    return {
        "file": file.name,
        "mode": mode.value,
        "status": "",
        "laterality": None,
        "outcome": None,
        "prediction": None,
        "probabilities": None,
        "conditions": None,
        "operating_point": None,
        "paths": {"image": None, "vessel": None},
        "agreement": None,
        "vessel_features": None,
        "quality": None,
        "artifacts": None,
        "models": [],
        "timings_ms": None,
        "report_status": "preliminary",
        "error": None,
        "notice": NOTICE,
    }


def _path(prediction: Prediction | None) -> dict[str, Any] | None:
    if prediction is None:
        return None
    return {"prediction": prediction.label, "probabilities": prediction.probabilities}


def _write_pictures(image: FundusImage, analysis: Analysis, folder: Path | None) -> dict[str, str] | None:
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"photograph.jpg": image.jpeg}
    if analysis.vessel_probability is not None and analysis.vessel_mask is not None:
        pictures["vessel_map.png"] = render.vessel_map_png(analysis.vessel_probability)
        pictures["vessel_mask.png"] = render.vessel_mask_png(analysis.vessel_mask)
        pictures["vessel_overlay.png"] = render.vessel_overlay_png(image.pixels, analysis.vessel_probability)
    if analysis.heatmap is not None:
        pictures["grad_cam.png"] = render.heatmap_png(analysis.heatmap)
        pictures["grad_cam_overlay.png"] = render.heatmap_overlay_png(image.pixels, analysis.heatmap)
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    return {Path(name).stem: name for name in pictures}


def _report(result: dict[str, Any]) -> None:
    verdict = result["error"]["code"] if result["error"] else result["prediction"] or result["outcome"]
    tqdm.write(f"{result['file']}: {verdict}", file=sys.stderr)
