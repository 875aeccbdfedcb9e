from dataclasses import replace

import numpy as np
import pytest

from ml.classification import fusion
from ml.classification.calibration import Abstention, negative_log_likelihood, softmax
from ml.classification.predict import Classification
from ml.errors import BundleError

CLASSES = ("A", "B", "C")
EVEN = (1 / 3, 1 / 3, 1 / 3)
LENIENT = Abstention(min_confidence=0.0, frequencies=EVEN)


def classification(*probabilities, classes=CLASSES):
    return Classification(
        classes=classes,
        logits=np.log(np.asarray(probabilities, dtype=np.float32)),
        probabilities=dict(zip(classes, probabilities, strict=True)),
        class_maps=np.zeros((2, 2, len(classes)), dtype=np.float32),
    )


def test_fused_probabilities_are_the_weighted_geometric_mean():
    rule = fusion.FusionRule(image_weight=1.0, vessel_weight=1.0, abstention=LENIENT)

    fused = fusion.fuse(classification(0.5, 0.25, 0.25), classification(0.2, 0.4, 0.4), rule)

    # 0.5 * 0.2 = 0.1 for each class, after the division by their sum 0.3.
    assert list(fused.prediction.probabilities.values()) == pytest.approx([1 / 3, 1 / 3, 1 / 3], rel=1e-5)
    assert sum(fused.prediction.probabilities.values()) == pytest.approx(1)
    assert fused.agreement is False


def test_one_path_passes_through_and_has_no_agreement():
    fused = fusion.fuse(classification(0.7, 0.2, 0.1), None, fusion.FusionRule(abstention=LENIENT))

    assert fused.prediction.label == "A"
    assert list(fused.prediction.probabilities.values()) == pytest.approx([0.7, 0.2, 0.1], rel=1e-5)
    assert fused.agreement is None
    assert fused.indeterminate is False


def test_paths_that_name_the_same_class_agree():
    rule = fusion.FusionRule(image_weight=1.0, vessel_weight=0.5, abstention=LENIENT)

    fused = fusion.fuse(classification(0.7, 0.2, 0.1), classification(0.5, 0.3, 0.2), rule)

    assert fused.agreement is True
    assert fused.prediction.label == "A"


@pytest.mark.parametrize(
    ("image", "vessel", "expected"),
    [
        ((0.9, 0.05, 0.05), (0.1, 0.8, 0.1), True),
        ((0.9, 0.05, 0.05), (0.2, 0.6, 0.2), False),
        ((0.9, 0.05, 0.05), (0.8, 0.1, 0.1), False),
    ],
)
def test_only_paths_that_are_both_sure_of_different_classes_disagree_strongly(image, vessel, expected):
    rule = fusion.FusionRule(image_weight=1.0, vessel_weight=0.0, abstention=replace(LENIENT, disagreement=0.7))

    fused = fusion.fuse(classification(*image), classification(*vessel), rule)

    assert fused.indeterminate is expected


def test_low_confidence_is_indeterminate():
    rule = fusion.FusionRule(abstention=replace(LENIENT, min_confidence=0.5))

    fused = fusion.fuse(classification(0.45, 0.3, 0.25), None, rule)

    assert fused.confidence == pytest.approx(0.45)
    assert fused.indeterminate is True


def test_paths_with_another_class_order_are_refused():
    rule = fusion.FusionRule(image_weight=1.0, vessel_weight=1.0, abstention=LENIENT)

    with pytest.raises(BundleError):
        fusion.fuse(classification(0.5, 0.3, 0.2), classification(0.5, 0.3, 0.2, classes=("B", "A", "C")), rule)


def manifests():
    image = {
        "files": {"model.weights.h5": "aa"},
        "output": {"classes": list(CLASSES)},
        "abstention": {"min_confidence": 0.4, "frequencies": [0.5, 0.3, 0.2], "chosen": "on validation"},
    }
    vessel = {
        "fusion": {
            "image_bundle_sha256": "aa",
            "image_weight": 0.8,
            "vessel_weight": 0.3,
            "abstention": {"min_confidence": 0.5, "frequencies": [0.6, 0.2, 0.2], "disagreement": 0.7},
        }
    }
    return image, vessel


def test_rule_of_a_pair_of_bundles_is_read():
    rule = fusion.FusionRule.from_manifests(*manifests())

    assert (rule.image_weight, rule.vessel_weight) == (0.8, 0.3)
    assert rule.abstention == Abstention(min_confidence=0.5, frequencies=(0.6, 0.2, 0.2), disagreement=0.7)


def test_rule_of_the_image_bundle_alone_is_its_abstention():
    rule = fusion.FusionRule.from_manifests(manifests()[0], None)

    assert (rule.image_weight, rule.vessel_weight) == (1.0, 0.0)
    assert rule.abstention == Abstention(min_confidence=0.4, frequencies=(0.5, 0.3, 0.2))


def test_rule_fitted_with_another_image_bundle_is_refused():
    image, vessel = manifests()
    image["files"]["model.weights.h5"] = "bb"

    with pytest.raises(BundleError, match="another version"):
        fusion.FusionRule.from_manifests(image, vessel)


@pytest.mark.parametrize("frequencies", [[0.5, 0.5], [0.5, 0.5, 0.0], "often", None])
def test_rule_without_a_frequency_for_each_class_is_refused(frequencies):
    image, _ = manifests()
    image["abstention"]["frequencies"] = frequencies

    with pytest.raises(BundleError):
        fusion.FusionRule.from_manifests(image, None)


@pytest.mark.parametrize("missing", ["image_weight", "abstention", "image_bundle_sha256"])
def test_incomplete_rule_is_refused(missing):
    image, vessel = manifests()
    del vessel["fusion"][missing]

    with pytest.raises(BundleError):
        fusion.FusionRule.from_manifests(image, vessel)


def test_fitted_rule_beats_either_path_and_keeps_the_coverage():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, size=800)
    signal = np.eye(3)[truth]
    image, vessel = (softmax(signal * 1.5 + rng.normal(size=(800, 3))) for _ in range(2))

    rule = fusion.fit_fusion(image, vessel, truth, coverage=0.85)
    fused, _, indeterminate = fusion.fuse_many(image, vessel, rule)

    losses = [negative_log_likelihood(np.log(p), truth) for p in (fused, image, vessel)]
    assert losses[0] < min(losses[1:])
    assert 1 - indeterminate.mean() == pytest.approx(0.85, abs=0.03)
    assert rule.abstention.disagreement < 1


def test_table_and_single_results_are_fused_alike():
    rng = np.random.default_rng(1)
    image, vessel = rng.dirichlet(np.ones(3), size=20), rng.dirichlet(np.ones(3), size=20)
    rule = fusion.FusionRule(
        image_weight=0.7,
        vessel_weight=0.4,
        abstention=Abstention(min_confidence=0.45, frequencies=(0.5, 0.3, 0.2), disagreement=0.6),
    )

    table, confidence, indeterminate = fusion.fuse_many(image, vessel, rule)

    singles = [fusion.fuse(classification(*i), classification(*v), rule) for i, v in zip(image, vessel, strict=True)]
    assert np.asarray([list(s.prediction.probabilities.values()) for s in singles]) == pytest.approx(table, abs=1e-5)
    assert [s.confidence for s in singles] == pytest.approx(confidence, abs=1e-5)
    assert [s.indeterminate for s in singles] == indeterminate.tolist()
