"""What a fine-tuned classifier knows of a source it never saw, beside what it knows of it when it has."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.classification import train
from ml.classification.calibration import softmax
from ml.classification.config import TrainingConfig
from ml.classification.data import labels_of, load_crops, read_manifest
from ml.classification.finetune import predict_logits
from ml.evaluation import predictions
from ml.evaluation.left_out_source import compare
from ml.imaging.enhance import Equalisation

logger = logging.getLogger(__name__)


def fine_tune_without_each_source(
    config: TrainingConfig,
    *,
    side: int,
    seen: Path,
    manifest: Path,
    root: Path,
    out: Path,
    weights_dir: Path,
    cache: Path | None = None,
    draws: int = 1000,
    progress: Callable[[str], None] = logger.info,
) -> dict[str, Any]:
    """Train once for each source, on all folds of the other sources, and measure that source.

    No photograph of the source is in the training, so all of them measure it.

    Args:
        config: The experiment; its split is replaced.
        side: Pixels at which the trained network reads.
        seen: Held-out predictions, as :func:`ml.evaluation.predictions.write` stores them, of the same photographs
            by networks that learnt from their source too.
        manifest: Photographs; every row needs a fold.
        root: Directory the files are relative to.
        out: Keeps a run folder for each source; a run that is there is continued.
        weights_dir: Where the pre-trained weights lie.
        cache: Keeps the crops between runs.
        draws: Resamples of the intervals, by patient.
        progress: Called with one line per round.

    Returns:
        For each source ``n``, and as :func:`ml.evaluation.left_out_source.compare` ``seen``, ``unseen`` and ``loss``.

    Raises:
        ValueError: There are fewer than two sources, or ``seen`` lacks a photograph.
    """
    shares = config.data.source_share
    if len(shares) < 2:
        raise ValueError("Leaving one source out needs two sources at least.")
    train.limit_threads(config.threads)
    keys, known, _ = predictions.read(seen)
    rows_of = {key: index for index, key in enumerate(keys)}
    by_source: dict[str, Any] = {}
    for source in sorted(shares):
        rows = [row for row in read_manifest(manifest) if row.source == source and row.fold is not None]
        if missing := [row.file for row in rows if row.key not in rows_of]:
            raise ValueError(f"The predictions of {seen.name} lack {len(missing)} photographs of {source}.")
        others = {name: share for name, share in shares.items() if name != source}
        split = replace(config.data, source_share=others, test_folds=(), validation_folds=())
        without = replace(config, data=split)
        weights = train.train_without(
            source,
            without,
            manifest=manifest,
            root=root,
            out=out,
            weights_dir=weights_dir,
            cache=cache,
            resume=True,
            progress=progress,
        )
        reading = replace(without, network=replace(without.network, side=side))
        crops, _ = load_crops(
            rows, root, side=side, equalisation=Equalisation(config.network.equalisation), cache=cache
        )
        by_source[source] = {
            "n": len(rows),
            **compare(
                labels_of(rows),
                known.probabilities[[rows_of[row.key] for row in rows]],
                _read(reading, weights, crops),
                np.asarray([row.group for row in rows]),
                draws=draws,
            ),
        }
    return by_source


def _read(config: TrainingConfig, weights: Path, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    network = train.build(config)
    network.load_weights(weights)
    return softmax(predict_logits(network, crops, flips=config.network.mirror_images))
