"""Shortcut audit: how much of the label can be read off the frame instead of the eye (mistake D13)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.classification import Scored, macro_area, macro_area_interval

MEASURES = ("aspect", "black_share", "mean_red", "mean_green", "mean_blue")
BLACK_LEVEL = 12
FOLDS = 5


def measure(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Measure what tells cameras apart and eyes not.

    Args:
        pixels: (H, W, 3) uint8 RGB, as decoded.

    Returns:
        (5,) in the order of ``MEASURES``: width over height, share of pixels that are black, and
        the mean of each channel over the others, 0-255.
    """
    black = pixels.max(axis=2) <= BLACK_LEVEL
    lit = pixels[~black] if not black.all() else pixels.reshape(-1, 3)
    return np.asarray([pixels.shape[1] / pixels.shape[0], black.mean(), *lit.mean(axis=0)], dtype=np.float64)


def baseline_probabilities(
    shortcuts: NDArray[np.float64], labels: NDArray[np.intp], groups: NDArray[np.str_], *, class_count: int
) -> NDArray[np.float64]:
    """Predict each photograph's class from its shortcuts alone, by models that never saw its patient.

    Args:
        shortcuts: (n, 5) measures.
        labels: (n,) class positions.
        groups: (n,) patient groups, at least as many as there are folds.
        class_count: Number of columns of the result.

    Returns:
        (n, class_count) out-of-fold probabilities of a logistic regression.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    probabilities = np.zeros((labels.size, class_count))
    for training, held_out in GroupKFold(FOLDS).split(shortcuts, labels, groups):
        model = make_pipeline(
            StandardScaler(),
            # Products let a colour range, not only a colour direction, speak for a class.
            PolynomialFeatures(2, include_bias=False),
            StandardScaler(),
            LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced"),
        )
        model.fit(shortcuts[training], labels[training])
        columns = model.classes_
        probabilities[np.ix_(held_out, columns)] = model.predict_proba(shortcuts[held_out])
    return probabilities


def audit(scored: Scored, shortcuts: NDArray[np.float64], *, seed: int = 0, draws: int = 1000) -> dict[str, Any]:
    """Compare a model with the shortcut baseline, within each source and pooled.

    Args:
        scored: What the model said.
        shortcuts: (n, 5) measures of the same photographs.
        seed: Seed of the intervals.
        draws: Resamples of the intervals.

    Returns:
        ``measures`` and, in ``per_source`` and ``pooled``: ``n``, ``baseline_macro_auc``,
        ``model_macro_auc``, their ``_ci95``, and ``model_beats_baseline`` (the model's interval lies
        above the baseline's figure). A source with one class or hardly any patients has no row.
        ``source_predictability``: macro AUC of telling the source from the same measures.
    """
    per_source = {}
    for source in np.unique(scored.sources):
        chosen = scored.sources == source
        if _is_comparable(scored.where(chosen)):
            per_source[str(source)] = _compare(scored.where(chosen), shortcuts[chosen], seed=seed, draws=draws)
    return {
        "measures": list(MEASURES),
        "pooled": _compare(scored, shortcuts, seed=seed, draws=draws) if _is_comparable(scored) else None,
        "per_source": per_source,
        "source_predictability": _source_predictability(scored, shortcuts),
    }


def _is_comparable(scored: Scored) -> bool:
    counts = np.bincount(scored.labels)
    return np.unique(scored.groups).size >= 2 * FOLDS and int((counts >= FOLDS).sum()) >= 2


def _compare(scored: Scored, shortcuts: NDArray[np.float64], *, seed: int, draws: int) -> dict[str, Any]:
    labels, groups = scored.labels, scored.groups
    baseline = baseline_probabilities(shortcuts, labels, groups, class_count=len(scored.classes))
    rows = {"baseline": baseline, "model": scored.probabilities}
    result: dict[str, Any] = {"n": int(labels.size)}
    for name, probabilities in rows.items():
        interval = macro_area_interval(labels, probabilities, groups, seed=seed, draws=draws)
        result[f"{name}_macro_auc"] = round(macro_area(labels, probabilities), 4)
        result[f"{name}_macro_auc_ci95"] = [round(bound, 4) for bound in interval]
    result["model_beats_baseline"] = result["model_macro_auc_ci95"][0] > result["baseline_macro_auc"]
    return result


def _source_predictability(scored: Scored, shortcuts: NDArray[np.float64]) -> float | None:
    sources, labels = np.unique(scored.sources, return_inverse=True)
    if sources.size < 2 or np.unique(scored.groups).size < 2 * FOLDS:
        return None
    probabilities = baseline_probabilities(shortcuts, labels, scored.groups, class_count=sources.size)
    return round(macro_area(labels, probabilities), 4)
