"""Train the super-resolution network, and measure it against bicubic interpolation on unseen patients."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from tqdm import tqdm

from ml.classification.data import LabelledPhotograph, load_pixels, read_manifest, split_by_fold
from ml.contracts import FieldOfView
from ml.generation.bootstrap import mean_with_interval
from ml.generation.superresolution import (
    MODEL_FILE,
    SCALE,
    Enlarger,
    build_network,
    enlarge_bicubically,
    shrink,
)

CONFIG_FILE, CHECKPOINT_FILE = "config.json", "checkpoint.keras"
HISTORY_FILE, METRICS_FILE, SAMPLES_FILE = "history.json", "metrics.json", "samples.png"
PANEL_ROWS, PANEL_SIDE = 4, 192


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperResolutionConfig:
    """One experiment, as read from a file in ``ml/configs``.

    Attributes:
        name: Name of the experiment.
        seed: Of the photographs and patches drawn, and of the first weights.
        sources: Data sets that are learnt from and measured on.
        test_folds: Patients held out; the figures are theirs.
        training_photographs: Most photographs to learn from; they lie in memory at full size.
        test_photographs: Most photographs to measure on.
        width: Channels of the network.
        blocks: Residual blocks of the network.
        patch: Side of the patches the network shall yield; a multiple of 4.
        steps: Batches.
        batch_size: Patches per batch.
        learning_rate: First rate; falls to 0 along a cosine.
        checkpoint_every: Batches between two checkpoints.
    """

    name: str
    seed: int
    sources: tuple[str, ...]
    test_folds: tuple[int, ...]
    training_photographs: int = 1000
    test_photographs: int = 300
    width: int = 24
    blocks: int = 2
    patch: int = 64
    steps: int = 3000
    batch_size: int = 16
    learning_rate: float = 1e-3
    checkpoint_every: int = 200


def read_config(path: Path) -> SuperResolutionConfig:
    """Read an experiment.

    Raises:
        TypeError: A key is unknown or a required one is missing.
        ValueError: ``patch`` is no multiple of 4.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    lists = {key: tuple(content.get(key, ())) for key in ("sources", "test_folds")}
    config = SuperResolutionConfig(**{**content, **lists})
    if config.patch % 4:
        raise ValueError("The side of a patch must be a multiple of 4.")
    return config


def train(
    config: SuperResolutionConfig, *, manifest: Path, root: Path, out: Path, resume: bool = False
) -> dict[str, Any]:
    """Train and measure.

    Args:
        config: The experiment.
        manifest: Labelled photographs with folds; the labels are not looked at.
        root: Directory the files are relative to.
        out: Run folder: configuration, history, checkpoint, network, metrics, ``samples.png``. The
            samples show patients' photographs.
        resume: Continue from the checkpoint in ``out`` when there is one; the result is that of a
            run that was not interrupted.

    Returns:
        The metrics, as in the run folder's ``metrics.json``; see :func:`measure`.

    Raises:
        ValueError: A part of the split has no photograph.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG_FILE).write_text(json.dumps(asdict(config), indent=1), encoding="utf-8")
    training, test = choose_photographs(read_manifest(manifest), config)
    network = _network(config, out / CHECKPOINT_FILE, resume=resume)
    pictures = [_cut(photograph, root)[0] for photograph in tqdm(training, desc="Reading", unit="image", disable=None)]
    _fit(network, pictures, config, out=out)
    network.save(out / MODEL_FILE)
    metrics = measure(Enlarger(network), test, root, seed=config.seed, samples=out / SAMPLES_FILE)
    metrics["training_photographs"] = len(training)
    metrics["parameters"] = int(network.count_params())
    (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    return metrics


def choose_photographs(
    photographs: Sequence[LabelledPhotograph], config: SuperResolutionConfig
) -> tuple[list[LabelledPhotograph], list[LabelledPhotograph]]:
    """Return the photographs to learn from and those to measure on; no patient is in both.

    Raises:
        ValueError: One of the two is empty.
    """
    usable = [row for row in photographs if row.source in config.sources and row.fold is not None]
    split = split_by_fold(usable, test_folds=config.test_folds, validation_folds=())
    rng = np.random.default_rng(config.seed)
    chosen = []
    for indices, most in ((split.training, config.training_photographs), (split.test, config.test_photographs)):
        if not indices.size:
            raise ValueError("The manifest leaves no photographs to learn from, or none to measure on.")
        drawn = rng.permutation(indices)[:most]
        chosen.append([usable[index] for index in np.sort(drawn)])
    return chosen[0], chosen[1]


def patches(
    pictures: Sequence[NDArray[np.uint8]], config: SuperResolutionConfig, step: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut the batch of one step; the same seed and step give the same batch.

    Args:
        pictures: (H, W, 3) uint8 RGB each, both sides at least ``config.patch``.
        config: The experiment.
        step: Number of the batch.

    Returns:
        Reduced patches (n, patch / 2, patch / 2, 3), 0-255, and what bicubic interpolation of them lacks
        (n, patch, patch, 3), -255 to 255; both float32.
    """
    rng = np.random.default_rng([config.seed, step])
    side = config.patch
    targets = np.empty((config.batch_size, side, side, 3), dtype=np.uint8)
    for target in targets:
        picture = pictures[int(rng.integers(len(pictures)))]
        top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
        patch = np.rot90(picture[top : top + side, left : left + side], int(rng.integers(4)))
        target[:] = patch[:, ::-1] if rng.random() < 0.5 else patch
    reduced = np.stack([shrink(target) for target in targets])
    lacking = targets.astype(np.float32) - np.stack([enlarge_bicubically(patch) for patch in reduced])
    return reduced.astype(np.float32), lacking


