import re

import pytest
from django.test import Client
from django.urls import reverse

from diagnosis import inference, retake
from diagnosis.models import Clinic, Diagnosis, DiseaseClass, Outcome, Verdict
from diagnosis.portal import advice, wording, worth
from diagnosis.services import reviews
from tests.factories import CONDITIONS, FOUR, PatientFactory, UserFactory, finished_diagnosis


def result(clinic: Clinic, **fields: object) -> Diagnosis:
    return finished_diagnosis(image__patient=PatientFactory(clinic=clinic), **fields)


def page_of(client: Client, diagnosis: Diagnosis) -> str:
    answer = client.get(reverse("portal:diagnosis", args=[diagnosis.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def probabilities_for(label: str) -> dict[str, float]:
    return {name: 0.97 if name == label else 0.01 for name in FOUR}


HEADLINES = {
    "DiabeticRetinopathy": "Diabetic retinopathy suspected",
    "Glaucoma": "Glaucoma suspect",
    "Myopia": "Pathological myopia suspected",
    "Normal": "No sign of the three conditions this model looks for",
}


@pytest.mark.parametrize("label", DiseaseClass.values)
def test_a_finding_is_suspected_and_never_a_diagnosis_with_a_percentage(
    reader: Client, clinic: Clinic, label: str
) -> None:
    diagnosis = result(clinic, prediction=label, probabilities=probabilities_for(label))

    text = re.sub(r"<[^>]+>", " ", page_of(reader, diagnosis))

    assert HEADLINES[label] in text
    assert not re.search(r"[Dd]iagnosis:\s", text)
    assert not re.search(re.escape(HEADLINES[label]) + r"\W*\d", text)


@pytest.mark.parametrize("label", DiseaseClass.values)
def test_advice_belongs_to_the_result_shown_and_to_no_other(reader: Client, clinic: Clinic, label: str) -> None:
    diagnosis = result(clinic, prediction=label, probabilities=probabilities_for(label))
    others = [advice._BY_CLASS[other] for other in DiseaseClass.values if other != label]

    text = page_of(reader, diagnosis)

    assert all(str(step) in text for step in advice._BY_CLASS[label].steps)
    assert not any(str(step) in text for other in others for step in other.steps)


@pytest.mark.parametrize("outcome", [Outcome.INDETERMINATE, Outcome.UNGRADABLE])
def test_no_disease_advice_without_a_finding(reader: Client, clinic: Clinic, outcome: str) -> None:
    diagnosis = result(clinic, outcome=outcome, prediction="", probabilities=None, image_path=None, vessel_path=None)

    text = page_of(reader, diagnosis)

    assert not any(str(step) in text for entry in advice._BY_CLASS.values() for step in entry.steps)
    assert all(str(step) in text for step in advice.for_result(diagnosis).steps)


def test_advice_follows_a_clinician_who_changed_the_finding(reader: Client, clinic: Clinic) -> None:
    diagnosis = result(clinic, prediction="Normal", probabilities=probabilities_for("Normal"))
    reviews.sign(
        diagnosis,
        acting_user=UserFactory(clinic=clinic, role="clinician"),
        verdict="change",
        label="Myopia",
        reason="x",
    )

    text = page_of(reader, diagnosis)

    assert all(str(step) in text for step in advice._BY_CLASS["Myopia"].steps)
    assert not any(str(step) in text for step in advice._BY_CLASS["Normal"].steps)
    assert "The model had said" in text


def test_every_result_says_what_it_is_who_spoke_and_who_decides(reader: Client, clinic: Clinic) -> None:
    text = page_of(reader, result(clinic))

    assert "Decision support, not a medical device. A clinician decides." in text
    assert "fundus_disease_classification" in text
    assert "1.0.0" in text
    assert "Preliminary" in text
    assert "not why" in text
    assert "An eye can have two of these conditions at once" in text


def test_both_paths_stand_side_by_side_with_all_four_probabilities(reader: Client, clinic: Clinic) -> None:
    vessel = {
        "prediction": "Normal",
        "probabilities": {"DiabeticRetinopathy": 0.11, "Glaucoma": 0.22, "Myopia": 0.27, "Normal": 0.40},
    }

    text = page_of(reader, result(clinic, vessel_path=vessel, agreement=False))

    for number in ("3 %", "81 %", "2 %", "14 %", "11 %", "22 %", "27 %", "40 %"):
        assert f">{number}<" in text
    assert "The vessel map points to another class" in text


def test_an_ungradable_photograph_names_reason_and_tip_and_no_class(signed_in: Client, clinic: Clinic) -> None:
    diagnosis = result(
        clinic,
        outcome=Outcome.UNGRADABLE,
        prediction="",
        probabilities=None,
        image_path=None,
        vessel_path=None,
        agreement=None,
        quality={"gradable": False, "score": 0.1, "reasons": ["too_dark"]},
    )

    text = page_of(signed_in, diagnosis)

    assert "Not gradable" in text
    assert "The photograph is too dark." in text
    assert "Raise the flash" in text
    assert not any(headline in text for headline in HEADLINES.values())


def test_a_photograph_unlike_the_training_ones_names_no_class_and_says_why(reader: Client, clinic: Clinic) -> None:
    quality = {"gradable": True, "score": 0.9, "reasons": [], "remarks": ["unlike_training"]}
    diagnosis = result(clinic, outcome=Outcome.INDETERMINATE, prediction="", quality=quality)

    text = page_of(reader, diagnosis)

    assert "Indeterminate" in text
    assert "unlike those that the models learnt from, so no class is named" in text
    assert "another camera or a rare condition may be the reason" in text


def test_every_reason_of_the_gate_has_words() -> None:
    codes = ["several_photographs", "not_a_fundus", "too_dark", "overexposed", "blurred", "low_contrast", "cut_off"]

    reasons = wording.quality_reasons({"gradable": False, "reasons": codes})

    assert [reason.code for reason in reasons] == codes
    assert all(reason.text != retake.UNKNOWN_REASON[0] for reason in reasons)


def test_an_unknown_reason_still_says_what_to_do() -> None:
    (reason,) = wording.quality_reasons({"gradable": False, "reasons": ["new_code"]})

    assert str(reason.tip)


def test_the_list_shows_the_clinicians_word_where_it_differs(reader: Client, clinic: Clinic) -> None:
    diagnosis = result(clinic, prediction="Normal", probabilities=probabilities_for("Normal"))
    reviews.sign(
        diagnosis,
        acting_user=UserFactory(clinic=clinic, role="clinician"),
        verdict=Verdict.CHANGE,
        label="Glaucoma",
        reason="x",
    )

    text = reader.get("/").content.decode()

    assert "tone-suspect" in text
    assert "tone-clear" not in text
    assert "the model said: No sign of the three conditions" in text


def test_each_path_marks_its_own_highest_class(reader: Client, clinic: Clinic) -> None:
    vessel = {"DiabeticRetinopathy": 0.1, "Glaucoma": 0.2, "Myopia": 0.3, "Normal": 0.4}
    diagnosis = result(clinic, vessel_path={"prediction": "Normal", "probabilities": vessel}, agreement=False)

    classes = reader.get(reverse("portal:diagnosis", args=[diagnosis.pk])).context["classes"]

    assert [row.label for row in classes if row.image.is_highest] == ["Glaucoma"]
    assert [row.label for row in classes if row.vessel.is_highest] == ["Normal"]


def test_two_suspected_conditions_are_both_named_and_both_advised_on(reader: Client, clinic: Clinic) -> None:
    both = [{**row, "statement": "suspected"} for row in CONDITIONS[:2]] + CONDITIONS[2:]

    text = page_of(reader, result(clinic, prediction="Glaucoma", conditions=both))

    assert "Glaucoma suspect, Diabetic retinopathy suspected" in text
    for name in ("Glaucoma", "DiabeticRetinopathy"):
        assert str(advice._BY_CLASS[name].steps[0]) in text
    assert str(advice._BY_CLASS["Myopia"].steps[0]) not in text


def test_an_indeterminate_result_names_what_is_not_ruled_out(reader: Client, clinic: Clinic) -> None:
    conditions = [CONDITIONS[0], {**CONDITIONS[1], "statement": "indeterminate"}, CONDITIONS[2]]

    text = page_of(reader, result(clinic, outcome=Outcome.INDETERMINATE, prediction="", conditions=conditions))

    assert "Neither suspected nor ruled out: Glaucoma." in text


def test_a_contested_no_sign_is_amber_and_is_not_advised_like_a_plain_one(reader: Client, clinic: Clinic) -> None:
    probabilities = {"DiabeticRetinopathy": 0.38, "Glaucoma": 0.03, "Myopia": 0.02, "Normal": 0.57}
    diagnosis = result(
        clinic, prediction="Normal", probabilities=probabilities, is_contested=True, agreement=False, conditions=[]
    )

    text = page_of(reader, diagnosis)

    assert wording.describe(diagnosis).tone == wording.Tone.UNSURE
    assert "“Diabetic retinopathy” comes close, with 38 %." in text
    assert "The vessel map points to another class than the photograph." in text
    assert str(advice._BY_CLASS["Normal"].steps[0]) not in text
    assert "before the patient is told that nothing was seen" in text


def test_worth_of_a_statement_is_read_from_the_bundle_that_made_it(reader: Client, clinic: Clinic) -> None:
    image = next(bundle for bundle in inference.bundles() if bundle["name"] == worth.IMAGE_BUNDLE)
    spoke = [{"name": image["name"], "version": image["version"], "sha256": image["sha256"]}]
    row = image["statement_figures"]["points"]["balanced"]["one_eye"]
    missed = round(100 * row["conditions"]["Glaucoma"]["named_no_sign"])

    text = page_of(reader, result(clinic, prediction="Normal", model_bundles=spoke))
    older = page_of(reader, result(clinic, prediction="Normal", model_bundles=[{**spoke[0], "version": "3.1.0"}]))

    assert f"of 100 with glaucoma {missed}," in text
    assert f"about {int(100 * row['npv'])} of 100 such statements are right" in text
    assert "such statements are right" not in older


def test_predictive_values_follow_the_prevalence_of_the_clinic(reader: Client) -> None:
    published, rare = (worth.table(prevalence=share)[0] for share in (None, 0.02))
    asked = reader.get(reverse("portal:models"), {"prevalence": "2"})
    refused = reader.get(reverse("portal:models"), {"prevalence": "0"})

    row = next(bundle for bundle in inference.bundles() if bundle["name"] == worth.IMAGE_BUNDLE)
    row = row["statement_figures"]["points"]["balanced"]["one_eye"]
    assert published.npv == pytest.approx(row["npv"], abs=2e-3)
    assert published.ppv == pytest.approx(row["ppv"], abs=2e-3)
    right = 0.98 * row["specificity"]
    assert rare.npv == pytest.approx(right / (right + 0.02 * row["missed"]))
    assert asked.context["worth"][0].npv == rare.npv
    assert refused.status_code == 422
