import json

import numpy as np
import pytest
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, roc_auc_score

from ml.__main__ import main
from ml.classification.data import CLASSES
from ml.evaluation import predictions
from ml.evaluation.classification import Scored, area_under_curve, reliability_bins
from ml.evaluation.classification_report import full_report, intervals, write_report
from tests.ml.classification.networks import manifest, statements

PICTURES = ("confusion_matrix.png", "roc.png", "reliability.png", "coverage_accuracy.png")


def scored(count: int = 120, *, seed: int = 0) -> Scored:
    """Two sources, three photographs to a patient, probabilities that lean towards the truth."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, size=count)
    weights = rng.random((count, 4)) + 0.6 * np.eye(4)[labels]
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    return Scored(
        classes=CLASSES,
        labels=labels,
        probabilities=probabilities,
        sources=np.where(np.arange(count) % 3 > 0, "ODIR-5K", "PALM"),
        groups=(np.arange(count) // 3).astype(str),
        named=probabilities.argmax(axis=1),
        ungradable=np.zeros(count, dtype=bool),
    )


def test_figures_are_those_of_scikit_learn() -> None:
    truth = scored()

    figures = full_report(truth, draws=5)

    predicted = truth.probabilities.argmax(axis=1)
    assert figures["confusion_matrix"] == confusion_matrix(truth.labels, predicted).tolist()
    for index, name in enumerate(CLASSES):
        expected = roc_auc_score(truth.labels == index, truth.probabilities[:, index])
        assert figures["auc"][name] == pytest.approx(expected, abs=5e-5)
    right, confidence = calibration_curve(predicted == truth.labels, truth.probabilities.max(axis=1), n_bins=15)
    assert [row["accuracy"] for row in figures["reliability"]] == pytest.approx(right)
    assert [row["confidence"] for row in figures["reliability"]] == pytest.approx(confidence)


def test_reliability_bins_by_hand() -> None:
    # Two bins: (0, 0.5] holds 0.5 (wrong); (0.5, 1] holds 0.6 (right), 0.8 (wrong) and 1.0 (right).
    labels = np.array([1, 0, 1, 0])
    probabilities = np.array([[0.5, 0.5], [0.6, 0.4], [0.8, 0.2], [1.0, 0.0]])

    first, second = reliability_bins(labels, probabilities, bins=2)

    assert first == {"confidence": 0.5, "accuracy": 0.0, "n": 1}
    assert second == {"confidence": pytest.approx(0.8), "accuracy": pytest.approx(2 / 3), "n": 3}


def test_intervals_hold_their_figures_and_resample_patients_not_photographs() -> None:
    truth = scored()
    one_patient = Scored(
        **{
            name: np.zeros(120, dtype="U1") if name == "groups" else getattr(truth, name)
            for name in truth.__dataclass_fields__
        }
    )

    found = intervals(truth, draws=200)
    figures = full_report(truth, draws=2)

    assert set(found) == {"macro_auc", *(f"auc_{name}" for name in CLASSES), "accuracy", "balanced_accuracy", "ece"}
    for key in ("macro_auc", "accuracy", "balanced_accuracy"):
        assert found[key][0] < figures[key] < found[key][1]
    # Every resample of a single patient is all of the photographs, so the interval is a point.
    for index, name in enumerate(CLASSES):
        area = area_under_curve(truth.labels == index, truth.probabilities[:, index])
        assert intervals(one_patient, draws=5)[f"auc_{name}"] == [round(area, 4)] * 2


def test_report_files_show_the_headline_source_and_list_every_source(tmp_path) -> None:
    truth = scored()
    figures = {"path": "image", "bundles": {"tiny": "0.1.0"}, **full_report(truth, draws=5)}

    write_report(tmp_path, truth, figures, headline_source="PALM")

    written = json.loads((tmp_path / "report.json").read_text())
    table = (tmp_path / "report.md").read_text()
    assert written["pictures_show"] == "PALM"
    assert "tiny 0.1.0" in table
    for source in ("ODIR-5K", "PALM"):
        row = written["per_source"][source]
        low, high = row["intervals"]["macro_auc"]
        assert f"| {source} | {row['n']} | {row['macro_auc']:.3f} [{low:.3f}, {high:.3f}] |" in table
    for name in PICTURES:
        with Image.open(tmp_path / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_report_of_a_single_class_has_no_area_and_still_draws(tmp_path) -> None:
    truth = scored()
    only = truth.where(truth.labels == 2)
    figures = {"path": "image", "bundles": {}, **full_report(only, draws=5)}

    write_report(tmp_path, only, figures, headline_source="absent")

    written = json.loads((tmp_path / "report.json").read_text())
    assert written["auc"] == {"Myopia": None}
    assert written["pictures_show"] == "all sources"
    assert all((tmp_path / name).stat().st_size for name in PICTURES)


class Row:
    """What :func:`predictions.write` reads of a photograph."""

    def __init__(self, index: int, truth: Scored) -> None:
        self.key, self.group = f"k{index}", str(truth.groups[index])
        self.source, self.label = str(truth.sources[index]), CLASSES[truth.labels[index]]
        self.fold, self.grade, self.patient, self.eye = index % 4, None, f"p{index // 2}", "RL"[index % 2]


@pytest.fixture
def model_dir(tmp_path):
    """Write both classifier bundles without networks: weights that are never opened, and predictions."""
    from ml.bundle import write_bundle

    image_rows, vessel_rows = (scored(seed=seed) for seed in (0, 0))
    tables = {}
    for name, truth, kept in (("image", image_rows, range(120)), ("vessel", vessel_rows, range(30, 120))):
        rows = list(kept)
        tables[name] = tmp_path / f"{name}.csv"
        shown = [Row(index, truth) for index in rows]
        predictions.write(tables[name], shown, truth.where(np.asarray(rows)), shortcuts=np.ones((len(rows), 5)))
    files = {"model.weights.h5": b"numbers"}
    image = write_bundle(
        tmp_path / "fundus_disease_classification",
        manifest(statements=statements(0.4, 0.6)),
        {**files, "held_out_predictions.csv": tables["image"]},
    )
    fusion = {"image_bundle_sha256": image.sha256, "image_weight": 1.0, "vessel_weight": 1.0}
    write_bundle(
        tmp_path / "vessel_map_classification",
        manifest(name="vessel_map_classification", fusion=fusion),
        {**files, "held_out_predictions.csv": tables["vessel"]},
    )
    return tmp_path


def evaluate(*words: str) -> int:
    return main(["evaluate-classifier", *words, "--draws", "5"])


def test_stored_predictions_are_scored_without_a_network(model_dir, tmp_path) -> None:
    out = tmp_path / "report"

    status = evaluate("--stored", "--bundles", str(model_dir), "--out", str(out))

    figures = json.loads((out / "report.json").read_text())
    truth = scored()
    against = truth.probabilities[:, :3] / (truth.probabilities[:, :3] + truth.probabilities[:, 3:])
    sure = (against >= 0.6).any(axis=1) | (against < 0.4).all(axis=1)
    assert status == 0
    assert (figures["n"], figures["stored"]) == (120, True)
    assert figures["bundles"] == {"fundus_disease_classification": "0.0.1"}
    assert figures["coverage"] == pytest.approx(sure.mean(), abs=1e-4)
    suspected = np.where(against >= 0.6, truth.probabilities[:, :3], 0)
    named = np.where((against < 0.4).all(axis=1), 3, suspected.argmax(axis=1))
    assert figures["covered_accuracy"] == pytest.approx((named == truth.labels)[sure].mean(), abs=1e-4)


def test_named_table_is_scored_and_narrowed_to_a_source(model_dir, tmp_path) -> None:
    out = tmp_path / "figures.json"

    evaluate(
        "--stored", str(tmp_path / "vessel.csv"), "--source", "PALM", "--bundles", str(model_dir), "--json", str(out)
    )

    assert json.loads(out.read_text())["per_source"].keys() == {"PALM"}


def test_stored_paths_are_fused_on_the_photographs_they_share(model_dir, tmp_path) -> None:
    out = tmp_path / "figures.json"

    status = evaluate("--stored", "--path", "fused", "--bundles", str(model_dir), "--json", str(out))

    figures = json.loads(out.read_text())
    truth = scored().where(np.arange(30, 120))
    # Both paths say the same with equal weight, so the classes stay in order and the probabilities are squared.
    squared = truth.probabilities**2
    squared /= squared.sum(axis=1, keepdims=True)
    assert status == 0
    assert figures["n"] == 90
    assert figures["auc"]["Normal"] == pytest.approx(roc_auc_score(truth.labels == 3, squared[:, 3]), abs=1e-3)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "either --manifest"),
        (["--manifest", "m.csv"], "either --manifest"),
        (["--manifest", "m.csv", "--root", ".", "--stored"], "either --manifest"),
        (["--stored", "--fold", "1"], "knows neither"),
        (["--stored", "one.csv", "--path", "fused"], "both bundles"),
        (["--stored", "--source", "absent"], "no photograph"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(model_dir, capsys, words, complaint) -> None:
    assert evaluate(*words, "--bundles", str(model_dir)) == 1
    assert complaint in capsys.readouterr().err