def measure(
    enlarger: Enlarger,
    photographs: Sequence[LabelledPhotograph],
    root: Path,
    *,
    seed: int,
    samples: Path | None = None,
) -> dict[str, Any]:
    """Halve photographs, enlarge them again by network and by bicubic interpolation, compare with the originals.

    Args:
        enlarger: Network.
        photographs: Photographs of patients that it was not trained on.
        root: Directory the files are relative to.
        seed: Seed of the intervals, which resample patients.
        samples: Receives a panel of the first few: reduced, bicubic, network, original.

    Returns:
        ``n``, and for ``psnr`` (dB, RGB) and ``ssim`` (of the luminance), both inside the field of
        view: ``network``, ``bicubic`` and ``gain``, each with ``mean`` and ``ci95``.
    """
    scores: list[tuple[float, float, float, float]] = []
    panel: list[NDArray[np.uint8]] = []
    for photograph in tqdm(photographs, desc="Measuring", unit="image", disable=None):
        original, fov = _cut(photograph, root)
        reduced = shrink(original)
        by_network, by_bicubic = enlarger.enlarge(reduced), enlarge_bicubically(reduced)
        by_pair = [similarity(picture, original, fov.mask) for picture in (by_network, by_bicubic)]
        scores.append((*by_pair[0], *by_pair[1]))
        if len(panel) < PANEL_ROWS:
            blocks = reduced.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
            panel.append(_panel_row([blocks, by_bicubic, by_network, original]))
    if samples is not None:
        Image.fromarray(np.concatenate(panel)).save(samples)
    columns = np.asarray(scores).T
    groups = np.asarray([photograph.group for photograph in photographs])
    result: dict[str, Any] = {"n": len(scores), "patient_groups": int(np.unique(groups).size)}
    for name, network, bicubic in (("psnr", columns[0], columns[2]), ("ssim", columns[1], columns[3])):
        parts = {"network": network, "bicubic": bicubic, "gain": network - bicubic}
        result[name] = {part: mean_with_interval(values, groups, seed=seed) for part, values in parts.items()}
    return result


def similarity(picture: NDArray[np.uint8], original: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Compare a picture with its original inside the field of view.

    Args:
        picture: (H, W, 3) uint8 RGB, at least 7 pixels a side.
        original: Of the same shape.
        mask: (H, W), True inside the field of view; not empty.

    Returns:
        Peak signal-to-noise ratio in dB, 100 at most, and mean structural similarity
        (Wang et al., IEEE Trans. Image Process. 2004;13:600) of the luminance, -1 to 1.
    """
    errors = (picture[mask].astype(np.float64) - original[mask]) ** 2
    psnr = float(min(100.0, 10 * np.log10(255**2 / max(errors.mean(), 1e-9))))
    _, similar = structural_similarity(rgb2gray(picture), rgb2gray(original), data_range=1.0, full=True)
    return psnr, float(similar[mask].mean())


def _cut(photograph: LabelledPhotograph, root: Path) -> tuple[NDArray[np.uint8], FieldOfView]:
    """Return the box around the field of view, both sides cut to a multiple of 4, and its mask."""
    pixels, fov, _ = load_pixels(photograph, root)
    box = fov.box
    height, width = box.height - box.height % 4, box.width - box.width % 4
    region = slice(box.top, box.top + height), slice(box.left, box.left + width)
    return pixels[region], FieldOfView(mask=fov.mask[region], box=box)


def _network(config: SuperResolutionConfig, checkpoint: Path, *, resume: bool) -> keras.Model:
    if resume and checkpoint.is_file():
        return keras.models.load_model(checkpoint)
    keras.utils.set_random_seed(config.seed)
    network = build_network(width=config.width, blocks=config.blocks)
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, config.steps)
    network.compile(keras.optimizers.Adam(schedule), loss="mae", jit_compile=False)
    return network


def _fit(
    network: keras.Model, pictures: Sequence[NDArray[np.uint8]], config: SuperResolutionConfig, *, out: Path
) -> None:
    large_enough = [picture for picture in pictures if min(picture.shape[:2]) >= config.patch]
    first = int(network.optimizer.iterations)
    history = json.loads((out / HISTORY_FILE).read_text(encoding="utf-8")) if first else []
    losses: list[float] = []
    for step in tqdm(
        range(first, config.steps), desc="Training", unit="step", initial=first, total=config.steps, disable=None
    ):
        reduced, lacking = patches(large_enough, config, step)
        network.reset_metrics()
        losses.append(float(network.train_on_batch(reduced, lacking)))
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            history.append({"step": step + 1, "loss": float(np.mean(losses))})
            losses.clear()
            _save_checkpoint(network, history, out)


def _save_checkpoint(network: keras.Model, history: list[dict[str, float]], out: Path) -> None:
    partial = out / "partial.keras"
    network.save(partial)
    (out / HISTORY_FILE).write_text(json.dumps(history, indent=1), encoding="utf-8")
    partial.replace(out / CHECKPOINT_FILE)


def _panel_row(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put the middle of each picture side by side."""
    cells = []
    for picture in pictures:
        top, left = ((length - min(length, PANEL_SIDE)) // 2 for length in picture.shape[:2])
        cell = np.zeros((PANEL_SIDE, PANEL_SIDE, 3), dtype=np.uint8)
        middle = picture[top : top + PANEL_SIDE, left : left + PANEL_SIDE]
        cell[: middle.shape[0], : middle.shape[1]] = middle
        cells.append(cell)
    return np.concatenate(cells, axis=1)
