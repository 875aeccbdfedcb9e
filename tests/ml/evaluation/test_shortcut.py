import numpy as np
import pytest

from ml.classification.data import LabelledPhotograph
from ml.evaluation import predictions, shortcut
from ml.evaluation.classification import Scored


def table(labels, probabilities, *, source="S"):
    count = len(labels)
    return Scored(
        classes=("A", "B"),
        labels=np.asarray(labels),
        probabilities=np.asarray(probabilities, dtype=float),
        sources=np.asarray([source] * count),
        groups=np.asarray([f"g{index}" for index in range(count)]),
        named=np.zeros(count, dtype=int),
        ungradable=np.zeros(count, dtype=bool),
    )


def test_measures_of_a_picture_by_hand():
    pixels = np.zeros((2, 4, 3), dtype=np.uint8)
    pixels[:, 1:] = (100, 50, 20)

    assert shortcut.measure(pixels) == pytest.approx([2.0, 0.25, 100, 50, 20])


def test_measures_of_a_black_picture_are_finite():
    assert shortcut.measure(np.zeros((4, 4, 3), dtype=np.uint8)) == pytest.approx([1, 1, 0, 0, 0])


def test_audit_catches_a_set_whose_frame_tells_the_class():
    rng = np.random.default_rng(1)
    labels = np.arange(80) % 2
    shortcuts = rng.normal(size=(80, 5))
    shortcuts[:, 0] = labels + rng.normal(scale=0.05, size=80)
    guesses = rng.dirichlet((5, 5), size=80)

    row = shortcut.audit(table(labels, guesses), shortcuts, draws=50)["per_source"]["S"]

    assert row["baseline_macro_auc"] > 0.95
    assert row["model_beats_baseline"] is False


def test_audit_passes_a_model_that_reads_more_than_the_frame():
    rng = np.random.default_rng(2)
    labels = np.arange(80) % 2
    certain = np.where(labels[:, None] == np.arange(2), 0.9, 0.1)

    row = shortcut.audit(table(labels, certain), rng.normal(size=(80, 5)), draws=50)["per_source"]["S"]

    assert row["model_macro_auc"] == 1.0
    assert row["model_beats_baseline"] is True


def test_audit_has_no_row_for_a_source_with_one_class():
    result = shortcut.audit(table([0] * 30, [[0.9, 0.1]] * 30), np.zeros((30, 5)), draws=10)

    assert result["per_source"] == {}
    assert result["pooled"] is None


def test_predictions_survive_the_table_and_name_no_patient(tmp_path):
    rows = [
        LabelledPhotograph(
            file=f"S/A/patient_{index}.jpg", label="A", source="S", group=f"S/p{index}", fold=1, quality="strong"
        )
        for index in range(3)
    ]
    written = table([0, 0, 0], [[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]])
    measures = np.arange(15.0).reshape(3, 5)

    predictions.write(tmp_path / "kept.csv", rows, written, shortcuts=measures)
    keys, read, shortcuts = predictions.read(tmp_path / "kept.csv")

    assert keys == [row.key for row in rows]
    assert read.probabilities.tolist() == written.probabilities.tolist()
    assert shortcuts.tolist() == measures.tolist()
    assert "patient" not in (tmp_path / "kept.csv").read_text()
    assert "p1" not in (tmp_path / "kept.csv").read_text().replace(keys[0], "").split()
