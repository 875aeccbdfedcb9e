"""Signing and amending."""

import pytest

from diagnosis import errors
from diagnosis.models import AuditEvent, BlindGrade, Clinic, GradeChangedError, Review, ReviewDraft, Role
from diagnosis.services import reviews
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def clinician():
    return factories.UserFactory(role=Role.CLINICIAN, clinic__blind_review=True)


@pytest.fixture
def diagnosis(clinician):
    return factories.finished_diagnosis(image__patient=factories.PatientFactory(clinic=clinician.clinic))


def test_agreeing_takes_the_findings_class_and_makes_the_report_final(diagnosis, clinician):
    review = reviews.sign(diagnosis, acting_user=clinician, verdict="agree")

    diagnosis.refresh_from_db()
    assert (review.label, diagnosis.report_status) == ("Glaucoma", "final")


def test_a_second_review_supersedes_and_keeps_the_first(diagnosis, clinician):
    first = reviews.sign(diagnosis, acting_user=clinician, verdict="agree")
    second = reviews.sign(diagnosis, acting_user=clinician, verdict="change", label="Normal", reason="disc is healthy")

    diagnosis.refresh_from_db()
    assert second.supersedes == first
    assert (Review.objects.count(), diagnosis.report_status) == (2, "amended")
    assert diagnosis.prediction == "Glaucoma"


@pytest.mark.parametrize(
    "fields",
    [
        {"verdict": "perhaps"},
        {"verdict": "change", "label": "Normal"},
        {"verdict": "change", "label": "Flu", "reason": "because"},
    ],
)
def test_a_verdict_must_fit_its_fields(diagnosis, clinician, fields):
    with pytest.raises(errors.InvalidInputError):
        reviews.sign(diagnosis, acting_user=clinician, **fields)

    assert not Review.objects.exists()


def test_nobody_agrees_with_a_result_that_names_no_class(clinician):
    indeterminate = factories.finished_diagnosis(
        image__patient=factories.PatientFactory(clinic=clinician.clinic), outcome="indeterminate", prediction=""
    )

    with pytest.raises(errors.InvalidInputError):
        reviews.sign(indeterminate, acting_user=clinician, verdict="agree")


def test_a_technician_may_not_sign(diagnosis, clinician):
    technician = factories.UserFactory(clinic=clinician.clinic)

    with pytest.raises(errors.NotAllowedError):
        reviews.sign(diagnosis, acting_user=technician, verdict="agree")


def test_another_clinics_clinician_does_not_find_it(diagnosis):
    with pytest.raises(errors.NotFoundError):
        reviews.sign(diagnosis, acting_user=factories.UserFactory(role=Role.CLINICIAN), verdict="agree")


def test_an_unfinished_diagnosis_cannot_be_signed(clinician):
    waiting = factories.DiagnosisFactory(image__patient=factories.PatientFactory(clinic=clinician.clinic))

    with pytest.raises(errors.StateConflictError):
        reviews.sign(waiting, acting_user=clinician, verdict="ungradable")


def colleague(clinician, role=Role.CLINICIAN):
    return factories.UserFactory(role=role, clinic=clinician.clinic)


def state(diagnosis):
    diagnosis.refresh_from_db()
    return diagnosis.report_status, diagnosis.awaited_reading


def test_two_readers_who_say_the_same_settle_the_report(diagnosis, clinician):
    Clinic.objects.update(second_reader=True)

    first = reviews.sign(diagnosis, acting_user=clinician, verdict="agree")
    between = state(diagnosis)
    second = reviews.sign(diagnosis, acting_user=colleague(clinician), verdict="agree")

    assert between == ("preliminary", "second")
    assert state(diagnosis)[0] == "final"
    assert (first.reading, second.reading, second.supersedes) == ("first", "second", first)


def test_readers_who_differ_leave_the_last_word_to_a_third_person(diagnosis, clinician):
    admin, other_admin = (colleague(clinician, Role.CLINIC_ADMIN) for _ in range(2))
    reviews.sign(diagnosis, acting_user=clinician, verdict="agree", asks_second=True)
    reviews.sign(diagnosis, acting_user=admin, verdict="change", label="Normal", reason="no cupping")
    differing = state(diagnosis)

    with pytest.raises(errors.NotAllowedError):
        reviews.sign(diagnosis, acting_user=colleague(clinician), verdict="agree")
    for reader in (clinician, admin):
        with pytest.raises(errors.StateConflictError):
            reviews.sign(diagnosis, acting_user=reader, verdict="agree")
    word = reviews.sign(diagnosis, acting_user=other_admin, verdict="change", label="Normal", reason="agreed")

    assert differing == ("preliminary", "arbitration")
    assert (word.reading, state(diagnosis)[0], Review.objects.count()) == ("arbitration", "final", 3)
    with pytest.raises(errors.NotAllowedError):
        reviews.sign(diagnosis, acting_user=clinician, verdict="agree")


def test_the_first_reader_may_correct_the_word_that_awaits_a_second(diagnosis, clinician):
    reviews.sign(diagnosis, acting_user=clinician, verdict="agree", asks_second=True)

    corrected = reviews.sign(diagnosis, acting_user=clinician, verdict="ungradable", reason="blurred")

    assert (corrected.reading, state(diagnosis)) == ("first", ("preliminary", "second"))
    reviews.sign(diagnosis, acting_user=colleague(clinician), verdict="ungradable", reason="blurred")
    assert state(diagnosis)[0] == "final"


