"""What a classifier knows of a source it never saw: the same linear probe, trained with and without that source."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.classification.calibration import softmax
from ml.classification.data import CLASSES, LabelledPhotograph, draw_probabilities, labels_of
from ml.evaluation.classification import macro_area, macro_area_interval, one_vs_rest_areas
from ml.generation.bootstrap import group_interval
from ml.generation.probe import ProbeInputs, Variant, choose, pooled_features

STRENGTH = 1e-3


def leave_one_source_out(
    inputs: ProbeInputs, *, variant: Variant = Variant.NONE, strength: float = STRENGTH, draws: int = 1000
) -> dict[str, Any]:
    """Measure each source's held-out photographs by two probes on frozen features.

    Args:
        inputs: Experiment, photographs, pre-trained weights, cache. The sources are the experiment's.
        variant: What is done to each photograph first.
        strength: Inverse regularisation of the logistic regression; fixed, so that no source chooses it.
        draws: Resamples of the intervals, by patient.

    Returns:
        ``source_predictability`` of :func:`predict_source`, and ``per_source``: ``n`` and what :func:`compare` says.

    Raises:
        ValueError: There are fewer than two sources.
    """
    photographs, split = choose(inputs)
    sources = np.asarray([photograph.source for photograph in photographs])
    if len(set(sources)) < 2:
        raise ValueError("Leaving one source out needs two sources at least.")
    features = pooled_features(inputs, variant, photographs)
    labels = labels_of(photographs)
    by_source: dict[str, Any] = {}
    for source in sorted(set(sources)):
        test = split.test[sources[split.test] == source]
        groups = np.asarray([photographs[index].group for index in test])
        everyone = split.training
        others = everyone[sources[everyone] != source]
        seen, unseen = (
            _probabilities(inputs, photographs, features, labels, training, test, strength=strength)
            for training in (everyone, others)
        )
        by_source[source] = {"n": int(test.size), **compare(labels[test], seen, unseen, groups, draws=draws)}
    return {"per_source": by_source, "source_predictability": predict_source(features, photographs)}


def predict_source(
    features: NDArray[np.float32], photographs: Sequence[LabelledPhotograph], *, label: str = "Normal"
) -> dict[str, Any]:
    """Measure how well the features give away which source a photograph came from (mistake D13).

    Only photographs of one class are asked, or the diseases that a source holds would give it away. Chance is one
    over the number of sources.

    Args:
        features: (n, d).
        photographs: Their rows.
        label: The class.

    Returns:
        ``n``, ``sources``, ``balanced_accuracy`` of a logistic regression in five-fold cross-validation by
        patient, and ``chance``.

    Raises:
        ValueError: Fewer than two sources have the class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    chosen = [index for index, row in enumerate(photographs) if row.label == label]
    sources = np.asarray([photographs[index].source for index in chosen])
    names = np.unique(sources)
    if names.size < 2:
        raise ValueError(f"Fewer than two sources have photographs labelled {label}.")
    groups = np.asarray([photographs[index].group for index in chosen])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=500))
    predicted = cross_val_predict(model, features[chosen], sources, groups=groups, cv=GroupKFold(5))
    return {
        "n": len(chosen),
        "sources": names.tolist(),
        "balanced_accuracy": round(float(balanced_accuracy_score(sources, predicted)), 4),
        "chance": round(1 / names.size, 4),
    }


def _probabilities(
    inputs: ProbeInputs,
    photographs: tuple[LabelledPhotograph, ...],
    features: NDArray[np.float32],
    labels: NDArray[np.intp],
    training: NDArray[np.intp],
    test: NDArray[np.intp],
    *,
    strength: float,
) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression

    data = inputs.config.data
    weights = draw_probabilities(
        [photographs[index] for index in training],
        source_share=data.source_share,
        class_share=data.class_share,
        quality_weight=data.quality_weight,
    )
    mean, deviation = features[training].mean(axis=0), features[training].std(axis=0) + 1e-3
    model = LogisticRegression(C=strength, max_iter=500)
    model.fit((features[training] - mean) / deviation, labels[training], sample_weight=weights * weights.size)
    # A class that the other sources lack keeps a column that never wins.
    logits = np.full((test.size, len(CLASSES)), -np.inf)
    scores = model.decision_function((features[test] - mean) / deviation)
    if len(model.classes_) == 2:
        scores = np.stack([-scores / 2, scores / 2], axis=1)
    logits[:, model.classes_] = scores
    return softmax(logits)


def compare(
    labels: NDArray[np.intp],
    seen: NDArray[np.float64],
    unseen: NDArray[np.float64],
    groups: NDArray[np.str_],
    *,
    draws: int,
) -> dict[str, Any]:
    """Compare two classifiers on the photographs of one source.

    Args:
        labels: (n,) class positions.
        seen: (n, K) probabilities of the one that has seen the source.
        unseen: (n, K) of the one that has not.
        groups: (n,) patients.
        draws: Resamples of the intervals, by patient.

    Returns:
        ``seen`` and ``unseen``, each with ``macro_auc``, ``ci95`` and ``auc`` by class over the classes there are;
        ``loss`` is the first area less the second, with ``loss_ci95``.
    """

    def loss(chosen: NDArray[np.intp]) -> float:
        return macro_area(labels[chosen], seen[chosen]) - macro_area(labels[chosen], unseen[chosen])

    rows: dict[str, Any] = {}
    for name, probabilities in (("seen", seen), ("unseen", unseen)):
        areas = one_vs_rest_areas(labels, probabilities)
        interval = macro_area_interval(labels, probabilities, groups, draws=draws)
        rows[name] = {
            "macro_auc": round(macro_area(labels, probabilities), 4),
            "ci95": [round(bound, 4) for bound in interval],
            "auc": {c: round(float(a), 4) for c, a in zip(CLASSES, areas, strict=True) if not np.isnan(a)},
        }
    everyone = np.arange(labels.size)
    bounds = group_interval(loss, groups, draws=draws)
    return {**rows, "loss": round(loss(everyone), 4), "loss_ci95": [round(bound, 4) for bound in bounds]}
