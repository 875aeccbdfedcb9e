import numpy as np
import pytest

from ml import bundle as bundles
from ml.anatomy.laterality import rule_of
from ml.bundle import load_bundle
from ml.commands.fit_laterality import PREDICTIONS_FILE
from ml.evaluation import laterality
from ml.evaluation.laterality import ScoredEye


def eye(score: float, declared: str = "R", *, centred: bool = False) -> ScoredEye:
    return ScoredEye(source="X", label="Normal", eye=declared, group="g", fold=0, score=score, is_centred=centred)


def test_shares_are_counted_as_they_are_named() -> None:
    # Certainties 0.982, 0.953, 0.953, 0.731, 0.525.
    scored = [eye(4), eye(3, "L"), eye(3, centred=True), eye(1, "L"), eye(0.1)]

    found = laterality.figures(scored, seen_from=0.6, asked_from=0.9)

    assert [(found[name]["count"], found[name]["of"]) for name in ("seen", "right", "false_alarms", "caught")] == [
        (4, 5),
        (2, 4),
        (1, 5),
        (1, 5),
    ]


def test_interval_is_wilsons() -> None:
    # Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8), table I: 81 of 263, 0 of 20.
    assert laterality.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert laterality.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_thresholds_keep_both_goals() -> None:
    rng = np.random.default_rng(1)
    scored = [eye(float(score)) for score in rng.normal(4, 2, 2000)]

    seen_from, asked_from = laterality.thresholds(scored)

    found = laterality.figures(scored, seen_from=seen_from, asked_from=asked_from)
    assert found["seen"]["share"] >= laterality.GOALS["seen"]
    assert found["false_alarms"]["ci95"][1] <= laterality.GOALS["false_alarms"]
    assert seen_from <= asked_from < 1


def test_a_score_comes_from_a_rule_that_did_not_see_the_patient() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1, (60, 40)).astype(np.float32)
    eyes = ["R" if value else "L" for value in rng.integers(0, 2, 60)]
    folds = [index % 5 for index in range(60)]

    honest = laterality.out_of_fold(noise, eyes, folds)
    seen = noise @ laterality.fit(noise, eyes)

    truth = np.array([1 if each == "R" else -1 for each in eyes])
    assert (seen * truth > 0).mean() > (honest * truth > 0).mean() + 0.1


def test_table_survives_writing_and_reading() -> None:
    scored = [eye(1.25, "L", centred=True)]

    assert laterality.read_table(laterality.table_of(scored).decode()) == scored
    with pytest.raises(ValueError, match="no table"):
        laterality.read_table("a,b\n1,2\n")


def test_the_card_says_what_the_stored_predictions_say() -> None:
    bundle = load_bundle(bundles.default_model_dir() / bundles.LATERALITY)
    rule = rule_of(bundle)
    scored = laterality.read_table((bundle.directory / PREDICTIONS_FILE).read_text(encoding="utf-8"))

    table = laterality.by_class(scored, seen_from=rule.seen_from, asked_from=rule.asked_from)

    assert bundle.card is not None
    assert laterality.as_text(table) in bundle.card
    assert laterality.thresholds(scored) == pytest.approx((rule.seen_from, rule.asked_from))
    every = laterality.figures(scored, seen_from=rule.seen_from, asked_from=rule.asked_from)
    assert {name: every[name]["share"] for name in ("seen", "right", "false_alarms", "caught")} == pytest.approx(
        {name: bundle.manifest["metrics"][name] for name in ("seen", "right", "false_alarms", "caught")}
    )
    assert every["false_alarms"]["share"] < laterality.GOALS["false_alarms"]
