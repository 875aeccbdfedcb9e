"""Figures of the statements, worked out by hand on a handful of eyes."""

import numpy as np
import pytest

from ml.classification.data import CLASSES
from ml.classification.statements import NOBODY, Judged
from ml.evaluation import statement_figures
from tests.ml.classification.test_statements import eyes

RETINOPATHY, GLAUCOMA, _, NORMAL = range(4)


def test_predictive_values_follow_from_shares_and_prevalence() -> None:
    scored, subjects = eyes(8)
    object.__setattr__(scored, "labels", np.array([3, 3, 3, 3, 0, 0, 1, 0]))
    object.__setattr__(subjects, "grades", np.array([-1, -1, -1, -1, 2, 3, -1, 1]))
    # Healthy: three named no sign, one suspected. Retinopathy: one missed, one found. Glaucoma: undecided. Mild: missed.
    named = np.array([NORMAL, NORMAL, NORMAL, RETINOPATHY, NORMAL, RETINOPATHY, NOBODY, NORMAL])
    ruled = {NORMAL: (0, 0, 0), RETINOPATHY: (2, 0, 0), NOBODY: (0, 1, 0)}
    judged = Judged(statements=np.array([ruled[int(each)] for each in named], dtype=np.int8), named=named)

    found = statement_figures.measure(scored, subjects, judged, prevalence=0.3, draws=5)

    # Of the diseased 0.3 two thirds have retinopathy. No sign: 0.7 * 3/4 healthy and 0.2 * 1/2 missed.
    assert found["no_sign"] == pytest.approx(0.525 + 0.1)
    assert found["npv"] == pytest.approx(0.525 / 0.625, abs=1e-4)
    assert found["suspected"] == pytest.approx(0.7 / 4 + 0.1)
    assert found["ppv"] == pytest.approx(0.1 / 0.275, abs=1e-4)
    assert found["indeterminate"] == pytest.approx(0.1)
    assert found["specificity"] == 0.75
    assert found["missed"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["conditions"]["DiabeticRetinopathy"]["precision"] == pytest.approx(0.1 / 0.275, abs=1e-4)
    assert found["conditions"]["Glaucoma"] == {
        "n": 1,
        "not_ruled_out": 1.0,
        "suspected": 0.0,
        "named_no_sign": 0.0,
        "healthy_ruled_out": 1.0,
        "healthy_suspected": 0.0,
        "precision": None,
    }
    assert found["retinopathy_by_grade"]["mild"] == {
        "n": 1,
        "suspected": 0.0,
        "not_suspected": 1.0,
        "named_no_sign": 1.0,
    }
    # As the photographs lie: of five that were named no sign two carry a label.
    assert found["disease_among_no_sign"] == 0.4
    assert found["n"] == {"Normal": 4, "DiabeticRetinopathy": 2, "Glaucoma": 1, "Myopia": 0, "mild": 1}


def test_every_eye_is_judged_by_thresholds_that_did_not_see_its_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    scored, subjects = eyes(400)
    fit = statement_figures.statement_fit.fit_rule
    seen = []

    def remember(part, whose):
        seen.append(set(whose.folds.tolist()))
        return fit(part, whose)

    monkeypatch.setattr(statement_figures.statement_fit, "fit_rule", remember)

    said = statement_figures.out_of_fold(scored, subjects, source="X")

    assert seen == [{0, 1, 2, 3} - {fold} for fold in range(4)]
    assert set(said) == {"one_eye", "both_eyes"}
    assert said["one_eye"]["balanced"].named.shape == (400,)


def test_both_eyes_are_measured_on_the_eyes_that_have_a_fellow() -> None:
    scored, subjects = eyes(400)
    object.__setattr__(subjects, "patients", np.where(np.arange(400) < 40, "", subjects.patients))

    found = statement_figures.figures(scored, subjects, source="X", draws=2)["points"]["balanced"]

    count = {part: sum(found[part]["n"].values()) for part in ("one_eye", "one_eye_of_pairs", "both_eyes")}
    assert count == {"one_eye": 400, "one_eye_of_pairs": 360, "both_eyes": 360}
    assert set(found["one_eye"]["n"]) == {*CLASSES, "mild"}
