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
