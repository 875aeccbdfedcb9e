"""Generated photographs as further training material, and nothing but training material (mission M8)."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from ml.classification.data import LabelledPhotograph, Split, hidden_name, read_manifest
from ml.errors import BundleError, MLError

MANIFEST_FILE, ORIGIN_FILE = "manifest.csv", "generator.json"
SOURCE, QUALITY = "generated", "synthetic"
COLUMNS = ("file", "class", "source_dataset", "label_quality", "split_group", "fold5")
# Pictures drawn for each one wanted before the generator is given up as a copier.
MOST_DRAWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Oversampling:
    """What :func:`write_generated` did: pictures written, and copies of training photographs left out."""

    written: int
    copies: int


def write_generated(run: Path, *, label: str, count: int, out: Path, seed: int) -> Oversampling:
    """Draw pictures of a class and write them with a manifest; copies of training photographs are left out.

    Args:
        run: Run folder of ``train-dcgan``.
        label: Class; must be the one that the generator learnt.
        count: Pictures to write, at least 1.
        out: Receives the PNG files, ``manifest.csv``, whose rows have no fold, so that no split by
            fold can place them, and ``generator.json``, which tells what the generator has seen.
        seed: The same generator and seed give the same files.

    Raises:
        BundleError: ``run`` holds no finished generator.
        ValueError: The generator learnt another class, or ``count`` is below 1.
        MLError: The generator yields hardly anything but copies.
    """
    if count < 1:
        raise ValueError("At least one picture must be asked for.")
    settings, pictures, check = _load(run, seed=seed)
    if settings["class"] != label:
        raise ValueError(f"The generator learnt the class {settings['class']}, not {label}.")
    folder = out / label
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    copies = 0
    with tqdm(total=count, desc="Drawing", unit="image", disable=None) as bar:
        for picture in pictures:
            if check.is_copy(picture[None])[0]:
                copies += 1
            else:
                name = f"{SOURCE}-{len(rows):05d}"
                Image.fromarray(picture).save(folder / f"{name}.png")
                rows.append(_row(f"{label}/{name}.png", label))
                bar.update()
            if len(rows) == count:
                break
            if len(rows) + copies >= MOST_DRAWS * count:
                raise MLError("The generator copies its training photographs; train it for fewer steps.")
    _write_manifest(out / MANIFEST_FILE, rows)
    origin = {key: settings[key] for key in ("name", "class", "training_groups")} | {"seed": seed}
    (out / ORIGIN_FILE).write_text(json.dumps(origin, indent=1), encoding="utf-8")
    return Oversampling(written=len(rows), copies=copies)


def add_generated(
    photographs: Sequence[LabelledPhotograph], split: Split, folders: Sequence[Path]
) -> tuple[tuple[LabelledPhotograph, ...], Split]:
    """Add generated photographs to the training part of a split, and to no other.

    They are drawn only where the experiment's ``source_share`` names the source ``generated``.

    Args:
        photographs: Rows of the experiment.
        split: Their split.
        folders: Results of :func:`write_generated`.

    Returns:
        All rows, the generated ones last and with absolute paths, and the split of all of them;
        validation and test are as they were.

    Raises:
        ValueError: A generator has seen a patient that this split validates or tests on.
        OSError: A folder holds no generated photographs.
    """
    measured = {hidden_name(photographs[index].group) for index in (*split.validation, *split.test)}
    generated: list[LabelledPhotograph] = []
    for folder in folders:
        origin = json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))
        if measured & set(origin["training_groups"]):
            raise ValueError("A generator learnt from patients that this experiment validates or tests on.")
        rows = read_manifest(folder / MANIFEST_FILE)
        generated += [replace(row, file=str((folder / row.file).resolve())) for row in rows]
    added = np.arange(len(photographs), len(photographs) + len(generated), dtype=np.intp)
    whole = replace(split, training=np.concatenate([split.training, added]))
    return (*photographs, *generated), whole


def _row(file: str, label: str) -> dict[str, str]:
    values = (file, label, SOURCE, QUALITY, file, "")
    return dict(zip(COLUMNS, values, strict=True))


def _write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _load(run: Path, *, seed: int) -> tuple[dict[str, Any], Iterator[NDArray[np.uint8]], Any]:
    """Return the settings of a generator, its pictures without end, and its copy check."""
    from safetensors.torch import load_file

    from ml.generation import dcgan
    from ml.generation.copies import CopyCheck
    from ml.generation.dcgan_training import CHECK_FILE, GENERATOR_FILE, WEIGHTS_FILE

    try:
        settings = json.loads((run / GENERATOR_FILE).read_text(encoding="utf-8"))
        weights = load_file(run / WEIGHTS_FILE)
        with np.load(run / CHECK_FILE) as stored:
            check = CopyCheck(training=stored["training"], threshold=float(stored["threshold"]))
    except OSError as error:
        raise BundleError("The folder holds no trained generator.") from error
    generator = dcgan.build_generator(latent=settings["latent"], width=settings["width"])
    generator.load_state_dict(weights)
    return settings, dcgan.draw(generator, latent=settings["latent"], seed=seed), check
