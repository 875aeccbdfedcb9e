import numpy as np
import pytest

from ml.classification import fusion
from ml.classification.calibration import negative_log_likelihood, softmax
from ml.classification.predict import Classification
from ml.errors import BundleError

CLASSES = ("A", "B", "C")


def classification(*probabilities, classes=CLASSES):
    return Classification(
        classes=classes,
        logits=np.log(np.asarray(probabilities, dtype=np.float32)),
        probabilities=dict(zip(classes, probabilities, strict=True)),
        class_maps=np.zeros((2, 2, len(classes)), dtype=np.float32),
    )


def test_fused_probabilities_are_the_weighted_geometric_mean():
    rule = fusion.FusionRule(image_weight=1.0, vessel_weight=1.0)

    fused = fusion.fuse(classification(0.5, 0.25, 0.25), classification(0.2, 0.4, 0.4), rule)

    # 0.5 * 0.2 = 0.1 for each class, after the division by their sum 0.3.
    assert list(fused.prediction.probabilities.values()) == pytest.approx([1 / 3, 1 / 3, 1 / 3], rel=1e-5)
    assert sum(fused.prediction.probabilities.values()) == pytest.approx(1)
    assert fused.agreement is False


def test_one_path_passes_through_and_has_no_agreement():
    fused = fusion.fuse(classification(0.7, 0.2, 0.1), None, fusion.FusionRule())

    assert fused.prediction.label == "A"
    assert list(fused.prediction.probabilities.values()) == pytest.approx([0.7, 0.2, 0.1], rel=1e-5)
    assert fused.agreement is None


def test_paths_that_name_the_same_class_agree():
    rule = fusion.FusionRule(image_weight=1.0, vessel_weight=0.5)

    fused = fusion.fuse(classification(0.7, 0.2, 0.1), classification(0.5, 0.3, 0.2), rule)

    assert fused.agreement is True
    assert fused.prediction.label == "A"


def test_paths_with_another_class_order_are_refused():
    rule = fusion.FusionRule(image_weight=1.0, vessel_weight=1.0)

    with pytest.raises(BundleError):
        fusion.fuse(classification(0.5, 0.3, 0.2), classification(0.5, 0.3, 0.2, classes=("B", "A", "C")), rule)


def manifests():
    image = {
        "files": {"model.weights.h5": "aa"},
        "output": {"classes": list(CLASSES)},
    }
    vessel = {
        "fusion": {
            "image_bundle_sha256": "aa",
            "image_weight": 0.8,
            "vessel_weight": 0.3,
        }
    }
    return image, vessel


def test_rule_of_a_pair_of_bundles_is_read():
    rule = fusion.FusionRule.from_manifests(*manifests())

    assert (rule.image_weight, rule.vessel_weight) == (0.8, 0.3)


def test_image_bundle_alone_passes_through():
    rule = fusion.FusionRule.from_manifests(manifests()[0], None)

    assert (rule.image_weight, rule.vessel_weight) == (1.0, 0.0)


def test_rule_fitted_with_another_image_bundle_is_refused():
    image, vessel = manifests()
    image["files"]["model.weights.h5"] = "bb"

    with pytest.raises(BundleError, match="another version"):
        fusion.FusionRule.from_manifests(image, vessel)


@pytest.mark.parametrize("missing", ["image_weight", "vessel_weight", "image_bundle_sha256"])
def test_incomplete_rule_is_refused(missing):
    image, vessel = manifests()
    del vessel["fusion"][missing]

    with pytest.raises(BundleError):
        fusion.FusionRule.from_manifests(image, vessel)


def test_fitted_rule_beats_either_path():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, size=800)
    signal = np.eye(3)[truth]
    image, vessel = (softmax(signal * 1.5 + rng.normal(size=(800, 3))) for _ in range(2))

    rule = fusion.fit_fusion(image, vessel, truth)

    fused = fusion.fuse_many(image, vessel, rule)
    losses = [negative_log_likelihood(np.log(p), truth) for p in (fused, image, vessel)]
    assert losses[0] < min(losses[1:])


def test_a_path_that_knows_nothing_is_left_out_and_the_other_passes_through_unchanged():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, size=800)
    image = softmax(np.eye(3)[truth] * 1.5 + rng.normal(size=(800, 3)))

    rule = fusion.fit_fusion(image, rng.dirichlet(np.ones(3), size=800), truth)

    assert rule == fusion.FusionRule(image_weight=1.0, vessel_weight=0.0)
    fused = fusion.fuse(classification(*image[0]), classification(0.1, 0.1, 0.8), rule)
    assert list(fused.prediction.probabilities.values()) == pytest.approx(image[0], abs=1e-5)
    assert fused.agreement is bool(image[0].argmax() == 2)


def test_table_and_single_results_are_fused_alike():
    rng = np.random.default_rng(1)
    image, vessel = rng.dirichlet(np.ones(3), size=20), rng.dirichlet(np.ones(3), size=20)
    rule = fusion.FusionRule(image_weight=0.7, vessel_weight=0.4)

    table = fusion.fuse_many(image, vessel, rule)

    singles = [fusion.fuse(classification(*i), classification(*v), rule) for i, v in zip(image, vessel, strict=True)]
    assert np.asarray([list(s.prediction.probabilities.values()) for s in singles]) == pytest.approx(table, abs=1e-5)
