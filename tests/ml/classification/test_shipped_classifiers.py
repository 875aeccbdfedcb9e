"""The classifier bundles in the repository: what they declare belongs to the weights they hold."""

import csv
import json

import numpy as np
import pytest

from ml import bundle as bundles
from ml.classification.data import CLASSES
from ml.classification.fusion import FusionRule
from ml.classification.publish import HELD_OUT_FILE, STATEMENTS_FILE
from ml.classification.statements import StatementRule
from ml.evaluation import bundle_curves, predictions, shortcut
from ml.evaluation.classification import expected_calibration_error, macro_area
from ml.evaluation.curves import classifier_curves
from ml.evaluation.statement_figures import figures
from tests.support import REPOSITORY, require, require_data

SHIPPED = REPOSITORY / "ml" / "bundles"
NAMES = (bundles.DISEASE_CLASSIFICATION, bundles.VESSEL_MAP_CLASSIFICATION)
HEADLINE_GATE = 0.85
ECE_GOAL = 0.03


@pytest.fixture(scope="module", params=NAMES)
def bundle(request):
    return bundles.load_bundle(SHIPPED / request.param)


def headline_predictions(bundle):
    _, scored, shortcuts = predictions.read(bundle.directory / HELD_OUT_FILE)
    chosen = scored.sources == bundle.manifest["metrics"]["headline_source"]
    return scored.where(chosen), shortcuts[chosen]


def test_class_order_is_stored_with_the_weights(bundle):
    assert tuple(bundle.manifest["output"]["classes"]) == CLASSES


def test_both_paths_have_their_own_weights():
    image, vessel = (bundles.load_bundle(SHIPPED / name) for name in NAMES)

    assert image.sha256 != vessel.sha256
    assert (image.manifest["input"]["kind"], vessel.manifest["input"]["kind"]) == ("photograph", "vessel_map")


def test_both_bundles_belong_together():
    image, vessel = (bundles.load_bundle(SHIPPED / name) for name in NAMES)

    rule = FusionRule.from_manifests(image.manifest, vessel.manifest)

    # The vessel path adds nothing, so both endpoints say the same of a photograph.
    assert rule == FusionRule(image_weight=1.0, vessel_weight=0.0)


def test_published_figure_follows_from_the_stored_predictions(bundle):
    scored, _ = headline_predictions(bundle)

    assert macro_area(scored.labels, scored.probabilities) == pytest.approx(
        bundle.manifest["metrics"]["macro_auc"], abs=5e-4
    )
    assert len(scored.labels) == bundle.manifest["metrics"]["n"]


def test_held_out_figure_of_the_image_path_passes_its_gate():
    image = bundles.load_bundle(SHIPPED / bundles.DISEASE_CLASSIFICATION)

    assert image.manifest["metrics"]["macro_auc"] >= HEADLINE_GATE
    assert image.manifest["metrics"]["n"] > 500


def test_probabilities_of_the_image_path_mean_what_they_say():
    image = bundles.load_bundle(SHIPPED / bundles.DISEASE_CLASSIFICATION)
    scored, _ = headline_predictions(image)

    assert expected_calibration_error(scored.labels, scored.probabilities) <= ECE_GOAL


def statement_figures():
    image = bundles.load_bundle(SHIPPED / bundles.DISEASE_CLASSIFICATION)
    return json.loads((image.directory / STATEMENTS_FILE).read_text())


def test_published_worth_of_the_statements_follows_from_the_stored_predictions():
    image = bundles.load_bundle(SHIPPED / bundles.DISEASE_CLASSIFICATION)
    table = image.directory / HELD_OUT_FILE

    again = figures(predictions.read(table)[1], predictions.read_subjects(table), source="ODIR-5K", draws=2)

    for point, published in statement_figures()["points"].items():
        for part in ("one_eye", "both_eyes"):
            for key in ("no_sign", "suspected", "npv", "ppv", "missed", "conditions", "retinopathy_by_grade"):
                assert again["points"][point][part][key] == published[part][key]


def shipped_curves(name):
    return bundle_curves.read(bundles.load_bundle(SHIPPED / name))


def test_published_curves_follow_from_the_stored_predictions():
    image = bundles.load_bundle(SHIPPED / bundles.DISEASE_CLASSIFICATION)
    published = shipped_curves(image.name)
    _, scored, _ = predictions.read(image.directory / HELD_OUT_FILE)
    subjects = predictions.read_subjects(image.directory / HELD_OUT_FILE)

    again = classifier_curves(scored, subjects, StatementRule.from_manifest(image.manifest), source="ODIR-5K", draws=2)

    for condition, row in again["roc"].items():
        assert {**row, "area_ci95": None} == {**published["roc"][condition], "area_ci95": None}
        low, high = published["roc"][condition]["area_ci95"]
        assert low < row["area"] < high
    for part in ("source", "n", "reliability", "coverage", "points"):
        assert again[part] == published[part]


