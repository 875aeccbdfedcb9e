"""The marks of a soak: what is painted must be read again wherever it is looked for."""

import io

import numpy as np
import pytest
from PIL import Image

from ml.imaging import io as photographs
from tests.soak import marks
from tests.soak.marks import Kind


@pytest.mark.parametrize("kind", [Kind.STUB, Kind.POISON, Kind.REAL])
@pytest.mark.parametrize("index", [0, 1, 4999, 2**marks.INDEX_BITS - 1])
def test_a_mark_survives_the_copy_that_is_stored(kind, index):
    number = marks.number_of(kind, index)

    stored = photographs.read_photograph(marks.photograph(number), declared_type="image/jpeg", file_name="a.jpg").jpeg

    assert marks.read(stored) == number
    assert marks.kind_of(number) is kind


def test_the_same_number_gives_the_same_bytes():
    assert marks.photograph(7) == marks.photograph(7)
    assert marks.photograph(7) != marks.photograph(8)


def test_a_picture_without_a_mark_is_an_error():
    buffer = io.BytesIO()
    Image.fromarray(np.full((96, 96, 3), 90, dtype=np.uint8)).save(buffer, "PNG")

    with pytest.raises(ValueError, match="no stamp"):
        marks.read(buffer.getvalue())


@pytest.mark.parametrize("name", marks.ARTIFACTS)
def test_an_artefact_tells_mark_name_and_version(name):
    origin = marks.Origin(123_456, name, 2)

    assert marks.read_artifact(marks.artifact(origin)) == origin


@pytest.mark.parametrize("number", [0, 1, 262_143, 2**20 - 1])
def test_probabilities_tell_the_mark_and_sum_to_one(number):
    found = marks.probabilities(number)

    assert marks.number_told(found) == number
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=found.__getitem__) == "DiabeticRetinopathy"


def test_errands_are_the_same_for_a_seed_and_hold_what_was_asked_for():
    plan = {"real": 3, "poison": 2, "clinics": 2, "patients": 5}

    errands = marks.errands(100, seed=4, **plan)

    kinds = [marks.kind_of(errand.number) for errand in errands]
    assert errands == marks.errands(100, seed=4, **plan)
    assert errands != marks.errands(100, seed=5, **plan)
    assert (kinds.count(Kind.REAL), kinds.count(Kind.POISON)) == (3, 2)
    assert {errand.clinic for errand in errands} == {0, 1}
    assert {errand.patient for errand in errands} == set(range(5))
    assert {errand.laterality for errand in errands} == {"L", "R"}


def test_the_stub_works_one_and_a_half_seconds_on_average():
    seconds = [marks.seconds_of_work(number) for number in range(2000)]

    assert np.mean(seconds) == pytest.approx(1.5, abs=0.05)
    assert 0.5 <= min(seconds) < max(seconds) <= 2.5


@pytest.mark.parametrize(
    ("name", "number"), [("soak-17", 17), ("soak-", None), ("17", None), ("", None), ("soak-x", None)]
)
def test_only_our_own_references_name_a_mark(name, number):
    assert marks.number_named(name) == number
    assert marks.number_named(marks.name_of(5)) == 5
