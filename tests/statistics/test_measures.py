from math import sqrt

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from diagnosis.statistics import measures
from diagnosis.statistics.measures import CalibrationBin


def test_kappa_by_hand() -> None:
    # 20 + 15 of 50 agree; chance: (25 * 30 + 25 * 20) / 2500 = 0.5.
    pairs = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}

    found = measures.kappa(pairs)

    assert found is not None
    assert (found.n, found.agreeing) == (50, 35)
    assert found.value == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert found.high - found.value == pytest.approx(1.959964 * sqrt(0.7 * 0.3 / 50) / 0.5)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_kappa_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(7)
    model = random.choice(["DiabeticRetinopathy", "Glaucoma", "Myopia", "Normal", "ungradable"], 400)
    signed = np.where(random.random(400) < 0.7, model, random.permutation(model))
    pairs = {
        (one, other): int(((model == one) & (signed == other)).sum()) for one in set(model) for other in set(signed)
    }

    found = measures.kappa(pairs)

    assert found is not None
    assert found.value == pytest.approx(cohen_kappa_score(model, signed), abs=1e-12)


def test_kappa_of_nothing_and_of_one_word_is_not_a_number() -> None:
    assert measures.kappa({}) is None

    one_word = measures.kappa({("Normal", "Normal"): 9})

    assert one_word is not None
    assert (one_word.value, one_word.low, one_word.high) == (None, None, None)
    assert one_word.agreeing == 9


def test_kappa_below_chance_is_negative_and_its_interval_stays_in_range() -> None:
    found = measures.kappa({("a", "b"): 3, ("b", "a"): 3})

    assert found is not None
    assert found.value == pytest.approx(-1)
    assert found.low == -1


def test_share_by_hand() -> None:
    # Wilson for 2 of 10, z = 1.96: 0.0567 to 0.5098 (Newcombe 1998 gives 0.057 and 0.510).
    found = measures.share(2, 10)

    assert found is not None
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.0567, abs=5e-4)
    assert found.high == pytest.approx(0.5098, abs=5e-4)


@pytest.mark.parametrize(("part", "expected"), [(0, (0.0, 0.2775)), (10, (0.7225, 1.0))])
def test_share_of_none_and_of_all_keeps_an_interval(part: int, expected: tuple[float, float]) -> None:
    found = measures.share(part, 10)

    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected, abs=5e-4)


def test_share_of_nothing_is_none() -> None:
    assert measures.share(0, 0) is None


def test_calibration_error_weighs_bins_by_their_number() -> None:
    bins = [
        CalibrationBin(low=0.5, high=0.6, mean=0.55, confirmed=measures.share(1, 1)),
        CalibrationBin(low=0.9, high=1.0, mean=0.95, confirmed=measures.share(2, 3)),
    ]

    # (1 * |0.55 - 1| + 3 * |0.95 - 2/3|) / 4
    assert measures.calibration_error(bins) == pytest.approx((0.45 + 3 * (0.95 - 2 / 3)) / 4)
    assert measures.calibration_error([]) is None