def test_marked_thresholds_are_those_that_the_product_uses():
    image = bundles.load_bundle(SHIPPED / bundles.DISEASE_CLASSIFICATION)
    rule = StatementRule.from_manifest(image.manifest)

    for condition, row in shipped_curves(image.name)["roc"].items():
        for point, each in row["thresholds"].items():
            used = rule.points[point][condition]
            assert (each["rule_out"]["threshold"], each["rule_in"]["threshold"]) == (used.rule_out, used.rule_in)


@pytest.mark.parametrize("name", [bundles.DISEASE_CLASSIFICATION, bundles.VESSEL_SEGMENTATION])
def test_what_is_shown_of_a_training_was_written_down(name):
    record = shipped_curves(name)["training"]
    metrics = json.loads((SHIPPED / bundles.VESSEL_SEGMENTATION / "metrics.json").read_text())
    written = (REPOSITORY / record["source"]).read_text(encoding="utf-8")

    assert not record["is_complete"]
    if record["network"] == "same_kind":
        by_round = ", ".join(f"{value:.3f}" for _round, value in record["series"][0]["points"])
        assert by_round in written.replace("**", "")
        return
    area, dice = (each["points"] for each in record["series"])
    assert all(f"{value:.5f}" in written for _step, value in area[1:])
    assert area[-1][1] == round(metrics["validation_auc"], 5)
    assert dice[-1][1] == round(metrics["validation_dice"], 5)


def test_vessel_curves_say_of_the_threshold_what_the_card_says():
    curves = shipped_curves(bundles.VESSEL_SEGMENTATION)
    segmenter = bundles.load_bundle(SHIPPED / bundles.VESSEL_SEGMENTATION)

    assert (curves["photographs"], curves["n"]) == ("DRIVE test", 20)
    assert curves["chosen"]["threshold"] == round(segmenter.manifest["output"]["threshold"], 4)
    card = " ".join(segmenter.card.replace("**", "").split())
    assert f"this network (trained on five sets) | {curves['auc']:.4f} | {curves['chosen']['dice']:.4f}" in card
    assert f"second human observer (measured here) | | {curves['second_observer']['dice']:.4f}" in card


def test_no_sign_is_right_in_95_of_100_at_a_prevalence_of_15_percent():
    row = statement_figures()["points"]["balanced"]["one_eye"]

    assert row["prevalence"] == 0.15
    assert row["npv"] >= 0.95
    assert row["npv_ci95"][0] >= 0.93
    assert row["no_sign"] + row["suspected"] >= 0.60


def test_stored_predictions_say_which_network_had_not_seen_them():
    image = bundles.load_bundle(SHIPPED / bundles.DISEASE_CLASSIFICATION)
    subjects = predictions.read_subjects(image.directory / HELD_OUT_FILE)

    assert set(subjects.folds) == set(image.manifest["training"]["folds_in_turn"])


def test_model_beats_frame_and_colour_within_the_headline_source():
    image = bundles.load_bundle(SHIPPED / bundles.DISEASE_CLASSIFICATION)
    scored, shortcuts = headline_predictions(image)

    row = shortcut.audit(scored, shortcuts, draws=200)["per_source"]["ODIR-5K"]

    assert row["model_beats_baseline"], row


def test_stored_predictions_name_no_file_and_no_patient(bundle):
    with (bundle.directory / HELD_OUT_FILE).open(newline="") as stream:
        rows = list(csv.DictReader(stream))

    assert all(len(row["key"]) == len(row["group"]) == 16 for row in rows)
    assert "file" not in rows[0]


def test_image_weights_reproduce_the_stored_predictions():
    from ml.classification.data import load_pixels, read_manifest
    from ml.classification.predict import DiseaseClassifier

    root = require_data("fundus")
    image = bundles.load_bundle(SHIPPED / bundles.DISEASE_CLASSIFICATION)
    keys, scored, _ = predictions.read(image.directory / HELD_OUT_FILE)
    stored = dict(zip(keys, scored.probabilities, strict=True))
    rows = [row for row in read_manifest(root / "manifest.csv") if row.key in stored][::100]
    require(rows, "no held-out photograph of the bundle is in ../shared/data/fundus")
    without = {
        fold: DiseaseClassifier(image, without_fold=fold) for fold in image.manifest["training"]["folds_in_turn"]
    }

    for row in rows:
        pixels, fov, _ = load_pixels(row, root)
        result = without[row.fold].classify(pixels, fov)
        assert np.asarray(list(result.probabilities.values())) == pytest.approx(stored[row.key], abs=2e-3)
