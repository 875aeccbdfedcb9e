"""The made-up patients: plainly fictional, varied, and never two alike."""

import unicodedata

from diagnosis.demo.people import PATIENTS
from diagnosis.demo.specs import CameraKind, Condition, Defect

SCRIPTS = ("LATIN", "CYRILLIC", "ARABIC", "GREEK", "CJK", "DEVANAGARI")


def photographs():
    return [photograph for patient in PATIENTS for photograph in patient.photographs()]


def test_there_are_a_dozen_patients_with_fictional_numbers_of_their_own():
    numbers = [patient.mrn for patient in PATIENTS]

    assert len(set(numbers)) == len(numbers) >= 12
    assert numbers[0] == "DEMO-0001"
    assert all(number.startswith("DEMO-") for number in numbers)


def test_everybody_has_several_visits_with_both_eyes():
    for patient in PATIENTS:
        eyes = [photograph.spec.laterality for photograph in patient.photographs()]
        assert len(patient.visits) >= 2
        assert eyes == ["R", "L"] * len(patient.visits)


def test_names_come_from_several_scripts():
    names = "".join(patient.family_name + patient.given_name for patient in PATIENTS)
    found = {script for script in SCRIPTS if any(unicodedata.name(letter).startswith(script) for letter in names)}

    assert found == set(SCRIPTS)


def test_visits_run_forward_in_time_and_the_eye_stays_the_same():
    for patient in PATIENTS:
        times = [photograph.captured_at for photograph in patient.photographs()]
        assert times == sorted(times)
        assert len({photograph.spec.seed for photograph in patient.photographs()}) == 1


def test_keys_and_drawings_are_unique_and_hold_no_name():
    keys = [photograph.key for photograph in photographs()]

    assert len(set(keys)) == len(keys)
    assert len({photograph.spec for photograph in photographs()}) == len(keys)
    assert not any(patient.family_name in key for patient in PATIENTS for key in keys)


def test_every_condition_defect_and_camera_occurs():
    specs = [photograph.spec for photograph in photographs()]

    assert {spec.condition for spec in specs} == set(Condition)
    assert {spec.defect for spec in specs} == set(Defect)
    assert {spec.camera for spec in specs} == set(CameraKind)


def test_the_first_four_are_a_small_demo_with_every_condition_and_some_bad_pictures():
    few = [photograph for patient in PATIENTS[:4] for photograph in patient.photographs()]

    assert 12 <= len(few) <= 16
    assert {photograph.spec.condition for photograph in few} == set(Condition)
    assert 3 <= sum(photograph.is_meant_ungradable for photograph in few) < len(few) / 2
