"""Train the vessel network: run folder, checkpoints, moving average."""

import copy
import csv
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ml.segmentation.config import SegmenterConfig, to_plain
from ml.segmentation.datasets import VesselSample, find_sets, list_samples, partition
from ml.segmentation.losses import vessel_loss
from ml.segmentation.parallel import AVERAGE_EVERY, average_weights, from_first, join, replica, replicas
from ml.segmentation.photographs import CropStream, load_photograph
from ml.segmentation.predict import has_bfloat16
from ml.segmentation.publish import CONFIG_FILE, METRICS_FILE, WEIGHTS_FILE
from ml.segmentation.unet import VesselNetwork, count_parameters
from ml.segmentation.validation import Validation, validate

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.pt"
CURVES_FILE = "curves.csv"
CURVE_COLUMNS = ("step", "loss", "learning_rate", "validation_auc", "validation_dice", "threshold", "seconds")


def train(config: SegmenterConfig, *, data: Sequence[Path], out: Path, resume: bool = False) -> dict[str, Any]:
    """Train a network and leave a run folder behind.

    ``out`` then holds ``config.toml`` (resolved), ``curves.csv``, ``metrics.json``,
    ``weights.safetensors`` and ``checkpoint.pt``. A GPU is used when there is one. Started by
    ``torchrun``, every process trains on crops of its own and the weights are averaged every few
    steps; the first process writes.

    Args:
        config: What to train and how.
        data: Data set folders, or folders of them.
        out: Run folder, made when missing.
        resume: Continue from the folder's checkpoint. A finished run is validated again, so that a
            changed ``[inference]`` gets the threshold that suits it.

    Returns:
        Content of ``metrics.json``; empty in all processes but the first.

    Raises:
        FileNotFoundError: A data folder is not one, or there is nothing to resume.
        ValueError: No photograph to train on, or a held-out name does not exist.
    """
    training, held_out = select_samples(config, data)
    join()
    out.mkdir(parents=True, exist_ok=True)
    if replica() == 0:
        (out / CONFIG_FILE).write_text(tomli_w.dumps(to_plain(config)), encoding="utf-8")
    run = _Run(config, device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    if resume:
        run.load(out / CHECKPOINT_FILE)
    elif config.initial_weights:
        run.start_from(Path(config.initial_weights))
    run.learn(training, held_out=held_out or training, out=out)
    if replica():
        return {}
    return run.finish(training, held_out=held_out or training, out=out)


def select_samples(config: SegmenterConfig, data: Sequence[Path]) -> tuple[list[VesselSample], list[VesselSample]]:
    """Return the photographs to train on and those held out.

    Raises:
        FileNotFoundError: A data folder is not one.
        ValueError: No photograph is left to train on, or a held-out name does not exist.
    """
    training: list[VesselSample] = []
    held_out: list[VesselSample] = []
    for folder in find_sets(data):
        samples = list_samples(folder, split=config.data.split)
        kept, aside = partition(samples, config.data.held_out.get(folder.resolve().name, ()))
        training += kept
        held_out += aside
    if not training:
        raise ValueError("There is no labelled photograph to train on.")
    return training, held_out


def photograph_weights(samples: Sequence[VesselSample], by_set: dict[str, float]) -> list[float]:
    """Return how often to draw each photograph: its set's weight shared among the set's photographs."""
    sizes = {name: sum(s.dataset == name for s in samples) for name in {s.dataset for s in samples}}
    return [by_set.get(s.dataset, 1.0) / sizes[s.dataset] for s in samples]


class _Run:
    """State of a training run."""

    def __init__(self, config: SegmenterConfig, *, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.memory_format = memory_format(device)
        self.network = VesselNetwork(config.architecture).to(device, memory_format=self.memory_format)
        self.average = copy.deepcopy(self.network).eval()
        schedule = config.schedule
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        self.step = 0
        self.seconds = 0.0
        self.started = time.monotonic()
        self.best_auc = 0.0
        self.best: dict[str, Tensor] | None = None
        self.processes = replicas()

    def start_from(self, weights: Path) -> None:
        from safetensors.torch import load_file

        self.network.load_state_dict(load_file(weights))
        self.average.load_state_dict(self.network.state_dict())

    def load(self, path: Path) -> None:
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.best_auc, self.best = state["best_auc"], state["best"]
        self.processes = max(self.processes, state["processes"])

    def save(self, path: Path) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "best_auc": self.best_auc,
            "best": self.best,
            "processes": self.processes,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def learn(self, training: Sequence[VesselSample], *, held_out: Sequence[VesselSample], out: Path) -> None:
        if self._is_done():
            return
        schedule = self.config.schedule
        crops = self._crops(training)
        losses: list[float] = []
        self.started = time.monotonic()
        bar = tqdm(total=schedule.steps, initial=self.step, desc="Training", unit="step", mininterval=5)
        while not self._is_done():
            losses.append(self._advance(next(crops).to(self.device)))
            bar.update()
            if self.step % AVERAGE_EVERY == 0:
                self._meet()
            if replica() == 0 and self.step % schedule.validate_every == 0:
                self._check(held_out, losses, out=out)
        bar.close()
        if replica() == 0 and losses:
            self._check(held_out, losses, out=out)

    def _meet(self) -> None:
        """Average the replicas' weights and set their clocks by the first one's."""
        average_weights(self.network)
        self.seconds, self.started = from_first(self._elapsed()), time.monotonic()

    def _check(self, held_out: Sequence[VesselSample], losses: list[float], *, out: Path) -> None:
        """Validate, write the curves and a checkpoint, forget the losses; the clock stands still meanwhile."""
        self.seconds = self._elapsed()
        self._report(validate(self.average, held_out, config=self.config), loss=float(np.mean(losses)), out=out)
        self.save(out / CHECKPOINT_FILE)
        losses.clear()
        self.started = time.monotonic()

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def _progress(self) -> float:
        """Share of the run that is done, by steps or by time, whichever is further."""
        schedule = self.config.schedule
        by_steps = self.step / schedule.steps
        if not schedule.max_minutes:
            return by_steps
        return max(by_steps, self._elapsed() / (60 * schedule.max_minutes))

    def _is_done(self) -> bool:
        """Whether to stop; all replicas come to the same answer, at a step where their weights are equal."""
        if replicas() == 1:
            return self._progress() >= 1.0
        return self.step % AVERAGE_EVERY == 0 and from_first(self._progress()) >= 1.0

    def _crops(self, samples: Sequence[VesselSample]) -> Iterator[Tensor]:
        config = self.config
        random = np.random.default_rng(config.seed)
        photographs = [
            load_photograph(
                sample,
                inference=config.inference,
                levels=config.data.levels,
                with_centreline=config.loss.centreline > 0,
                random=random,
            )
            for sample in tqdm(samples, desc="Reading photographs", unit="image", mininterval=5)
        ]
        stream = CropStream(
            photographs,
            photograph_weights(samples, dict(config.data.weights)),
            settings=config.augmentation,
            seed=config.seed,
            start=self.step,
            replica=replica(),
        )
        return iter(DataLoader(stream, batch_size=config.schedule.batch, num_workers=config.schedule.workers))

    def _advance(self, crops: Tensor) -> float:
        """Take one optimiser step on (B, 6, crop, crop) and return its loss."""
        schedule = self.config.schedule
        images = crops[:, :3].contiguous(memory_format=self.memory_format)
        half = schedule.mixed_precision and has_bfloat16(self.device)
        for group in self.optimiser.param_groups:
            group["lr"] = schedule.learning_rate * learning_rate_share(self._progress(), warmup=schedule.warmup)
        self.network.train()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            answers = self.network(images)
        loss = vessel_loss(answers, crops[:, 3:4], crops[:, 5:6], crops[:, 4:5], self.config.loss)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        # A young average follows quickly, so that early validations are not of the random start.
        update_average(self.average, self.network, decay=min(schedule.ema_decay, self.step / (self.step + 10)))
        return float(loss.detach())

    def _report(self, validation: Validation, *, loss: float, out: Path) -> None:
        if validation.auc > self.best_auc:
            self.best_auc = validation.auc
            self.best = {name: value.clone() for name, value in self.average.state_dict().items()}
        row = (
            self.step,
            f"{loss:.5f}",
            f"{self.optimiser.param_groups[0]['lr']:.3e}",
            f"{validation.auc:.5f}",
            f"{validation.dice:.5f}",
            f"{validation.threshold:.4f}",
            f"{self.seconds:.0f}",
        )
        path = out / CURVES_FILE
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            if is_new:
                writer.writerow(CURVE_COLUMNS)
            writer.writerow(row)
        logger.info("Step %d: loss %s, validation AUC %s, by set %s", row[0], row[1], row[3], validation.auc_by_set)

    def finish(
        self, training: Sequence[VesselSample], *, held_out: Sequence[VesselSample], out: Path
    ) -> dict[str, Any]:
        from safetensors.torch import save_file

        if self.config.schedule.select_best and self.best is not None:
            self.average.load_state_dict(self.best)
        validation = validate(self.average, held_out, config=self.config)
        save_file({k: v.contiguous() for k, v in self.average.state_dict().items()}, out / WEIGHTS_FILE)
        chosen = validation
        if self.config.data.threshold_on_all:
            chosen = validate(self.average, [*training, *held_out], config=self.config)
        metrics = {
            "parameters": count_parameters(self.average),
            "steps": self.step,
            "training_seconds": round(self.seconds),
            "processes": self.processes,
            "device": self.device.type,
            "training_photographs": _count_by_set(training),
            "held_out_photographs": _count_by_set(held_out),
            "threshold": chosen.threshold,
            "threshold_photographs": "all" if self.config.data.threshold_on_all else "held out",
            "validation_auc": validation.auc,
            "validation_dice": validation.dice,
            "validation_auc_by_set": validation.auc_by_set,
        }
        (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        return metrics


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the order of a tensor's dimensions in memory that trains fastest on ``device``.

    Channels last wherever bfloat16 is fast. A processor without it takes 1.4 s instead of 1.7 s for a step of
    the shipped network with the channels first, because the gradients of small convolutions are slow otherwise.
    """
    return torch.channels_last if has_bfloat16(device) else torch.contiguous_format


def learning_rate_share(progress: float, *, warmup: float) -> float:
    """Return the share of the peak learning rate at ``progress`` in [0, 1]: linear rise, cosine decay to 0."""
    if progress < warmup:
        return max(progress / warmup, 0.02)
    done = min(1.0, (progress - warmup) / (1.0 - warmup))
    return 0.5 * (1.0 + math.cos(math.pi * done))


def _count_by_set(samples: Sequence[VesselSample]) -> dict[str, int]:
    return {name: sum(s.dataset == name for s in samples) for name in sorted({s.dataset for s in samples})}


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Move ``average`` towards ``network``: average = decay x average + (1 - decay) x network."""
    state = network.state_dict()
    for name, value in average.state_dict().items():
        if value.dtype.is_floating_point:
            value.lerp_(state[name], 1 - decay)
        else:
            value.copy_(state[name])
