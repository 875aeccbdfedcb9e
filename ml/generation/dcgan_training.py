"""Train a DCGAN on the photographs of one small class, and check what it yields (mission M8)."""

import itertools
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ml.classification.data import LabelledPhotograph, hidden_name, load_pixels, read_manifest, split_by_fold
from ml.generation import dcgan
from ml.generation.copies import CopyCheck, diversity
from ml.imaging.fov import crop_square
from ml.runtime import seed_everything, torch_device

GENERATOR_FILE, WEIGHTS_FILE, CHECK_FILE = "generator.json", "generator.safetensors", "copy_check.npz"
CHECKPOINT_FILE, HISTORY_FILE = "checkpoint.pt", "history.json"
METRICS_FILE, SAMPLES_FILE = "metrics.json", "samples.png"
GRID_SIDE = 8
# One-sided label smoothing (arXiv:1606.03498).
REAL_TARGET = 0.9
STEP_SEEDS = 1_000_003


@dataclass(frozen=True, slots=True, kw_only=True)
class DcganConfig:
    """One experiment, as read from a file in ``ml/configs``; the class is named on the command line.

    Attributes:
        name: Name of the experiment.
        seed: Of first weights, batches and augmentation.
        sources: Data sets that are learnt from.
        test_folds: Held out from the generator, as from the classifier that it helps.
        validation_folds: Folds that held-out validation groups are taken from.
        validation_share: Share of those groups; the classifier's, or the two do not fit together.
        latent: Numbers that a picture is made of.
        width: Channels of the layer next to the picture.
        steps: Batches.
        batch_size: Real photographs per batch, and as many generated ones.
        learning_rate: Of Adam, for both networks.
        average_momentum: Of the moving average of the generator, which is what is kept.
        checkpoint_every: Batches between two checkpoints.
        check_pictures: Pictures that diversity and copies are measured on.
    """

    name: str
    seed: int
    sources: tuple[str, ...]
    test_folds: tuple[int, ...]
    validation_folds: tuple[int, ...]
    validation_share: float = 1.0
    latent: int = 64
    width: int = 32
    steps: int = 2000
    batch_size: int = 16
    learning_rate: float = 2e-4
    average_momentum: float = 0.995
    checkpoint_every: int = 100
    check_pictures: int = 256


def read_config(path: Path) -> DcganConfig:
    """Read an experiment.

    Raises:
        TypeError: A key is unknown or a required one is missing.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    lists = {key: tuple(content.get(key, ())) for key in ("sources", "test_folds", "validation_folds")}
    return DcganConfig(**{**content, **lists})


def train(
    config: DcganConfig, *, label: str, manifest: Path, root: Path, out: Path, resume: bool = False
) -> dict[str, Any]:
    """Train a generator of one class and check it.

    Args:
        config: The experiment.
        label: Class to learn.
        manifest: Labelled photographs with folds.
        root: Directory the files are relative to.
        out: Run folder: settings, history, checkpoint, generator, descriptors of the training
            photographs, metrics, ``samples.png``. All of it derives from patients' photographs.
        resume: Continue from the checkpoint in ``out`` when there is one; the result is that of a
            run that was not interrupted.

    Returns:
        The metrics, as in ``metrics.json``: ``class``, ``training_photographs``,
        ``held_out_photographs``, ``steps``, ``diversity`` of generated and real pictures, ``copies``.

    Raises:
        ValueError: The class has too few photographs, or no held-out ones.
    """
    out.mkdir(parents=True, exist_ok=True)
    training, held_out = choose_photographs(read_manifest(manifest), config, label=label)
    crops, other_crops = (_crops(rows, root) for rows in (training, held_out))
    check = CopyCheck.fit(crops, other_crops)
    groups = sorted({hidden_name(row.group) for row in training})
    settings = {**asdict(config), "class": label, "side": dcgan.SIDE, "training_groups": groups}
    (out / GENERATOR_FILE).write_text(json.dumps(settings, indent=1), encoding="utf-8")
    np.savez(out / CHECK_FILE, training=check.training, threshold=check.threshold)
    run = _Run(config)
    if resume and (out / CHECKPOINT_FILE).is_file():
        run.restore(out)
    run.fit(dcgan.to_values(crops), out=out)
    generator = run.average.module
    save_file({name: value.contiguous() for name, value in generator.state_dict().items()}, out / WEIGHTS_FILE)
    pictures = dcgan.draw(generator, latent=config.latent, seed=config.seed)
    generated = np.stack(list(itertools.islice(pictures, max(config.check_pictures, GRID_SIDE**2))))
    Image.fromarray(_grid(generated)).save(out / SAMPLES_FILE)
    metrics = {
        "class": label,
        "training_photographs": len(training),
        "held_out_photographs": len(held_out),
        "steps": config.steps,
        "diversity": {
            "generated": diversity(generated, seed=config.seed),
            "real": diversity(np.concatenate([crops, other_crops]), seed=config.seed),
        },
        "copies": check.report(generated, other_crops),
    }
    (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    return metrics


def choose_photographs(
    photographs: Sequence[LabelledPhotograph], config: DcganConfig, *, label: str
) -> tuple[list[LabelledPhotograph], list[LabelledPhotograph]]:
    """Return the class's photographs to learn from and those of held-out patients; no patient is in both."""
    usable = [row for row in photographs if row.source in config.sources and row.fold is not None]
    split = split_by_fold(
        usable,
        test_folds=config.test_folds,
        validation_folds=config.validation_folds,
        validation_share=config.validation_share,
    )
    held_out = np.concatenate([split.validation, split.test])
    learnt, kept = (
        [usable[index] for index in indices if usable[index].label == label] for indices in (split.training, held_out)
    )
    return learnt, kept


