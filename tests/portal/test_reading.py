"""Reading in the portal: blind grade, reveal, draft, signature, queue, settings."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from diagnosis.models import BlindGrade, Clinic, Diagnosis, Patient, ReviewDraft, Role, User
from diagnosis.services import reviews
from tests.factories import DiagnosisFactory, PatientFactory, UserFactory, finished_diagnosis

ARTIFACTS = ("vessel_map", "vessel_overlay", "grad_cam", "grad_cam_overlay")


@pytest.fixture
def clinic(db: None) -> Clinic:
    return Clinic.objects.create(name="Blind clinic")


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    return PatientFactory(clinic=clinic)


@pytest.fixture
def diagnosis(patient: Patient) -> Diagnosis:
    return finished_diagnosis(image__patient=patient)


def route(name: str, diagnosis: Diagnosis, *more: str) -> str:
    return reverse(f"portal:{name}", args=[diagnosis.pk, *more])


def text_of(client: Client, diagnosis: Diagnosis, query: str = "") -> str:
    return client.get(route("diagnosis", diagnosis) + query).content.decode()


def inside(page: str) -> str:
    """The page less the classes that every reader may choose from, which name no result."""
    return re.sub(r'<div class="grades">.*?</div>', "", page, flags=re.DOTALL)


def test_before_the_grade_nothing_of_the_result_is_on_the_page_nor_behind_an_address(
    reader: Client, diagnosis: Diagnosis
) -> None:
    page = inside(text_of(reader, diagnosis))

    assert "What do you see?" in page
    assert route("review_grade", diagnosis) in page
    for trace in (
        "laucoma",
        "81 %",
        "0.81",
        "grad_cam",
        "vessel_map",
        "vessel_overlay",
        "1.0.0",
        route("review_sign", diagnosis),
    ):
        assert trace not in page, trace
    for name in ARTIFACTS:
        assert reader.get(route("artifact", diagnosis, name)).status_code == 404
    assert reader.get(reverse("portal:photograph", args=[diagnosis.image_id])).status_code == 200


@pytest.mark.parametrize("query", ["", "?in=card"])
def test_the_progress_partial_says_no_more_than_the_page(reader: Client, diagnosis: Diagnosis, query: str) -> None:
    text = reader.get(route("diagnosis_status", diagnosis) + query).content.decode()

    assert "laucoma" not in text


def test_another_analysis_of_the_photograph_tells_nothing_either(reader: Client, diagnosis: Diagnosis) -> None:
    finished_diagnosis(image=diagnosis.image, outcome="indeterminate", prediction="")

    assert "Indeterminate" not in text_of(reader, diagnosis)


def test_nothing_can_be_signed_before_the_grade(reader: Client, diagnosis: Diagnosis) -> None:
    answer = reader.post(route("review_sign", diagnosis), {"verdict": "agree"}, follow=True)

    assert "Grade the photograph first" in answer.content.decode()
    assert not diagnosis.reviews.exists()


@pytest.mark.parametrize(
    ("grade", "verdict", "label"),
    [("Glaucoma", "agree", ""), ("Normal", "change", "Normal"), ("ungradable", "ungradable", "")],
)
def test_the_grade_reveals_and_proposes_the_review_that_follows_from_it(
    reader: Client, clinician: User, diagnosis: Diagnosis, grade: str, verdict: str, label: str
) -> None:
    answer = reader.post(
        route("review_grade", diagnosis), {"grade": grade, "note": "pale disc", "known_reviews": "0"}, follow=True
    )

    page = answer.content.decode()
    assert "Glaucoma suspect" in page
    assert "Your grade before you saw the result" in page
    initial = answer.context["review_form"].initial
    assert (initial["verdict"], initial.get("label", ""), initial["note"]) == (verdict, label, "pale disc")
    assert BlindGrade.objects.get(reader=clinician).diagnosis == diagnosis
    assert reader.get(route("artifact", diagnosis, "grad_cam")).status_code == 200


def test_a_grade_is_given_once_and_no_grade_is_no_reveal(reader: Client, diagnosis: Diagnosis) -> None:
    empty = reader.post(route("review_grade", diagnosis), {"note": "x"})
    reader.post(route("review_grade", diagnosis), {"grade": "Normal"})
    again = reader.post(route("review_grade", diagnosis), {"grade": "Myopia"}, follow=True)
    nonsense = reader.post(route("review_grade", diagnosis), {"grade": "Flu"}, follow=True)

    assert (empty.status_code, nonsense.status_code) == (422, 200)
    assert "Choose what you see in the photograph." in empty.content.decode()
    assert "laucoma" not in inside(empty.content.decode())
    assert "You have seen the result already" in again.content.decode()
    assert BlindGrade.objects.get().label == "Normal"


def test_technicians_and_platform_administrators_see_the_result_at_once(
    client: Client, technician: User, diagnosis: Diagnosis
) -> None:
    for user in (technician, UserFactory(role=Role.PLATFORM_ADMIN, clinic=None)):
        client.force_login(user)

        assert "Glaucoma suspect" in text_of(client, diagnosis)


def test_not_gradable_needs_a_reason_here(reader: Client, diagnosis: Diagnosis) -> None:
    reader.post(route("review_grade", diagnosis), {"grade": "ungradable"})
    bare = reader.post(route("review_sign", diagnosis), {"verdict": "ungradable"})
    reader.post(route("review_sign", diagnosis), {"verdict": "ungradable", "reason": "Out of focus"})

    assert bare.status_code == 422
    assert "Say why it cannot be graded." in bare.content.decode()
    assert diagnosis.reviews.get().reason == "Out of focus"


def test_a_draft_comes_back_to_its_author_alone_and_ends_with_the_signature(
    client: Client, clinician: User, clinic: Clinic, diagnosis: Diagnosis
) -> None:
    colleague = UserFactory(clinic=clinic, role=Role.CLINICIAN)
    Clinic.objects.update(blind_review=False)
    typed = {"verdict": "change", "label": "Myopia", "reason": "tilted", "note": "half a th", "known_reviews": "0"}

    client.force_login(clinician)
    saved = client.post(route("review_draft", diagnosis), typed, headers={"hx-request": "true"})
    mine = client.get(route("diagnosis", diagnosis))
    client.force_login(colleague)
    theirs = client.get(route("diagnosis", diagnosis)).content.decode()

    assert "Draft saved" in saved.content.decode()
    form = mine.context["review_form"].initial
    assert {name: form[name] for name in ("verdict", "label", "reason", "note")} == {
        name: typed[name] for name in ("verdict", "label", "reason", "note")
    }
    assert "half a th" in mine.content.decode()
    assert "half a th" not in theirs
    client.force_login(clinician)
    client.post(route("review_sign", diagnosis), typed)
    assert not ReviewDraft.objects.exists()
    late = client.post(route("review_draft", diagnosis), typed, headers={"hx-request": "true"})
    assert "Draft saved" not in late.content.decode()
    assert not ReviewDraft.objects.exists()


@pytest.mark.parametrize("known", ["", "x", "-1", "9" * 40])
def test_a_draft_of_a_broken_form_is_not_kept(reader: Client, diagnosis: Diagnosis, known: str) -> None:
    answer = reader.post(route("review_draft", diagnosis), {"note": "x", "known_reviews": known})

    assert answer.status_code == 302
    assert not ReviewDraft.objects.exists()


def test_without_script_a_button_saves_the_draft_and_comes_back(reader: Client, diagnosis: Diagnosis) -> None:
    sent = {"grade": "Myopia", "note": "so far", "known_reviews": "0", "queue": "review"}

    answer = reader.post(route("review_draft", diagnosis), sent)
    page = reader.get(answer["Location"])

    assert answer["Location"] == route("diagnosis", diagnosis) + "?queue=review"
    assert "The draft is saved. Only you see it." in page.content.decode()
    assert page.context["grade_form"].initial["grade"] == "Myopia"


def test_the_first_submit_button_of_both_forms_saves_a_draft_so_that_enter_in_a_field_does_not_sign(
    reader: Client, diagnosis: Diagnosis
) -> None:
    blind = text_of(reader, diagnosis)
    reader.post(route("review_grade", diagnosis), {"grade": "Normal"})
    revealed = text_of(reader, diagnosis)

    for page in (blind, revealed):
        form = page[page.index("data-reading") :]
        assert f'formaction="{route("review_draft", diagnosis)}"' in form[form.index("<button") :].split(">")[0]


def test_a_form_that_is_out_of_date_signs_nothing(
    reader: Client, clinic: Clinic, clinician: User, diagnosis: Diagnosis
) -> None:
    reviews.grade_blind(diagnosis, acting_user=clinician, grade="Normal")
    reviews.sign(diagnosis, acting_user=UserFactory(clinic=clinic, role=Role.CLINICIAN), verdict="agree")

    answer = reader.post(route("review_sign", diagnosis), {"verdict": "agree", "known_reviews": "0"})

    assert answer.status_code == 422
    assert "Somebody else signed meanwhile." in answer.content.decode()
    assert diagnosis.reviews.count() == 1


def test_two_readers_and_an_arbiter(client: Client, clinic: Clinic, clinician: User, diagnosis: Diagnosis) -> None:
    Clinic.objects.update(blind_review=False)
    second, admin = UserFactory(clinic=clinic, role=Role.CLINICIAN), UserFactory(clinic=clinic, role=Role.CLINIC_ADMIN)

    def as_user(user: User, **fields: str) -> str:
        client.force_login(user)
        before = text_of(client, diagnosis)
        client.post(route("review_sign", diagnosis), fields)
        return before

    as_user(clinician, verdict="agree", asks_second="on", note="FIRST WORD")
    second_saw = as_user(second, verdict="change", label="Normal", reason="SECOND WORD")
    client.force_login(clinician)
    first_sees = text_of(client, diagnosis)
    admin_saw = as_user(admin, verdict="agree")

    assert "FIRST WORD" not in second_saw
    assert "a second reader is awaited" in second_saw
    assert "You have read this photograph already. Another person decides." in first_sees
    assert "FIRST WORD" in admin_saw
    assert "SECOND WORD" in admin_saw
    diagnosis.refresh_from_db()
    assert (diagnosis.report_status, diagnosis.reviews.count()) == ("final", 3)


class TestQueue:
    """One photograph after the other."""

    @pytest.fixture
    def three(self, clinic: Clinic) -> list[Diagnosis]:
        """Newest first, as the worklist shows them."""
        Clinic.objects.update(blind_review=False)
        return [finished_diagnosis(image__patient=PatientFactory(clinic=clinic)) for _ in range(3)][::-1]

    def test_next_and_back_follow_the_list(self, reader: Client, three: list[Diagnosis]) -> None:
        places = [reader.get(route("diagnosis", d) + "?queue=review").context["place"] for d in three]

        assert [place.back for place in places] == [None, three[0].pk, three[1].pk]
        assert [place.following for place in places] == [three[1].pk, three[2].pk, None]

    def test_signing_leads_to_the_next_and_from_the_last_to_itself(
        self, reader: Client, three: list[Diagnosis]
    ) -> None:
        targets = [
            reader.post(route("review_sign", d), {"verdict": "agree", "queue": "review"})["Location"] for d in three
        ]

        assert targets == [route("diagnosis", d) + "?queue=review" for d in (three[1], three[2], three[2])]

    def test_a_made_up_queue_is_none(self, reader: Client, three: list[Diagnosis]) -> None:
        answer = reader.get(route("diagnosis", three[0]) + '?queue="><script>')

        assert "place" not in answer.context
        assert 'queue="' not in answer.content.decode()

    def test_the_queue_of_another_clinic_is_not_entered(self, reader: Client, three: list[Diagnosis]) -> None:
        finished_diagnosis()

        assert reader.get(route("diagnosis", three[0]) + "?queue=review").context["place"].back is None


class TestSettings:
    """How a clinic reads."""

    SENT = {"second_reader": "on", "escalation_hours": "24", "operating_point": "screening"}

    def test_an_administrator_changes_the_own_clinic(self, client: Client, clinic: Clinic) -> None:
        client.force_login(UserFactory(clinic=clinic, role=Role.CLINIC_ADMIN))
        address = reverse("portal:reading_settings")

        shown = client.get(address).content.decode()
        saved = client.post(address, self.SENT, follow=True)

        assert "Grade before the result is shown" in shown
        assert "The settings are saved." in saved.content.decode()
        clinic.refresh_from_db()
        assert (clinic.blind_review, clinic.second_reader, clinic.escalation_hours) == (False, True, 24)

    def test_a_platform_administrator_chooses_a_clinic(self, client: Client, clinic: Clinic) -> None:
        client.force_login(UserFactory(role=Role.PLATFORM_ADMIN, clinic=None))
        address = reverse("portal:reading_settings")

        listed = client.get(address).content.decode()
        client.post(f"{address}?clinic={clinic.pk}", self.SENT)

        assert f"?clinic={clinic.pk}" in listed
        clinic.refresh_from_db()
        assert clinic.escalation_hours == 24
        assert client.post(address, self.SENT).status_code == 302

    def test_another_clinics_are_unknown_and_nonsense_is_refused(self, client: Client, clinic: Clinic) -> None:
        client.force_login(UserFactory(role=Role.CLINIC_ADMIN))
        address = reverse("portal:reading_settings")

        for method in (client.get, client.post):
            assert method(f"{address}?clinic={clinic.pk}").status_code == 404
        assert client.get(f"{address}?clinic=x").status_code == 400
        assert client.post(address, {"escalation_hours": "0"}).status_code == 422
        clinic.refresh_from_db()
        assert clinic.blind_review


def test_an_unfinished_diagnosis_has_neither_form(reader: Client, patient: Patient) -> None:
    answer = reader.get(route("diagnosis", DiagnosisFactory(image__patient=patient)))

    assert "grade_form" not in answer.context
    assert "review_form" not in answer.context
