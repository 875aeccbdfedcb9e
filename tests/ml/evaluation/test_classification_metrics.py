import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from ml.evaluation import classification as metrics


def scored(labels, probabilities, *, sources=None, named=None, ungradable=None):
    count = len(labels)
    return metrics.Scored(
        classes=("A", "B"),
        labels=np.asarray(labels),
        probabilities=np.asarray(probabilities, dtype=float),
        sources=np.asarray(sources or ["S"] * count),
        groups=np.asarray([f"g{index}" for index in range(count)]),
        named=np.asarray(probabilities).argmax(axis=1) if named is None else np.asarray(named),
        ungradable=np.asarray(ungradable or [False] * count),
    )


def test_area_counts_the_pairs_in_the_right_order_and_half_of_the_ties():
    positive = np.array([True, True, False, False])

    # Pairs: 0.9 beats both; 0.4 beats 0.1 and ties with 0.4.
    assert metrics.area_under_curve(positive, np.array([0.9, 0.4, 0.4, 0.1])) == pytest.approx(3.5 / 4)


def test_area_is_undefined_with_one_kind_only():
    assert np.isnan(metrics.area_under_curve(np.array([True, True]), np.array([0.1, 0.9])))


def test_macro_area_equals_the_mean_of_one_vs_rest_of_scikit_learn():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, size=200)
    probabilities = rng.dirichlet(np.ones(4), size=200)

    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")

    assert metrics.macro_area(labels, probabilities) == pytest.approx(expected)


def test_macro_area_leaves_out_classes_that_are_absent():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1]])

    # Class 0: of 4 pairs, 0.8 beats two and 0.4 beats one; class 1 mirrors it.
    assert metrics.macro_area(labels, probabilities) == pytest.approx(0.75)


def test_interval_holds_the_figure_and_narrows_with_more_patients():
    rng = np.random.default_rng(5)

    def interval(count):
        labels = np.arange(count) % 2
        scores = labels * 0.3 + rng.random(count) * 0.7
        probabilities = np.stack([1 - scores, scores], axis=1)
        groups = np.arange(count).astype(str)
        low, high = metrics.macro_area_interval(labels, probabilities, groups, draws=200)
        assert low < metrics.macro_area(labels, probabilities) < high
        return high - low

    assert interval(800) < interval(60)


def test_interval_draws_the_photographs_of_a_patient_together():
    labels = np.array([0, 1] * 20)
    probabilities = np.tile([[0.9, 0.1], [0.1, 0.9]], (20, 1))

    # Every group holds one photograph of each class, so no resample can lose a class.
    low, high = metrics.macro_area_interval(labels, probabilities, np.repeat(np.arange(20), 2).astype(str), draws=50)

    assert (low, high) == (1.0, 1.0)


def test_balanced_accuracy_is_the_mean_recall():
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])

    assert metrics.balanced_accuracy(labels, predicted) == pytest.approx((2 / 3 + 1) / 2)
    assert metrics.balanced_accuracy(labels, predicted) == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_confusion_matrix_has_a_row_per_true_class():
    matrix = metrics.confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), class_count=3)

    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_calibration_error_weighs_the_gap_of_each_bin():
    labels = np.array([0, 0, 0, 0])
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])

    # Two photographs at 0.9, all right: gap 0.1. Two at 0.6, none right: gap 0.6.
    assert metrics.expected_calibration_error(labels, probabilities, bins=10) == pytest.approx(0.5 * 0.1 + 0.5 * 0.6)


def test_error_of_calibrated_answers_is_what_chance_gives():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    even = np.array([[0.5, 0.5], [0.5, 0.5]])

    assert metrics.calibrated_error(sure) == (0.0, 0.0)
    # Of two answers at 0.5, none, one or both are right with chances 1/4, 1/2, 1/4: gaps 0.5, 0, 0.5.
    mean, high = metrics.calibrated_error(even, draws=2000)
    assert mean == pytest.approx(0.25, abs=0.03)
    assert high == 0.5


def test_coverage_curve_keeps_the_most_confident():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.05, 0.95], [0.7, 0.3]])

    full, half = metrics.coverage_curve(labels, probabilities, coverages=(1.0, 0.5))

    assert full["accuracy"] == 0.75
    assert half == {"coverage": 0.5, "accuracy": 1.0, "balanced_accuracy": 1.0}


def test_report_scores_ungradable_photographs_and_counts_them():
    table = scored(
        [0, 1, 0, 1],
        [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]],
        named=[0, 1, -1, -1],
        ungradable=[False, False, False, True],
    )

    report = metrics.report(table, draws=20)

    assert report["n"] == 4
    assert report["macro_auc"] == 1.0
    assert (report["coverage"], report["ungradable"], report["indeterminate"]) == (0.5, 1, 1)
    assert report["confusion_matrix"] == [[1, 1], [0, 2]]


def test_report_has_no_area_for_a_source_with_one_class():
    table = scored([0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], sources=["X", "Y", "Y"])

    report = metrics.report(table, draws=20)

    assert report["per_source"]["X"]["macro_auc"] is None
    assert report["per_source"]["X"]["auc"] == {"A": None}
    assert report["per_source"]["Y"]["macro_auc"] == 1.0
