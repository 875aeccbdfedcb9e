"""What the statements of a bundle are worth, by operating point: from stored predictions, no network runs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.classification import statement_fit
from ml.classification.statement_fit import PREVALENCE, Population, fellows, joined
from ml.classification.statements import NO_SIGN, NOBODY, RULED_IN, RULED_OUT, Judged, judge
from ml.evaluation.classification import Scored, percentile_interval, resamples
from ml.evaluation.predictions import Subjects

GRADES = {1: "mild", 2: "moderate", 3: "severe", 4: "proliferative"}


def out_of_fold(scored: Scored, subjects: Subjects, *, source: str) -> dict[str, dict[str, Judged]]:
    """Judge every photograph by thresholds that were fitted on ``source`` without its fold.

    Returns:
        ``one_eye`` and ``both_eyes``: operating point to statements on all photographs; with both eyes those
        without a fellow are ``NOBODY`` and undecided.
    """
    core = scored.sources == source
    fellow = fellows(subjects)
    found = {part: {point: _empty(scored) for point in statement_fit.TARGETS} for part in ("one_eye", "both_eyes")}
    for fold in np.unique(subjects.folds):
        others = core & (subjects.folds != fold)
        rule = statement_fit.fit_rule(scored.where(others), subjects.where(others))
        held = np.flatnonzero(subjects.folds == fold)
        pairs = held[fellow[held] >= 0]
        together = joined(scored.probabilities, fellow, rule.fellow_weight)
        for point in statement_fit.TARGETS:
            _put(found["one_eye"][point], held, judge(scored.probabilities[held], scored.classes, rule.points[point]))
            if rule.fellow_points:
                said = judge(together[pairs], scored.classes, rule.fellow_points[point])
                _put(found["both_eyes"][point], pairs, said)
    return found


def _empty(scored: Scored) -> Judged:
    conditions = len(scored.classes) - 1
    return Judged(
        statements=np.ones((scored.labels.size, conditions), dtype=np.int8),
        named=np.full(scored.labels.size, NOBODY, dtype=np.intp),
    )


def _put(whole: Judged, rows: NDArray[np.intp], part: Judged) -> None:
    whole.statements[rows] = part.statements
    whole.named[rows] = part.named


def measure(
    scored: Scored,
    subjects: Subjects,
    judged: Judged,
    *,
    prevalence: float = PREVALENCE,
    seed: int = 0,
    draws: int = 500,
) -> dict[str, Any]:
    """Measure statements on labelled photographs.

    Args:
        scored: Photographs of one source.
        subjects: Who they are of.
        judged: What was said of them, in the same order.
        prevalence: Share of eyes with a condition that the predictive values are given for.
        seed: Seed of the intervals.
        draws: Resamples of patient groups.

    Returns:
        ``n`` by group; ``no_sign``, ``suspected``, ``indeterminate``: shares at ``prevalence``; ``npv`` and ``ppv``:
        how often "no sign" and any suspicion are right there, with 95 % intervals; ``specificity`` and ``missed``
        (shares of healthy and of diseased eyes named no sign) from which both follow for another prevalence;
        ``conditions``, ``retinopathy_by_grade``, and ``disease_among_no_sign`` as the photographs lie.
    """
    classes = scored.classes
    population = Population.of(scored, subjects, prevalence=prevalence)
    no_sign = judged.named == classes.index(NO_SIGN)
    suspected = (judged.statements == RULED_IN).any(axis=1)

    def values(chosen: NDArray[np.intp]) -> dict[str, float]:
        part = Population.of(scored.where(chosen), subjects.where(chosen), prevalence=prevalence)
        return _predictive(part, no_sign[chosen], suspected[chosen])

    draws_of = [values(chosen) for chosen in resamples(scored.groups, seed=seed, draws=draws)]
    whole = _predictive(population, no_sign, suspected)
    sick = ~population.healthy
    return {
        "n": {
            NO_SIGN: int(population.healthy.sum()),
            **{name: int(group.sum()) for name, group in population.with_condition.items()},
            "mild": int(population.mild.sum()),
        },
        "prevalence": prevalence,
        "no_sign": _round(population.share_of(no_sign)),
        "suspected": _round(population.share_of(suspected)),
        "indeterminate": _round(population.share_of(~no_sign & ~suspected)),
        **{name: _round(value) for name, value in whole.items()},
        **{f"{name}_ci95": [_round(x) for x in percentile_interval([d[name] for d in draws_of])] for name in whole},
        "conditions": _by_condition(population, judged, classes),
        "retinopathy_by_grade": _by_grade(scored, subjects, no_sign, judged),
        "disease_among_no_sign": _round(_share(sick, no_sign)),
        "disease_in_all": _round(_share(sick, np.ones_like(sick))),
    }


def _predictive(population: Population, no_sign: NDArray[np.bool_], suspected: NDArray[np.bool_]) -> dict[str, float]:
    healthy, sick = 1 - population.diseased_share, population.diseased_share
    specificity = _share(no_sign, population.healthy)
    missed = (population.share_of(no_sign) - healthy * specificity) / sick if sick else float("nan")
    alarm = _share(suspected, population.healthy)
    found = (population.share_of(suspected) - healthy * alarm) / sick if sick else float("nan")
    return {
        "npv": _ratio(healthy * specificity, population.share_of(no_sign)),
        "ppv": _ratio(sick * found, population.share_of(suspected)),
        "specificity": specificity,
        "missed": missed,
        "found": found,
        "false_alarm": alarm,
    }


def _by_condition(population: Population, judged: Judged, classes: tuple[str, ...]) -> dict[str, Any]:
    rows = {}
    for column, (name, group) in enumerate(population.with_condition.items()):
        said = judged.statements[:, column]
        ruled_in, ruled_out = said == RULED_IN, said == RULED_OUT
        right = population.shares[name] * _share(ruled_in, group)
        rows[name] = {
            "n": int(group.sum()),
            "not_ruled_out": _round(1 - _share(ruled_out, group)),
            "suspected": _round(_share(ruled_in, group)),
            "named_no_sign": _round(_share(judged.named == classes.index(NO_SIGN), group)),
            "healthy_ruled_out": _round(_share(ruled_out, population.healthy)),
            "healthy_suspected": _round(_share(ruled_in, population.healthy)),
            "precision": _round(_ratio(right, population.share_of(ruled_in))),
        }
    return {name: row for name, row in rows.items() if row["n"]}


def _by_grade(
    scored: Scored, subjects: Subjects, no_sign: NDArray[np.bool_], judged: Judged
) -> dict[str, dict[str, Any]]:
    names = np.asarray(scored.classes)[scored.labels]
    column = [name for name in scored.classes if name != NO_SIGN].index(statement_fit.RETINOPATHY)
    rows = {}
    for grade, word in GRADES.items():
        group = (names == statement_fit.RETINOPATHY) & (subjects.grades == grade)
        if group.any():
            said = judged.statements[group, column]
            rows[word] = {
                "n": int(group.sum()),
                "suspected": _round(float((said == RULED_IN).mean())),
                "not_suspected": _round(float((said == RULED_OUT).mean())),
                "named_no_sign": _round(float(no_sign[group].mean())),
            }
    return rows


def figures(
    scored: Scored, subjects: Subjects, *, source: str, prevalence: float = PREVALENCE, draws: int = 500
) -> dict[str, Any]:
    """Return everything that is published of the statements, out of fold by patient.

    Args:
        scored: All stored predictions of a bundle, out of fold.
        subjects: Who they are of.
        source: The thresholds are fitted on it, and its rows have both eyes too.
        prevalence: As :func:`measure`.
        draws: As :func:`measure`.

    Returns:
        Operating point to ``one_eye``, ``both_eyes`` (eyes of ``source`` with a fellow), ``one_eye_of_pairs``
        (the same eyes judged alone) and ``sources``.
    """
    said = out_of_fold(scored, subjects, source=source)
    core, paired = scored.sources == source, fellows(subjects) >= 0

    def of(judged: Judged, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        part = Judged(statements=judged.statements[chosen], named=judged.named[chosen])
        return measure(scored.where(chosen), subjects.where(chosen), part, prevalence=prevalence, draws=draws)

    def point(name: str) -> dict[str, Any]:
        def one(chosen: NDArray[np.bool_]) -> dict[str, Any]:
            return of(said["one_eye"][name], chosen)

        return {
            "one_eye": one(core),
            "one_eye_of_pairs": one(core & paired),
            "both_eyes": of(said["both_eyes"][name], core & paired),
            "sources": {str(each): one(scored.sources == each) for each in np.unique(scored.sources) if each != source},
        }

    return {"source": source, "points": {name: point(name) for name in statement_fit.TARGETS}}


def _share(chosen: NDArray[np.bool_], group: NDArray[np.bool_]) -> float:
    return float(chosen[group].mean()) if group.any() else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _round(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
