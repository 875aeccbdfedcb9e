"""What a preprocessing does to a classifier: a linear probe on frozen features, all else the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from ml.classification import backbones
from ml.classification.calibration import softmax
from ml.classification.config import TrainingConfig
from ml.classification.data import (
    CLASSES,
    LabelledPhotograph,
    Split,
    draw_probabilities,
    hidden_name,
    labels_of,
    load_pixels,
    read_manifest,
    split_by_fold,
)
from ml.evaluation.classification import macro_area, one_vs_rest_areas
from ml.generation import oversampling
from ml.generation.bootstrap import group_interval
from ml.generation.superresolution import Enlarger, enlarge_fov, halve_fov, shrink
from ml.imaging.enhance import Equalisation, equalise_crop
from ml.imaging.fov import crop_square

STRENGTHS = (3e-5, 1e-4, 3e-4, 1e-3)
BATCH = 32


class Variant(StrEnum):
    """What is done to each photograph before, or, for ``GENERATED``, added to the training part."""

    NONE = "none"
    GLOBAL = "global"
    CLAHE = "clahe"
    LOCAL_CONTRAST = "local_contrast"
    SUPERRESOLUTION = "superresolution"
    GENERATED = "generated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeInputs:
    """What all variants share.

    Attributes:
        config: Experiment: network, side, split, draws.
        manifest: Labelled photographs with folds.
        root: Directory the files are relative to.
        weights_dir: Where the pre-trained weights lie.
        cache: Keeps the features of each variant.
        halve: Reduce each photograph to half its size first, to ask what helps small ones.
        most: Most photographs, drawn by the configuration's seed; None for all.
        enlarger: Network of the variant ``SUPERRESOLUTION``.
        generated: Folders of ``oversample``, for the variant ``GENERATED``.
        generated_share: Share of the draws that the generated photographs get.
    """

    config: TrainingConfig
    manifest: Path
    root: Path
    weights_dir: Path
    cache: Path
    halve: bool = False
    most: int | None = None
    enlarger: Enlarger | None = None
    generated: tuple[Path, ...] = ()
    generated_share: float = 0.1


def compare(inputs: ProbeInputs, variants: Sequence[Variant], *, draws: int = 1000) -> dict[str, Any]:
    """Fit a linear probe per variant and measure each on the same unseen patients.

    Args:
        inputs: What they share.
        variants: Which; ``NONE`` is added in front when absent, since the others are compared with it.
        draws: Resamples of the intervals.

    Returns:
        ``side``, ``halved``, counts of the split and, per variant, ``validation`` and ``test`` macro
        AUC within the headline source, ``test_ci95``, ``test_auc`` per class, ``strength``, and
        ``gain`` over ``none`` on the test photographs with ``gain_ci95``, paired by patient.

    Raises:
        ValueError: A variant lacks its network or folders, or a generator has seen held-out patients.
    """
    wanted = list(dict.fromkeys((Variant.NONE, *variants)))
    if Variant.SUPERRESOLUTION in wanted and inputs.enlarger is None:
        raise ValueError("The variant superresolution needs a trained network.")
    if Variant.GENERATED in wanted and not inputs.generated:
        raise ValueError("The variant generated needs folders of generated photographs.")
    photographs, split = choose(inputs)
    test = _of_headline(photographs, split.test, inputs.config, strong_only=False)
    labels = labels_of(photographs)[test]
    groups = np.asarray([photographs[index].group for index in test])
    result: dict[str, Any] = {
        "side": inputs.config.network.side,
        "halved": inputs.halve,
        "n": {"training": split.training.size, "validation": split.validation.size, "test": test.size},
        "variants": {},
    }
    kept: dict[Variant, NDArray[np.float64]] = {}
    for variant in wanted:
        figures, probabilities = _probe(inputs, variant, photographs, split)
        kept[variant] = probabilities
        figures |= _measure(labels, probabilities, kept[Variant.NONE], groups, draws=draws)
        result["variants"][variant.value] = figures
    return result


def choose(inputs: ProbeInputs) -> tuple[tuple[LabelledPhotograph, ...], Split]:
    """Return the photographs of the experiment's sources that have a fold, and their split by patient."""
    data = inputs.config.data
    rows = [row for row in read_manifest(inputs.manifest) if row.source in data.source_share and row.fold is not None]
    if inputs.most is not None:
        drawn = np.random.default_rng(inputs.config.seed).permutation(len(rows))[: inputs.most]
        rows = [rows[index] for index in np.sort(drawn)]
    split = split_by_fold(
        rows,
        test_folds=data.test_folds,
        validation_folds=data.validation_folds,
        validation_share=data.validation_share,
    )
    return tuple(rows), split


def _of_headline(
    photographs: Sequence[LabelledPhotograph], indices: NDArray[np.intp], config: TrainingConfig, *, strong_only: bool
) -> NDArray[np.intp]:
    rows = [(index, photographs[index]) for index in indices]
    chosen = [
        index
        for index, row in rows
        if row.source == config.data.headline_source and (not strong_only or row.quality in {"strong", ""})
    ]
    return np.asarray(chosen, dtype=np.intp)


