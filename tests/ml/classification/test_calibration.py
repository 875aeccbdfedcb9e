import math

import numpy as np
import pytest

from ml.classification import calibration


def test_softmax_by_hand_and_without_overflow():
    assert calibration.softmax(np.log([1.0, 3.0])) == pytest.approx([0.25, 0.75])
    assert calibration.softmax(np.array([1000.0, 0.0])) == pytest.approx([1.0, 0.0])
    assert np.exp(calibration.log_softmax(np.array([-1000.0, -1000.0]))) == pytest.approx([0.5, 0.5])


def test_loss_by_hand():
    logits = np.log([[0.25, 0.75], [0.5, 0.5]])

    expected = -(math.log(0.75) + math.log(0.5)) / 2

    assert calibration.negative_log_likelihood(logits, np.array([1, 0])) == pytest.approx(expected)


def test_temperature_of_logits_that_are_twice_too_sure_is_two():
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(6000, 3)) * 2
    labels = np.array([rng.choice(3, p=row) for row in calibration.softmax(honest)])

    fitted = calibration.fit_calibration(2 * honest, labels, with_offsets=False)

    assert fitted.temperature == pytest.approx(2.0, rel=0.06)
    assert fitted.offsets.tolist() == [0, 0, 0]


def test_mixing_undoes_classes_that_were_mixed():
    rng = np.random.default_rng(2)
    honest = rng.normal(size=(6000, 3)) * 2
    labels = np.array([rng.choice(3, p=row) for row in calibration.softmax(honest)])
    mixed = honest @ np.array([[1.0, 0.4, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5]])

    fitted = calibration.fit_calibration(mixed, labels, with_mixing=True)

    plain = calibration.fit_calibration(mixed, labels)
    losses = [calibration.negative_log_likelihood(each.apply(mixed), labels) for each in (fitted, plain)]
    assert losses[0] == pytest.approx(calibration.negative_log_likelihood(honest, labels), abs=0.005)
    assert losses[1] > losses[0] + 0.01
    assert plain.mixing is None


@pytest.mark.filterwarnings("error")
def test_photographs_that_are_all_told_rightly_do_not_sharpen_without_end():
    labels = np.arange(40) % 4

    fitted = calibration.fit_calibration(np.eye(4)[labels] * 50, labels, with_mixing=True)

    assert fitted.temperature >= np.exp(-5)
    assert np.isfinite(fitted.apply(np.eye(4))).all()


@pytest.mark.parametrize("mixing", [None, np.array([[1.0, 0.2], [-0.1, 0.8]])])
def test_calibration_after_another_ends_where_it_would_have_alone(mixing):
    logits = np.random.default_rng(3).normal(size=(5, 2))
    earlier = calibration.Calibration(
        temperature=0.5, offsets=np.array([1.0, -1.0]), mixing=np.array([[2, 0.5], [0, 1]])
    )
    later = calibration.Calibration(temperature=2.0, offsets=np.array([0.3, -0.3]), mixing=mixing)

    change = later.after(earlier)

    assert change.apply(earlier.apply(logits)) == pytest.approx(later.apply(logits))


def test_offsets_undo_a_shifted_class_balance_and_sum_to_zero():
    rng = np.random.default_rng(1)
    honest = rng.normal(size=(6000, 3))
    labels = np.array([rng.choice(3, p=row) for row in calibration.softmax(honest)])

    fitted = calibration.fit_calibration(honest + np.array([1.5, 0, 0]), labels)

    assert fitted.offsets == pytest.approx([-1.0, 0.5, 0.5], abs=0.12)
    assert fitted.offsets.sum() == pytest.approx(0)


def test_abstains_on_a_low_top():
    rule = calibration.Abstention(min_confidence=0.5, frequencies=(1 / 3, 1 / 3, 1 / 3))
    probabilities = np.array([[0.7, 0.2, 0.1], [0.45, 0.3, 0.25], [0.5, 0.4, 0.1]])

    assert rule.confidence(probabilities) == pytest.approx([0.7, 0.45, 0.5])
    assert rule.is_unsure(probabilities).tolist() == [False, True, False]


def test_a_rare_class_that_is_likelier_than_usual_takes_confidence_from_a_common_one():
    rule = calibration.Abstention(min_confidence=0.5, frequencies=(0.75, 0.2, 0.05))
    usual, suspicious = np.array([0.75, 0.2, 0.05]), np.array([0.75, 0.1, 0.15])

    # Divided by the frequencies: 1, 1, 1 and 1, 0.5, 3.
    assert rule.confidence(np.stack([usual, suspicious])) == pytest.approx([1 / 3, 1 / 4.5])
    assert rule.confidence(suspicious) == pytest.approx(1 / 4.5)
    # A rare class that leads is surer than its probability.
    assert rule.confidence(np.array([0.45, 0.05, 0.5])) > 0.9


def test_rule_in_a_bundle_is_made_of_plain_numbers():
    rule = calibration.Abstention(min_confidence=0.4, frequencies=(0.5, 0.5), disagreement=0.7)

    assert rule.as_table() == {"min_confidence": 0.4, "frequencies": [0.5, 0.5], "disagreement": 0.7}
    assert "disagreement" not in calibration.Abstention(min_confidence=0.4, frequencies=(0.5, 0.5)).as_table()


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_fitted_thresholds_leave_the_coverage_asked_for(coverage):
    probabilities = np.random.default_rng(2).dirichlet(np.ones(4), size=1000)

    rule = calibration.fit_abstention(probabilities, coverage=coverage)

    assert 1 - rule.is_unsure(probabilities).mean() == pytest.approx(coverage, abs=0.005)
    assert rule.frequencies == pytest.approx(probabilities.mean(axis=0), abs=1e-4)


def test_a_class_that_the_photographs_lack_is_rare_and_not_impossible():
    probabilities = np.array([[0.6, 0.4, 0.0], [0.3, 0.7, 0.0]])

    rule = calibration.fit_abstention(probabilities, coverage=1.0)

    assert rule.frequencies[2] == 1e-4
    assert np.isfinite(rule.confidence(probabilities)).all()


def test_full_coverage_never_abstains():
    probabilities = np.random.default_rng(3).dirichlet(np.ones(4), size=100)

    assert not calibration.fit_abstention(probabilities, coverage=1.0).is_unsure(probabilities).any()
