import csv
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import mahalanobis

from diagnosis.demo.drawing import CameraKind, FundusSpec, draw_fundus
from ml.__main__ import main
from ml.bundle import load_bundle
from ml.classification.familiarity import (
    FAMILIARITY_FILE,
    Familiarity,
    add_to_bundle,
    fit_familiarity,
    load_familiarity,
)
from ml.classification.predict import DiseaseClassifier
from ml.contracts import Mode, Outcome, Statement
from ml.errors import BundleError
from ml.imaging.fov import find_fov
from ml.imaging.io import read_photograph
from ml.pipeline import Pipeline
from tests import corpus
from tests.ml.classification.networks import manifest, tiny_bundle


def cloud(count: int, *, seed: int, channels: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Features of two classes that vary along few directions; and the classes."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(4, channels))
    labels = np.arange(count) % 2
    rows = rng.normal(size=(count, 4)) @ mixing + 0.1 * rng.normal(size=(count, channels)) + 5 * labels[:, None]
    return rows.astype(np.float32), labels


@pytest.fixture(scope="module")
def fit() -> Familiarity:
    rows, labels = cloud(400, seed=1)
    return fit_familiarity(rows, labels, cloud(1000, seed=2)[0])


def test_distance_is_the_mahalanobis_distance_to_the_nearest_class(fit: Familiarity) -> None:
    rows, _ = cloud(6, seed=3)
    directions = fit.directions.astype(float)
    left = np.eye(24) - directions @ directions.T
    inverse = np.linalg.inv(directions @ np.diag(fit.variances) @ directions.T + fit.residual_variance * left)

    found = fit.distances(rows)

    for row, distance in zip(rows, found, strict=True):
        nearest = min(mahalanobis(row, mean, inverse) ** 2 for mean in fit.means)
        assert distance == pytest.approx(nearest, rel=1e-3)


def test_means_are_those_of_the_classes(fit: Familiarity) -> None:
    rows, labels = cloud(400, seed=1)

    assert fit.means == pytest.approx(np.stack([rows[labels == 0].mean(0), rows[labels == 1].mean(0)]), abs=1e-5)


def test_limit_leaves_the_share_wanted_and_refuses_what_is_elsewhere(fit: Familiarity) -> None:
    others, _ = cloud(1000, seed=2)
    rng = np.random.default_rng(4)
    # As long as the real ones, but in directions in which training photographs hardly vary.
    strangers = rng.normal(size=(200, 24)).astype(np.float32) * others.std() + others.mean()

    assert (fit.distances(others) > fit.limit).mean() == pytest.approx(0.005)
    assert (fit.distances(strangers) > fit.limit).mean() > 0.99
    assert fit.is_unlike(strangers[0])
    assert not fit.is_unlike(fit.means[1])


def test_too_few_photographs_are_refused() -> None:
    with pytest.raises(ValueError, match="Too few"):
        fit_familiarity(*cloud(5, seed=1), cloud(5, seed=2)[0])


def test_bundle_keeps_its_weights_and_hashes_the_fit(tmp_path, fit: Familiarity) -> None:
    before = tiny_bundle(tmp_path)

    after = add_to_bundle(before.directory, fit, about={"training_photographs": 400})

    read = load_familiarity(load_bundle(after.directory))
    assert (after.sha256, after.version) == (before.sha256, before.version)
    assert after.manifest["statements"] == before.manifest["statements"]
    assert read.limit == fit.limit
    assert (read.means == fit.means).all()
    assert add_to_bundle(after.directory, fit, about={}).manifest["files"] == after.manifest["files"]
    (after.directory / FAMILIARITY_FILE).write_bytes(b"other numbers")
    with pytest.raises(BundleError, match="SHA-256"):
        load_bundle(after.directory)


@pytest.mark.parametrize("limit", [0.0, "no number"])
def test_unusable_limit_is_refused(tmp_path, fit: Familiarity, limit) -> None:
    bundle = add_to_bundle(tiny_bundle(tmp_path).directory, fit, about={})
    bundle.manifest["familiarity"]["limit"] = limit

    with pytest.raises(BundleError, match="no usable"):
        load_familiarity(bundle)


def test_bundle_without_a_fit_calls_nothing_strange(tmp_path) -> None:
    bundle = tiny_bundle(tmp_path)

    assert load_familiarity(bundle) is None


@pytest.fixture
def photographs(tmp_path):
    """Draw twelve eyes into five folds; return the manifest."""
    rows = []
    for index in range(12):
        pixels = draw_fundus(FundusSpec(seed=40 + index, camera=CameraKind.HANDHELD))
        Image.fromarray(pixels).resize((256, 256)).save(tmp_path / f"{index}.png")
        rows.append((f"{index}.png", ("Normal", "Glaucoma")[index % 2], "X", index, 2 if index > 9 else 3))
    with (tmp_path / "manifest.csv").open("w", newline="") as stream:
        head = ("file", "class", "source_dataset", "split_group", "fold5")
        csv.writer(stream).writerows([head, *rows])
    return tmp_path / "manifest.csv"


def pipeline_of(bundle) -> Pipeline:
    fusion = {"image_bundle_sha256": bundle.sha256, "image_weight": 1.0, "vessel_weight": 0.0}
    vessel = SimpleNamespace(bundle=SimpleNamespace(manifest=manifest(fusion=fusion)))
    return Pipeline(segmenter=None, image_classifier=DiseaseClassifier(bundle), vessel_classifier=vessel)


def test_command_adds_a_fit_that_the_pipeline_obeys(tmp_path, photographs) -> None:
    training = {"sources": ["X"], "test_folds": [1], "validation_folds": [2], "validation_share": 1.0}
    bundle = tiny_bundle(tmp_path, training=training)
    image = read_photograph(corpus.png(Image.open(tmp_path / "3.png")))
    before = pipeline_of(bundle).analyse(image, Mode.CLASSIFY)

    words = ["--bundle", str(bundle.directory), "--manifest", str(photographs), "--root", str(tmp_path)]
    status = main(["fit-ood", *words])

    fitted = load_bundle(bundle.directory)
    about = fitted.manifest["familiarity"]
    assert status == 0
    assert (about["training_photographs"], about["limit_photographs"]) == (10, 2)
    familiar = pipeline_of(fitted).analyse(image, Mode.CLASSIFY)
    fitted.manifest["familiarity"]["limit"] = 1e-9
    strange = pipeline_of(fitted).analyse(image, Mode.CLASSIFY)
    assert (before.outcome, before.quality.remarks) == (Outcome.FINDING, ())
    assert (familiar.outcome, familiar.quality.remarks) == (Outcome.FINDING, ())
    assert (strange.outcome, strange.quality.remarks) == (Outcome.INDETERMINATE, ("unlike_training",))
    assert strange.quality.gradable
    assert strange.prediction == before.prediction
    assert strange.named is None
    assert {each.statement for each in strange.conditions} == {Statement.INDETERMINATE}


def test_limit_of_networks_of_folds_in_turn_is_set_on_a_fold_that_the_fitted_part_never_saw(
    tmp_path, photographs
) -> None:
    training = {
        "sources": ["X"],
        "test_folds": [],
        "validation_folds": [],
        "validation_share": 1.0,
        "folds_in_turn": [2, 3],
    }
    unchanged = {"mixing": np.eye(4).tolist(), "offsets": [0.0] * 4}
    own = {"2": unchanged, "3": unchanged}
    bundle = tiny_bundle(tmp_path, architecture="cnn+cnn", training=training, out_of_fold=own)

    words = ["--bundle", str(bundle.directory), "--manifest", str(photographs), "--root", str(tmp_path)]
    status = main(["fit-ood", *words])

    fitted = load_bundle(bundle.directory)
    about = fitted.manifest["familiarity"]
    fit = load_familiarity(fitted)
    image = read_photograph(corpus.png(Image.open(tmp_path / "3.png")))
    classifier = DiseaseClassifier(fitted)
    result = classifier.classify(image.pixels, find_fov(image.pixels))
    assert status == 0
    # Fold 2, which the first part was trained without, holds two of the twelve photographs.
    assert (about["training_photographs"], about["limit_photographs"]) == (10, 2)
    assert result.features.size == 2 * fit.means.shape[1]
    first = DiseaseClassifier(fitted, without_fold=2).classify(image.pixels, find_fov(image.pixels))
    assert classifier.is_unlike_training(result) == fit.is_unlike(first.features)
    own_distance, shared = fit.distances(np.stack([first.features, result.features[: first.features.size]]))
    assert own_distance == pytest.approx(shared, rel=1e-3)