def _crops(photographs: Sequence[LabelledPhotograph], root: Path) -> NDArray[np.uint8]:
    crops = np.empty((len(photographs), dcgan.SIDE, dcgan.SIDE, 3), dtype=np.uint8)
    for index, photograph in enumerate(tqdm(photographs, desc="Reading", unit="image", disable=None)):
        pixels, fov, _ = load_pixels(photograph, root)
        crops[index] = crop_square(pixels, fov, side=dcgan.SIDE)
    return crops


class _Run:
    """Both networks, their optimizers and the average, from first weights to last."""

    def __init__(self, config: DcganConfig) -> None:
        seed_everything(config.seed)
        self.config = config
        self.device = torch_device()
        self.generator = dcgan.build_generator(latent=config.latent, width=config.width).to(self.device)
        self.discriminator = dcgan.build_discriminator(width=config.width).to(self.device)
        average = get_ema_multi_avg_fn(config.average_momentum)
        self.average = AveragedModel(self.generator, multi_avg_fn=average, use_buffers=False)
        self.generator_optimizer = _optimizer(self.generator, config)
        self.discriminator_optimizer = _optimizer(self.discriminator, config)
        self.step = 0
        self.history: list[dict[str, float]] = []

    def fit(self, photographs: torch.Tensor, *, out: Path) -> None:
        """Train to the last step on photographs (n, 3, 64, 64), with checkpoints in ``out``."""
        bar = tqdm(total=self.config.steps, initial=self.step, desc="Training", unit="step", disable=None)
        losses: list[tuple[float, float]] = []
        while self.step < self.config.steps:
            losses.append(self._train_step(photographs))
            self.step += 1
            bar.update()
            if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                discriminator, generator = np.mean(losses, axis=0)
                entry = {"step": self.step, "discriminator_loss": discriminator, "generator_loss": generator}
                self.history.append({name: float(value) for name, value in entry.items()})
                losses.clear()
                self._save(out)
        bar.close()

    def _train_step(self, photographs: torch.Tensor) -> tuple[float, float]:
        config = self.config
        # Drawn anew for each step, so that a resumed run draws what the interrupted one would have.
        random = torch.Generator().manual_seed(config.seed * STEP_SEEDS + self.step)
        self.generator.train()
        chosen = torch.randint(len(photographs), (config.batch_size,), generator=random)
        real = dcgan.augment(photographs[chosen].to(self.device), random)
        inputs = torch.randn(config.batch_size, config.latent, 1, 1, generator=random).to(self.device)
        generated = self.generator(inputs)
        of_real = self.discriminator(real)
        of_generated = self.discriminator(dcgan.augment(generated.detach(), random))
        discriminator_loss = _cross_entropy(of_real, REAL_TARGET) + _cross_entropy(of_generated, 0.0)
        _descend(self.discriminator_optimizer, discriminator_loss)
        generator_loss = _cross_entropy(self.discriminator(dcgan.augment(generated, random)), 1.0)
        _descend(self.generator_optimizer, generator_loss)
        self.average.update_parameters(self.generator)
        return float(discriminator_loss.detach()), float(generator_loss.detach())

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def _save(self, out: Path) -> None:
        partial = out / "partial.pt"
        states = {name: part.state_dict() for name, part in self._parts().items()}
        torch.save({**states, "step": self.step, "history": self.history}, partial)
        partial.replace(out / CHECKPOINT_FILE)
        (out / HISTORY_FILE).write_text(json.dumps(self.history, indent=1), encoding="utf-8")

    def restore(self, out: Path) -> None:
        """Go on from the checkpoint in ``out``."""
        stored = torch.load(out / CHECKPOINT_FILE, map_location=self.device, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(stored[name])
        self.step, self.history = stored["step"], stored["history"]


def _optimizer(network: torch.nn.Module, config: DcganConfig) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=(0.5, 0.999))


def _cross_entropy(logits: torch.Tensor, target: float) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _grid(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows = pictures[: GRID_SIDE**2].reshape(GRID_SIDE, GRID_SIDE, *pictures.shape[1:])
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