def test_a_form_made_before_somebody_else_signed_is_refused(diagnosis, clinician):
    reviews.sign(diagnosis, acting_user=colleague(clinician), verdict="agree", known_reviews=0)

    with pytest.raises(errors.StateConflictError):
        reviews.sign(diagnosis, acting_user=clinician, verdict="ungradable", known_reviews=0)

    assert Review.objects.count() == 1


class TestBlindGrade:
    """What is seen before the result."""

    def test_it_is_stored_beside_the_final_word_and_audited(self, diagnosis, clinician):
        grade = reviews.grade_blind(diagnosis, acting_user=clinician, grade="Normal")
        review = reviews.sign(diagnosis, acting_user=clinician, verdict="agree")

        assert (grade.label, review.label) == ("Normal", "Glaucoma")
        event = AuditEvent.objects.get(action="review.graded_blind")
        assert (event.object_id, event.details) == (str(diagnosis.pk), {"label": "Normal"})

    def test_it_cannot_be_changed_given_twice_or_removed(self, diagnosis, clinician):
        grade = reviews.grade_blind(diagnosis, acting_user=clinician, grade="ungradable")

        with pytest.raises(errors.StateConflictError):
            reviews.grade_blind(diagnosis, acting_user=clinician, grade="Normal")
        for change in (grade.save, grade.delete, BlindGrade.objects.all().delete):
            with pytest.raises(GradeChangedError):
                change()
        with pytest.raises(GradeChangedError):
            BlindGrade.objects.update(label="Normal")
        assert BlindGrade.objects.get().label == ""

    def test_it_is_refused_to_who_sees_the_result(self, diagnosis, clinician):
        reviews.sign(diagnosis, acting_user=colleague(clinician), verdict="agree")

        with pytest.raises(errors.StateConflictError):
            reviews.grade_blind(diagnosis, acting_user=clinician, grade="Normal")

        assert not BlindGrade.objects.exists()

    def test_it_needs_a_result(self, clinician):
        waiting = factories.DiagnosisFactory(image__patient=factories.PatientFactory(clinic=clinician.clinic))

        with pytest.raises(errors.StateConflictError):
            reviews.grade_blind(waiting, acting_user=clinician, grade="Normal")

    def test_it_must_be_a_grade_by_a_reader_of_the_clinic(self, diagnosis, clinician):
        technician, stranger = colleague(clinician, Role.TECHNICIAN), factories.UserFactory(role=Role.CLINICIAN)
        for user, grade, error in [
            (clinician, "Flu", errors.InvalidInputError),
            (technician, "Normal", errors.NotAllowedError),
            (stranger, "Normal", errors.NotFoundError),
        ]:
            with pytest.raises(error):
                reviews.grade_blind(diagnosis, acting_user=user, grade=grade)


class TestDraft:
    """What is typed and not signed."""

    def test_it_is_kept_as_typed_and_replaced_and_ends_with_the_signature(self, diagnosis, clinician):
        reviews.save_draft(diagnosis, acting_user=clinician, known_reviews=0, note="a pale")
        reviews.save_draft(diagnosis, acting_user=clinician, known_reviews=0, verdict="nonsense", note="a pale disc")
        draft = ReviewDraft.objects.visible_to(clinician).get()

        assert (draft.verdict, draft.note) == ("nonsense", "a pale disc")
        assert not ReviewDraft.objects.visible_to(colleague(clinician)).exists()
        assert AuditEvent.objects.filter(action="review.draft_saved").count() == 1
        reviews.sign(diagnosis, acting_user=clinician, verdict="agree")
        assert not ReviewDraft.objects.exists()

    def test_the_signature_of_another_leaves_it(self, diagnosis, clinician):
        reviews.save_draft(diagnosis, acting_user=clinician, known_reviews=0, note="mine")

        reviews.sign(diagnosis, acting_user=colleague(clinician), verdict="agree")

        assert ReviewDraft.objects.get().note == "mine"

    def test_one_that_arrives_after_the_signature_is_not_kept(self, diagnosis, clinician):
        reviews.sign(diagnosis, acting_user=clinician, verdict="agree")

        assert reviews.save_draft(diagnosis, acting_user=clinician, known_reviews=0, note="late") is None
        assert not ReviewDraft.objects.exists()

    def test_emptying_it_removes_it_and_long_text_is_cut(self, diagnosis, clinician):
        kept = reviews.save_draft(diagnosis, acting_user=clinician, known_reviews=0, note="x" * 5000)
        reviews.save_draft(diagnosis, acting_user=clinician, known_reviews=0, note=" ")

        assert len(kept.note) == 4000
        assert not ReviewDraft.objects.exists()

    def test_a_technician_and_another_clinic_keep_none(self, diagnosis, clinician):
        for user, error in [
            (colleague(clinician, Role.TECHNICIAN), errors.NotAllowedError),
            (factories.UserFactory(role=Role.CLINICIAN), errors.NotFoundError),
        ]:
            with pytest.raises(error):
                reviews.save_draft(diagnosis, acting_user=user, known_reviews=0, note="x")
