"""Curves that bundles publish of themselves, on numbers small enough to work out by hand."""

import json
import shutil

import numpy as np
import pytest

from ml.__main__ import main
from ml.bundle import load_bundle
from ml.errors import BundleError
from ml.evaluation import bundle_curves, training_record
from ml.evaluation.curves import segmenter_curves, sensitivity_by_false_alarm
from ml.evaluation.segmentation import BINS, Counts, ProbabilityHistogram
from tests.support import REPOSITORY

VESSELS = REPOSITORY / "ml" / "bundles" / "vessel_map_classification"


def test_sensitivity_grows_with_the_false_alarms_that_are_allowed():
    sick, healthy = np.array([0.9, 0.6, 0.5, 0.1]), np.array([0.8, 0.5, 0.4, 0.2])

    found = sensitivity_by_false_alarm(sick, healthy)

    # Nothing healthy may be above: only 0.9. One of four: above 0.5 lie 0.9 and 0.6. Two of four: above 0.4, three.
    assert (found[0], found[24], found[25], found[50], found[75]) == (0.25, 0.25, 0.5, 0.75, 0.75)
    assert (len(found), found[100]) == (101, 1.0)
    assert found == sorted(found)


def test_a_tie_with_a_healthy_eye_is_a_false_alarm_and_not_found_for_free():
    assert sensitivity_by_false_alarm(np.array([0.5]), np.array([0.5]))[0] == 0.0


def histogram(*, vessel, background):
    """Count pixels of each probability, given as probability: number."""
    made = ProbabilityHistogram()
    for counts, given in ((made.vessel, vessel), (made.background, background)):
        for probability, number in given.items():
            counts[round(probability * (BINS - 1))] = number
    return made


def test_precision_by_recall_and_dice_by_threshold():
    found = segmenter_curves(
        histogram(vessel={0.9: 5, 0.3: 5}, background={0.6: 5, 0.1: 85}),
        Counts(tp=5, fp=5, fn=5, tn=85),
        second=None,
        threshold=0.5,
        photographs="two",
        n=2,
    )

    # Up to half of the vessels every marked pixel is one; for all of them 5 of 15 are not.
    assert (found["precision"][50], found["precision"][51], found["precision"][100]) == (1.0, 0.6667, 0.6667)
    # Above 0.7: 5 right, none wrong, 5 missed; above 0.5: 5 wrong besides; above 0.2: 10 right, 5 wrong.
    assert (found["dice"][70], found["dice"][50], found["dice"][20]) == (0.6667, 0.5, 0.8)
    assert found["chosen"] == {"threshold": 0.5, "precision": 0.5, "recall": 0.5, "dice": 0.5}
    assert found["second_observer"] is None


def test_a_run_is_told_with_each_network_it_trained(tmp_path):
    for fold, losses in (("fold 1", [0.9, 0.7]), ("fold 2", [0.8, 0.6])):
        (tmp_path / fold).mkdir()
        entries = [{"epoch": at, "loss": loss} for at, loss in enumerate(losses, start=1)]
        (tmp_path / fold / "history.json").write_text(json.dumps(entries))

    record = training_record.of_rounds(tmp_path)

    assert (record["network"], record["is_complete"], record["unit"]) == ("shipped", True, "round")
    assert [each["points"] for each in record["series"]] == [[[1, 0.9], [2, 0.7]], [[1, 0.8], [2, 0.6]]]


def test_a_run_that_wrote_nothing_down_has_no_record(tmp_path):
    assert training_record.of_rounds(tmp_path) is None
    assert training_record.of_steps(tmp_path / "curves.csv") is None


def test_steps_of_a_segmenter_are_read_from_its_table(tmp_path):
    table = tmp_path / "curves.csv"
    table.write_text("step,loss,validation_auc,validation_dice\n100,0.5,0.97,0.7\n200,,0.98,0.8\n")

    series = {each["measure"]: each["points"] for each in training_record.of_steps(table)["series"]}

    assert series["loss"] == [[100, 0.5]]
    assert series["validation_dice"] == [[100, 0.7], [200, 0.8]]


@pytest.mark.parametrize(
    "text", ["", "{}", '{"network": "another", "is_complete": true, "unit": "round", "series": []}']
)
def test_what_is_no_record_is_refused(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)

    with pytest.raises(BundleError, match="no record of a training"):
        training_record.read(path)


def test_publishing_keeps_weights_and_record_and_measures_the_thresholds_anew(tmp_path):
    shipped = REPOSITORY / "ml" / "bundles" / "fundus_disease_classification"
    copy = tmp_path / shipped.name
    shutil.copytree(shipped, copy)
    before = load_bundle(copy)

    status = main(["publish-curves", "--bundle", str(copy), "--bundle-version", "9.9.9"])

    after = load_bundle(copy)
    assert (status, after.version, after.sha256) == (0, "9.9.9", before.sha256)
    assert bundle_curves.read(after) == bundle_curves.read(before)
    assert after.card == before.card


def test_a_bundle_whose_predictions_name_no_eyes_has_no_curves(tmp_path, capsys):
    copy = tmp_path / VESSELS.name
    shutil.copytree(VESSELS, copy)

    assert main(["publish-curves", "--bundle", str(copy), "--bundle-version", "9.9.9"]) == 2
    assert "error:" in capsys.readouterr().err
    assert load_bundle(copy).version != "9.9.9"
