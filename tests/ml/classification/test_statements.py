"""What is said of each condition: the rule, and how its thresholds are chosen."""

from dataclasses import replace

import numpy as np
import pytest

from ml.classification import statement_fit
from ml.classification.data import CLASSES
from ml.classification.statement_fit import Population, Target, fellows, fit_thresholds
from ml.classification.statements import NOBODY, StatementRule, Thresholds, against_no_sign
from ml.contracts import Statement
from ml.errors import BundleError
from ml.evaluation.classification import Scored
from ml.evaluation.predictions import Subjects

NORMAL = CLASSES.index("Normal")


def rule(**thresholds: tuple[float, float]) -> StatementRule:
    """Return a rule with thresholds 0.4 and 0.6 but for the conditions that are named."""
    edges = {name: thresholds.get(name, (0.4, 0.6)) for name in CLASSES[:-1]}
    point = {name: Thresholds(rule_out=low, rule_in=high) for name, (low, high) in edges.items()}
    return StatementRule(
        classes=CLASSES, points={"only": point}, default="only", fellow_weight=0.5, fellow_points={"only": point}
    )


def said(*probabilities: float, **thresholds: tuple[float, float]):
    conditions, named = rule(**thresholds).statements(dict(zip(CLASSES, probabilities, strict=True)))
    return [each.statement.value for each in conditions], named


def test_each_condition_is_weighed_against_no_sign_alone() -> None:
    table = np.array([[0.2, 0.3, 0.1, 0.4], [0.0, 1.0, 0.0, 0.0]])

    # 0.2 of 0.6, 0.3 of 0.7, 0.1 of 0.5; where neither has any probability nothing is known.
    assert against_no_sign(table, CLASSES) == pytest.approx(np.array([[1 / 3, 3 / 7, 0.2], [0.5, 1.0, 0.5]]))


def test_two_conditions_are_suspected_at_once_and_the_more_probable_is_named() -> None:
    assert said(0.36, 0.44, 0.04, 0.16) == (["suspected", "suspected", "not_suspected"], "Glaucoma")


def test_no_sign_is_named_only_where_every_condition_is_ruled_out() -> None:
    assert said(0.1, 0.05, 0.05, 0.8) == (["not_suspected"] * 3, "Normal")
    # The most probable class is no sign, yet glaucoma is not ruled out: 0.3 of 0.7.
    assert said(0.2, 0.28, 0.12, 0.4, DiabeticRetinopathy=(0.4, 0.6)) == (
        ["not_suspected", "indeterminate", "not_suspected"],
        None,
    )


def test_a_suspected_condition_is_named_though_no_sign_is_more_probable() -> None:
    assert said(0.1, 0.3, 0.05, 0.55, Glaucoma=(0.1, 0.3)) == (
        ["not_suspected", "suspected", "not_suspected"],
        "Glaucoma",
    )


def test_a_suspected_condition_is_named_beside_one_that_is_undecided_and_more_probable() -> None:
    conditions, named = said(0.35, 0.2, 0.05, 0.4, DiabeticRetinopathy=(0.4, 0.9), Glaucoma=(0.1, 0.3))

    assert (conditions[:2], named) == (["indeterminate", "suspected"], "Glaucoma")


def test_thresholds_belong_to_the_side_of_caution() -> None:
    # Exactly at the lower edge the condition is not ruled out, exactly at the upper one it is suspected.
    assert said(0.25, 0.0, 0.0, 0.75, DiabeticRetinopathy=(0.25, 0.5))[0][0] == "indeterminate"
    assert said(0.5, 0.0, 0.0, 0.5, DiabeticRetinopathy=(0.25, 0.5))[0][0] == "suspected"


def test_table_and_single_eye_are_judged_alike() -> None:
    table = np.random.default_rng(0).dirichlet(np.ones(4), size=200)

    judged = rule().judge(table)

    for row, statements, named in zip(table, judged.statements, judged.named, strict=True):
        conditions, name = rule().statements(dict(zip(CLASSES, row, strict=True)))
        order = [Statement.NOT_SUSPECTED, Statement.INDETERMINATE, Statement.SUSPECTED]
        assert [order.index(each.statement) for each in conditions] == statements.tolist()
        assert (NOBODY if name is None else CLASSES.index(name)) == named


def test_an_operating_point_that_the_bundle_lacks_is_the_default() -> None:
    assert [rule().known_point(each) for each in ("only", "bold", None)] == ["only", "only", "only"]


def test_the_other_eye_counts_by_its_weight() -> None:
    own, other = (0.3, 0.1, 0.1, 0.5), (0.8, 0.05, 0.05, 0.1)
    eyes = [[dict(zip(CLASSES, each, strict=True))] for each in (own, other)]

    conditions, _ = rule().joined_statements(*eyes)
    alone, _ = rule().joined_statements(eyes[0], [])

    # Odds 0.3/0.5 times the square root of 0.8/0.1.
    odds = 0.6 * np.sqrt(8)
    assert conditions[0].probability == pytest.approx(odds / (1 + odds))
    assert alone[0].probability == pytest.approx(0.3 / 0.8)


def test_several_photographs_of_one_eye_are_joined_by_the_mean_of_their_logarithms() -> None:
    pair = [dict(zip(CLASSES, each, strict=True)) for each in ((0.4, 0.1, 0.1, 0.4), (0.1, 0.1, 0.1, 0.7))]

    conditions, _ = rule().joined_statements(pair, [])

    odds = np.sqrt(1 / 7)
    assert conditions[0].probability == pytest.approx(odds / (1 + odds))


