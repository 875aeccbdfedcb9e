import pytest

from diagnosis.errors import InvalidInputError, NotAllowedError, NotFoundError, StateConflictError
from diagnosis.models import AuditEvent, Diagnosis, Role, User
from diagnosis.services import execution, eyes, reviews, visits
from tests import factories
from tests.factories import ORIENTATION, ORIENTATION_OF_LEFT, DiagnosisFactory, UserFactory, finished_diagnosis

pytestmark = pytest.mark.django_db


def asked() -> Diagnosis:
    """Return a result of a photograph that is filed as the right eye and looks like a left one."""
    return finished_diagnosis(image__laterality="R", orientation=ORIENTATION_OF_LEFT, eye_asked=True)


def member(diagnosis: Diagnosis, role: str = Role.TECHNICIAN) -> User:
    return UserFactory(clinic=diagnosis.clinic, role=role)


@pytest.mark.parametrize(("eye", "expected"), [("R", False), ("L", True)])
def test_completion_asks_where_the_disc_speaks_against_the_declared_eye(eye: str, *, expected: bool) -> None:
    diagnosis = DiagnosisFactory(image__laterality=eye)
    claimed = execution.claim(diagnosis.pk)

    execution.complete(claimed, factories.fake_findings())

    diagnosis.refresh_from_db()
    assert diagnosis.orientation == ORIENTATION
    assert diagnosis.eye_asked is expected
    assert diagnosis.is_eye_in_doubt is expected


def test_completion_compares_with_the_eye_as_it_was_corrected_meanwhile() -> None:
    diagnosis = DiagnosisFactory(image__laterality="L")
    claimed = execution.claim(diagnosis.pk)
    type(diagnosis.image).objects.filter(pk=diagnosis.image_id).update(laterality="R")

    execution.complete(claimed, factories.fake_findings())

    diagnosis.refresh_from_db()
    assert diagnosis.eye_asked is False


def test_confirming_keeps_the_eye_and_who_said_so() -> None:
    diagnosis = asked()
    user = member(diagnosis)

    eyes.answer(diagnosis, acting_user=user, eye="R", declared="R")

    stored = Diagnosis.objects.select_related("image").get(pk=diagnosis.pk)
    assert (stored.image.laterality, stored.image.filed_as, stored.image.eye_answered_by) == ("R", "", user)
    assert stored.eye_asked
    assert not stored.is_eye_in_doubt
    event = AuditEvent.objects.get(action="image.eye_confirmed")
    assert (event.actor, event.details["declared"], event.details["eye"]) == (user, "R", "R")


def test_the_other_eye_corrects_the_photograph_and_leaves_a_trace() -> None:
    diagnosis = asked()
    user = member(diagnosis)

    eyes.answer(diagnosis, acting_user=user, eye="L", declared="R")

    stored = Diagnosis.objects.select_related("image").get(pk=diagnosis.pk)
    assert (stored.image.laterality, stored.image.filed_as) == ("L", "R")
    assert stored.orientation == ORIENTATION_OF_LEFT
    event = AuditEvent.objects.get(action="image.eye_corrected")
    assert (event.actor, event.details["declared"], event.details["eye"]) == (user, "R", "L")


def test_a_correction_says_the_visit_anew_and_a_confirmation_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    diagnosis = asked()
    eyes_at_that_time = []

    def restate(of: Diagnosis) -> list[object]:
        eyes_at_that_time.append(type(of.image).objects.get(pk=of.image_id).laterality)
        return []

    monkeypatch.setattr(visits, "restate", restate)

    eyes.answer(diagnosis, acting_user=member(diagnosis), eye="R", declared="R")
    eyes.answer(diagnosis, acting_user=member(diagnosis), eye="L", declared="R")

    assert eyes_at_that_time == ["L"]


def test_a_correction_can_be_taken_back() -> None:
    diagnosis = asked()
    user = member(diagnosis)
    eyes.answer(diagnosis, acting_user=user, eye="L", declared="R")

    image = eyes.answer(diagnosis, acting_user=user, eye="R", declared="L")

    assert (image.laterality, image.filed_as) == ("R", "")
    assert AuditEvent.objects.filter(action="image.eye_corrected").count() == 2


def test_only_who_may_sign_corrects_the_eye_of_a_photograph_that_was_read() -> None:
    diagnosis = asked()
    reader = member(diagnosis, Role.CLINICIAN)
    reviews.sign(diagnosis, acting_user=reader, verdict="agree")

    with pytest.raises(NotAllowedError):
        eyes.answer(diagnosis, acting_user=member(diagnosis), eye="L", declared="R")
    assert eyes.answer(diagnosis, acting_user=reader, eye="L", declared="R").laterality == "L"


def test_an_answer_to_a_page_that_is_out_of_date_changes_nothing() -> None:
    diagnosis = asked()
    user = member(diagnosis)
    eyes.answer(diagnosis, acting_user=user, eye="L", declared="R")

    with pytest.raises(StateConflictError):
        eyes.answer(diagnosis, acting_user=user, eye="L", declared="R")
    diagnosis.image.refresh_from_db()
    assert diagnosis.image.laterality == "L"


def test_what_was_not_asked_is_not_answered() -> None:
    diagnosis = finished_diagnosis()

    with pytest.raises(StateConflictError):
        eyes.answer(diagnosis, acting_user=member(diagnosis), eye="L", declared="R")


def test_nonsense_strangers_and_readers_of_other_clinics_are_refused() -> None:
    diagnosis = asked()

    with pytest.raises(InvalidInputError):
        eyes.answer(diagnosis, acting_user=member(diagnosis), eye="B", declared="R")
    with pytest.raises(NotFoundError):
        eyes.answer(diagnosis, acting_user=UserFactory(), eye="L", declared="R")
    with pytest.raises(NotAllowedError):
        eyes.answer(diagnosis, acting_user=UserFactory(clinic=diagnosis.clinic, is_active=False), eye="L", declared="R")
    diagnosis.image.refresh_from_db()
    assert (diagnosis.image.laterality, diagnosis.image.eye_answered_at) == ("R", None)