def _probe(
    inputs: ProbeInputs, variant: Variant, photographs: tuple[LabelledPhotograph, ...], split: Split
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Return strength and validation area of a variant, and its probabilities of the test photographs."""
    config = inputs.config
    shares = dict(config.data.source_share)
    is_generated = variant is Variant.GENERATED
    features = pooled_features(inputs, Variant.NONE if is_generated else variant, photographs)
    if is_generated:
        count = len(photographs)
        photographs, split = oversampling.add_generated(photographs, split, inputs.generated)
        features = np.concatenate([features, pooled_features(inputs, Variant.NONE, photographs[count:])])
        shares[oversampling.SOURCE] = inputs.generated_share * sum(shares.values())
    labels = labels_of(photographs)
    weights = draw_probabilities(
        [photographs[index] for index in split.training],
        source_share=shares,
        class_share=config.data.class_share,
        quality_weight=config.data.quality_weight,
    )
    learnt = features[split.training]
    standardised = (features - learnt.mean(axis=0)) / (learnt.std(axis=0) + 1e-3)
    validation = _of_headline(photographs, split.validation, config, strong_only=True)
    test = _of_headline(photographs, split.test, config, strong_only=False)
    best: tuple[float, float, Any] = (-np.inf, 0.0, None)
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=500)
        model.fit(standardised[split.training], labels[split.training], sample_weight=weights * weights.size)
        area = macro_area(labels[validation], softmax(model.decision_function(standardised[validation])))
        if area > best[0]:
            best = (area, strength, model)
    probabilities = softmax(best[2].decision_function(standardised[test]))
    return {"strength": best[1], "validation": round(best[0], 4)}, probabilities


def _measure(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    baseline: NDArray[np.float64],
    groups: NDArray[np.str_],
    *,
    draws: int,
) -> dict[str, Any]:
    def area(chosen: NDArray[np.intp]) -> float:
        return macro_area(labels[chosen], probabilities[chosen])

    def gain(chosen: NDArray[np.intp]) -> float:
        return area(chosen) - macro_area(labels[chosen], baseline[chosen])

    everyone = np.arange(labels.size)
    areas = one_vs_rest_areas(labels, probabilities)
    return {
        "test": round(area(everyone), 4),
        "test_ci95": [round(bound, 4) for bound in group_interval(area, groups, draws=draws)],
        "test_auc": {name: round(float(value), 4) for name, value in zip(CLASSES, areas, strict=True)},
        "gain": round(gain(everyone), 4),
        "gain_ci95": [round(bound, 4) for bound in group_interval(gain, groups, draws=draws)],
    }


def pooled_features(
    inputs: ProbeInputs, variant: Variant, photographs: Sequence[LabelledPhotograph]
) -> NDArray[np.float32]:
    """Return pooled features (n, d) of photographs, from the cache where they are in it."""
    network = inputs.config.network
    parts = [variant, network.architecture, network.side, network.pretrained, inputs.halve, inputs.root.resolve()]
    if variant is Variant.SUPERRESOLUTION and inputs.enlarger is not None:
        parts.append(inputs.enlarger.fingerprint)
    names = " ".join(map(str, parts)) + "\n".join(photograph.file for photograph in photographs)
    stored = inputs.cache / f"features-{variant}-{hidden_name(names)}.npy"
    if stored.is_file():
        return np.load(stored)
    prepare = _preparation(inputs, variant)
    pooled = _backbone(inputs, variant)
    values = []
    for start in tqdm(range(0, len(photographs), BATCH), desc=variant.value, unit="batch", disable=None):
        crops = np.stack([prepare(photograph) for photograph in photographs[start : start + BATCH]])
        values.append(np.asarray(pooled.predict_on_batch(crops.astype(np.float32))))
    features = np.concatenate(values)
    inputs.cache.mkdir(parents=True, exist_ok=True)
    partial = stored.with_suffix(".partial.npy")
    np.save(partial, features)
    partial.replace(stored)
    return features


def _backbone(inputs: ProbeInputs, variant: Variant) -> keras.Model:
    network = inputs.config.network
    keras.utils.set_random_seed(inputs.config.seed)
    whole = backbones.build_network(
        network.architecture + (backbones.CONTRAST if variant is Variant.LOCAL_CONTRAST else ""),
        side=network.side,
        class_count=len(CLASSES),
        pretrained=backbones.find_pretrained(network.pretrained, inputs.weights_dir) if network.pretrained else None,
    )
    return keras.Model(whole.input, whole.get_layer(backbones.POOLED_LAYER).output)


def _preparation(inputs: ProbeInputs, variant: Variant) -> Callable[[LabelledPhotograph], NDArray[np.uint8]]:
    """Return the function from a row to the crop (side, side, 3) uint8 that the network sees."""
    side = inputs.config.network.side

    def prepare(photograph: LabelledPhotograph) -> NDArray[np.uint8]:
        pixels, fov, _ = load_pixels(photograph, inputs.root)
        if inputs.halve:
            pixels, fov = shrink(pixels), halve_fov(fov)
        if variant is Variant.SUPERRESOLUTION and inputs.enlarger is not None:
            pixels, fov = inputs.enlarger.enlarge(pixels), enlarge_fov(fov)
        crop = crop_square(pixels, fov, side=side)
        if variant in {Variant.GLOBAL, Variant.CLAHE}:
            return equalise_crop(crop, method=Equalisation(variant.value))
        return crop

    return prepare