def manifest(**changes) -> dict:
    each = {"rule_out": 0.3, "rule_in": 0.7}
    table = {"default": "only", "points": {"only": dict.fromkeys(CLASSES[:-1], each)}, **changes}
    return {"output": {"classes": list(CLASSES)}, "statements": table}


def test_rule_is_read_from_a_manifest_and_written_to_it() -> None:
    fitted = rule(Glaucoma=(0.1, 0.2))

    again = StatementRule.from_manifest({**manifest(), "statements": statement_fit.as_table(fitted)})

    assert again == replace(fitted, points=dict(fitted.points))


@pytest.mark.parametrize(
    "changes",
    [
        {"default": "another"},
        {"points": {"only": {"Glaucoma": {"rule_out": 0.1, "rule_in": 0.2}}}},
        {"points": {"only": {name: {"rule_out": 0.8, "rule_in": 0.2} for name in CLASSES[:-1]}}},
        {"points": {"only": {name: {"rule_out": float("nan"), "rule_in": 0.2} for name in CLASSES[:-1]}}},
        {"points": None},
    ],
)
def test_unusable_thresholds_are_refused(changes) -> None:
    with pytest.raises(BundleError):
        StatementRule.from_manifest(manifest(**changes))


def test_bundle_without_thresholds_or_without_no_sign_is_refused() -> None:
    with pytest.raises(BundleError):
        StatementRule.from_manifest({"output": {"classes": list(CLASSES)}})
    with pytest.raises(BundleError):
        StatementRule.from_manifest({**manifest(), "output": {"classes": [*CLASSES[:-1], "Healthy"]}})


# --- How they are chosen -------------------------------------------------------------------------


def eyes(count: int = 4000, *, seed: int = 0) -> tuple[Scored, Subjects]:
    """Return eyes, half of them healthy, whose probabilities lean towards the truth, two to a patient."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, size=count, p=[0.3, 0.1, 0.1, 0.5])
    logits = rng.normal(size=(count, 4)) + 1.5 * np.eye(4)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scored = Scored(
        classes=CLASSES,
        labels=labels,
        probabilities=probabilities,
        sources=np.full(count, "X"),
        groups=(np.arange(count) // 2).astype(str),
        named=probabilities.argmax(axis=1),
        ungradable=np.zeros(count, dtype=bool),
    )
    subjects = Subjects(
        folds=np.arange(count) // 2 % 4,
        grades=np.where(labels == 0, rng.integers(1, 5, size=count), -1),
        patients=(np.arange(count) // 2).astype(str),
        eyes=np.where(np.arange(count) % 2, "L", "R"),
    )
    return scored, subjects


def test_fitted_thresholds_keep_the_sensitivity_and_the_precision_asked_for() -> None:
    scored, subjects = eyes()
    target = Target(sensitivity=dict.fromkeys(CLASSES[:-1], 0.9), precision=dict.fromkeys(CLASSES[:-1], 0.5))

    fitted = fit_thresholds(scored, subjects, target)

    population = Population.of(scored, subjects)
    scores = against_no_sign(scored.probabilities, CLASSES)
    for column, name in enumerate(CLASSES[:-1]):
        group = population.with_condition[name]
        kept = (scores[group, column] >= fitted[name].rule_out).mean()
        assert 0.9 <= kept <= 0.9 + 2 / group.sum()
        suspected = scores[:, column] >= fitted[name].rule_in
        right = population.shares[name] * suspected[group].mean()
        assert right / population.share_of(suspected) >= 0.5
        assert fitted[name].rule_in >= fitted[name].rule_out


def test_mild_retinopathy_neither_counts_as_missed_nor_as_healthy() -> None:
    scored, subjects = eyes()

    population = Population.of(scored, subjects)

    assert not (population.with_condition["DiabeticRetinopathy"] & population.mild).any()
    assert not (population.healthy & population.mild).any()
    assert population.mild.sum() == ((scored.labels == 0) & (subjects.grades == 1)).sum() > 0


def test_population_has_the_prevalence_asked_for_in_the_mix_that_was_seen() -> None:
    scored, subjects = eyes()

    population = Population.of(scored, subjects, prevalence=0.2)

    counts = {name: int(group.sum()) for name, group in population.with_condition.items()}
    assert population.diseased_share == pytest.approx(0.2)
    assert population.shares["Glaucoma"] == pytest.approx(0.2 * counts["Glaucoma"] / sum(counts.values()))
    everybody = np.ones(scored.labels.size, dtype=bool)
    assert population.share_of(everybody) == pytest.approx(1)
    assert population.share_of(population.healthy) == pytest.approx(0.8)


def test_a_condition_that_was_never_seen_is_neither_ruled_out_nor_in() -> None:
    scored, subjects = eyes()
    without = scored.labels != 1

    fitted = fit_thresholds(scored.where(without), subjects.where(without), statement_fit.TARGETS["balanced"])

    assert fitted["Glaucoma"] == Thresholds(rule_out=0.0, rule_in=1.0)


def test_fellow_is_the_other_eye_of_the_same_patient() -> None:
    subjects = Subjects(
        folds=np.zeros(5, dtype=int),
        grades=np.zeros(5, dtype=int),
        patients=np.array(["a", "b", "a", "", ""]),
        eyes=np.array(["R", "R", "L", "R", "L"]),
    )

    assert fellows(subjects).tolist() == [2, -1, 0, -1, -1]
