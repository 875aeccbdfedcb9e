"""What the statements amount to, and the migration that marked earlier results."""

import importlib
import tomllib

import pytest
from django.apps import apps

from diagnosis import blinding, statements
from diagnosis.models import Diagnosis, Outcome, Role
from diagnosis.portal import queues
from tests.factories import ClinicFactory, PatientFactory, UserFactory, finished_diagnosis
from tests.support import REPOSITORY

FOUR = {"DiabeticRetinopathy": 0.29, "Glaucoma": 0.02, "Myopia": 0.01, "Normal": 0.68}


@pytest.mark.parametrize(
    ("change", "agreement", "expected"),
    [
        ({}, True, False),
        ({}, None, False),
        ({}, False, True),
        ({"DiabeticRetinopathy": 0.30, "Normal": 0.67}, True, True),
    ],
)
def test_a_finding_is_contested_by_the_vessel_map_or_by_a_runner_up(change, agreement, expected) -> None:
    found = statements.is_contested(prediction="Normal", probabilities={**FOUR, **change}, agreement=agreement)

    assert found is expected


def test_a_result_without_a_class_needs_a_look_anyway_and_is_not_contested() -> None:
    assert not statements.is_contested(prediction="", probabilities=FOUR, agreement=False)
    assert not statements.is_contested(prediction="", probabilities=None, agreement=None)


def test_suspected_conditions_come_most_probable_first() -> None:
    rows = [
        {"condition": "A", "statement": "suspected", "probability": 0.7},
        {"condition": "B", "statement": "indeterminate", "probability": 0.6},
        {"condition": "C", "statement": "suspected", "probability": 0.9},
    ]

    assert statements.suspected(rows) == ["C", "A"]
    assert statements.undecided(rows) == ["B"]
    assert statements.suspected(None) == []


@pytest.mark.django_db
def test_earlier_findings_are_marked_by_the_rule_of_today() -> None:
    migration = importlib.import_module("diagnosis.migrations.0012_statements_by_condition")
    made = [
        finished_diagnosis(prediction="Normal", agreement=True, probabilities=FOUR),
        finished_diagnosis(prediction="Normal", agreement=False, probabilities=FOUR),
        finished_diagnosis(
            prediction="Normal", agreement=None, probabilities={**FOUR, "DiabeticRetinopathy": 0.3, "Normal": 0.67}
        ),
        finished_diagnosis(outcome=Outcome.INDETERMINATE, prediction="", agreement=False, probabilities=FOUR),
    ]

    migration.mark_contested(apps, None)

    marked = dict(Diagnosis.objects.values_list("pk", "is_contested"))
    for diagnosis in made:
        expected = statements.is_contested(
            prediction=diagnosis.prediction,
            probabilities=diagnosis.probabilities,
            agreement=diagnosis.agreement,
        )
        assert marked[diagnosis.pk] is expected
    assert sum(marked.values()) == 2


@pytest.mark.django_db
def test_the_contested_filter_tells_a_blind_reader_nothing() -> None:
    clinic = ClinicFactory(blind_review=True)
    reader = UserFactory(role=Role.CLINICIAN, clinic=clinic)
    technician = UserFactory(role=Role.TECHNICIAN, clinic=clinic)
    contested = finished_diagnosis(image__patient=PatientFactory(clinic=clinic), is_contested=True)
    visible = Diagnosis.objects.visible_to(reader)

    before = list(queues.filtered(visible, name="contested", user=reader))
    contested.blind_grades.create(reader=reader, label="Normal")
    after = list(queues.filtered(visible, name="contested", user=reader))

    assert before == []
    assert after == [contested]
    assert list(queues.filtered(visible, name="contested", user=technician)) == [contested]
    rows = list(visible.with_subject())
    assert blinding.veil(rows, user=UserFactory(role=Role.CLINICIAN, clinic=clinic)) == {contested.pk}
    assert (rows[0].conditions, rows[0].operating_point, rows[0].is_contested) == (None, "", False)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("templates/portal/help/index.html", "another class has {percent} % or more"),
        ("docs/api.md", "a class that is not named has a probability of {share:.2f} or more"),
    ],
)
def test_each_text_names_the_limit_from_which_a_runner_up_counts(path, words) -> None:
    text = " ".join((REPOSITORY / path).read_text(encoding="utf-8").split())

    assert words.format(percent=round(100 * statements.RUNNER_UP), share=statements.RUNNER_UP) in text


def test_the_texts_say_that_the_vessel_map_takes_no_part_as_long_as_it_takes_none() -> None:
    manifest = tomllib.loads((REPOSITORY / "ml/bundles/vessel_map_classification/bundle.toml").read_text())
    texts = [(REPOSITORY / path).read_text() for path in ("templates/portal/about.html", "docs/api.md")]

    assert (manifest["fusion"]["vessel_weight"], manifest["fusion"]["image_weight"]) == (0.0, 1.0)
    assert all("takes no part in" in text for text in texts)
