import numpy as np
import pytest
from sklearn import metrics

from ml.evaluation.segmentation import (
    CentrelineCounts,
    Counts,
    ProbabilityHistogram,
    best_threshold,
    count_centrelines,
    count_pixels,
    count_probabilities,
)
from ml.evaluation.segmentation_figures import reliability_points


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.random(5000) < 0.13
    probability = np.clip(random.normal(0.35 + 0.25 * truth, 0.2), 0, 1).astype(np.float32)
    return probability, truth


def test_counts_and_scores_by_hand():
    prediction = np.array([1, 1, 1, 0, 0, 0, 0, 0, 1, 0], dtype=bool)
    truth = np.array([1, 1, 0, 1, 0, 0, 0, 0, 1, 1], dtype=bool)

    counts = count_pixels(prediction, truth)

    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (3, 1, 2, 4)
    scores = counts.scores()
    assert scores["f1"] == pytest.approx(2 * 3 / (4 + 5))
    assert scores["jaccard"] == pytest.approx(3 / 6)
    assert scores["precision"] == pytest.approx(3 / 4)
    assert scores["sensitivity"] == pytest.approx(3 / 5)
    assert scores["specificity"] == pytest.approx(4 / 5)
    assert scores["accuracy"] == pytest.approx(7 / 10)
    assert scores["mcc"] == pytest.approx((3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6))


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_agree_with_scikit_learn(seed):
    probability, truth = random_case(seed)
    prediction = probability > 0.5

    scores = count_pixels(prediction, truth).scores()

    assert scores["f1"] == pytest.approx(metrics.f1_score(truth, prediction))
    assert scores["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth, prediction))
    assert scores["jaccard"] == pytest.approx(metrics.jaccard_score(truth, prediction))
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(truth, prediction))
    assert scores["specificity"] == pytest.approx(metrics.recall_score(~truth, ~prediction))


@pytest.mark.parametrize("seed", [0, 1])
def test_auc_agrees_with_scikit_learn(seed):
    probability, truth = random_case(seed)

    auc = count_probabilities(probability, truth).auc()

    assert auc == pytest.approx(metrics.roc_auc_score(truth, probability), abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_curves_agree_with_scikit_learn(seed):
    probability, truth = random_case(seed)

    histogram = count_probabilities(probability, truth)

    assert histogram.average_precision() == pytest.approx(metrics.average_precision_score(truth, probability), abs=1e-4)
    assert metrics.auc(*histogram.roc()) == pytest.approx(metrics.roc_auc_score(truth, probability), abs=1e-5)


def test_precision_and_recall_by_hand():
    truth = np.array([True, False, True, False])
    histogram = count_probabilities(np.array([0.9, 0.8, 0.8, 0.1], dtype=np.float32), truth)

    precision, recall = histogram.precision_recall()

    assert precision.tolist() == pytest.approx([1, 2 / 3, 2 / 4])
    assert recall.tolist() == [0.5, 1, 1]
    assert histogram.average_precision() == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert ProbabilityHistogram().average_precision() == 0.0


def test_reliability_by_hand():
    truth = np.array([True, True, False, False, False])
    histogram = count_probabilities(np.array([1.0, 0.98, 0.02, 0.02, 0.98], dtype=np.float32), truth)

    stated, found = reliability_points(histogram)

    assert stated.tolist() == pytest.approx([0.02, 2.96 / 3], abs=1e-4)
    assert found.tolist() == pytest.approx([0, 2 / 3])


def test_auc_counts_ties_half():
    truth = np.array([True, True, False, False])
    probability = np.array([0.5, 1.0, 0.5, 0.0], dtype=np.float32)

    assert count_probabilities(probability, truth).auc() == pytest.approx((0.5 + 1 + 1 + 1) / 4)


def test_auc_of_one_kind_of_pixel_is_not_a_number():
    assert np.isnan(count_probabilities(np.ones(3, np.float32), np.ones(3, bool)).auc())
    assert np.isnan(ProbabilityHistogram().auc())


def test_pooled_counts_are_those_of_all_pixels_together():
    first, second = random_case(0), random_case(1)

    pooled = count_probabilities(*first) + count_probabilities(*second)

    both = np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
    assert pooled.auc() == pytest.approx(count_probabilities(*both).auc())
    assert Counts(1, 2, 3, 4) + Counts(10, 20, 30, 40) == Counts(11, 22, 33, 44)


def test_best_threshold_gives_the_best_dice_there_is():
    probability, truth = random_case(2)

    threshold, dice = best_threshold([count_probabilities(probability, truth)])

    scan = [metrics.f1_score(truth, probability > t) for t in np.unique(probability)]
    assert dice == pytest.approx(max(scan), abs=1e-4)
    assert metrics.f1_score(truth, probability > threshold) == pytest.approx(max(scan), abs=1e-4)


def test_best_threshold_averages_groups_of_unequal_size():
    truth = np.array([False, True])
    low = count_probabilities(np.array([0.1, 0.3], np.float32), truth)
    high = count_probabilities(np.tile(np.array([0.25, 0.9], np.float32), 1000), np.tile(truth, 1000))

    threshold, dice = best_threshold([low, high])

    assert 0.25 < threshold < 0.3
    assert dice == pytest.approx(1.0)


@pytest.mark.parametrize("scores", [Counts().scores(), Counts(tn=7).scores()])
def test_scores_of_an_image_without_vessels_are_numbers(scores):
    assert scores["f1"] == 0.0
    assert scores["mcc"] == 0.0
    assert scores["sensitivity"] == 0.0


def test_cldice_by_hand():
    counts = CentrelineCounts(predicted=10, predicted_on_truth=8, true=20, true_on_prediction=12)

    assert counts.cldice() == pytest.approx(2 * 0.8 * 0.6 / 1.4)


def test_cldice_of_equal_masks_is_one_and_of_disjoint_masks_zero():
    vessels = np.zeros((40, 40), dtype=bool)
    vessels[10:14, 5:35] = True
    everywhere = np.ones_like(vessels)

    assert count_centrelines(vessels, vessels, everywhere).cldice() == pytest.approx(1.0)
    assert count_centrelines(vessels, np.roll(vessels, 15, axis=0), everywhere).cldice() == 0.0
    assert count_centrelines(np.zeros_like(vessels), np.zeros_like(vessels), everywhere).cldice() == 0.0


def test_cldice_of_half_a_line_is_two_thirds():
    truth = np.zeros((9, 100), dtype=bool)
    truth[4, 10:90] = True
    prediction = truth.copy()
    prediction[:, 50:] = False

    assert count_centrelines(prediction, truth, np.ones_like(truth)).cldice() == pytest.approx(2 / 3, abs=0.01)


def test_centrelines_outside_the_field_of_view_do_not_count():
    truth = np.zeros((9, 100), dtype=bool)
    truth[4] = True
    mask = np.zeros_like(truth)
    mask[:, :30] = True

    assert count_centrelines(truth, truth, mask).true == 30
