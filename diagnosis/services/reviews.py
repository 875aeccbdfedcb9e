"""The clinician's word: grade before the result is shown, keep a draft, sign, and amend by superseding."""

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from diagnosis import access, audit, blinding, readings
from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError, InvalidInputError, NotAllowedError, StateConflictError, UnseenReviewError
from diagnosis.lifecycle import Status
from diagnosis.models import BlindGrade, Diagnosis, DiseaseClass, Review, ReviewDraft, User, Verdict
from diagnosis.readings import Position, Reading, Refusal, Step
from diagnosis.webhooks import outbox

DRAFT_FIELDS = {"grade": 30, "verdict": 12, "label": 30, "reason": 500, "note": 4000}


def sign(
    diagnosis: Diagnosis,
    *,
    acting_user: User,
    verdict: str,
    label: str = "",
    reason: str = "",
    note: str = "",
    asks_second: bool = False,
    known_reviews: int | None = None,
) -> Review:
    """Sign a review; one that follows another supersedes it.

    Needs a SUCCEEDED diagnosis. ``diagnosis.readings`` says what the signature is, and whether it leaves the
    report final, amended, or preliminary because another reader or an arbiter is awaited. The signer's draft ends.

    Args:
        diagnosis: What is reviewed.
        acting_user: Needs ``reviews:write``; also ``reviews:arbitrate`` to decide between two readers.
        verdict: ``agree`` (takes the finding's class), ``change`` (needs ``label`` and ``reason``)
            or ``ungradable``.
        label: The clinician's class.
        reason: Why it was changed, or why it cannot be graded.
        note: Free text for the record.
        asks_second: Whether another person shall read it too, in a clinic where that is not the rule.
        known_reviews: How many reviews there were, or that the signer could see, when they looked. Needed to
            supersede another person's word; None says nothing of the signer's own, or of a reading that is awaited.

    Raises:
        NotAllowedError, NotFoundError: As their names say.
        InvalidInputError: The verdict does not fit its fields or the diagnosis.
        StateConflictError: The diagnosis has no result, or the signer's part is done.
        UnseenReviewError: Somebody else signed, and the signer did not say that they know.
    """
    access.require(acting_user, Capability.WRITE_REVIEWS)
    access.require_visible(diagnosis, acting_user)
    try:
        with transaction.atomic():
            # The latest review is read before the state: who signs in between collides on ``supersedes``.
            signed = list(diagnosis.reviews.all())
            current = Diagnosis.objects.select_related("clinic").get(pk=diagnosis.pk)
            if current.status != Status.SUCCEEDED:
                raise StateConflictError(_("There is no result to review yet."))
            if known_reviews is not None and known_reviews != len(signed):
                _require_hidden(current, known_reviews, acting_user=acting_user)
            label = _label(current, verdict=verdict, label=label, reason=reason)
            step = _step(current, signed, acting_user=acting_user, label=label, asks_second=asks_second)
            if known_reviews is None and _amends_another(step, signed, acting_user=acting_user):
                raise UnseenReviewError
            review = Review.objects.create(
                diagnosis=current,
                reviewer=acting_user,
                reading=step.reading,
                verdict=verdict,
                label=label,
                reason=reason,
                note=note,
                supersedes=_latest(signed),
            )
            _settle(review, step, is_first=not signed)
    except IntegrityError as error:
        raise UnseenReviewError from error
    diagnosis.report_status = step.report_status
    diagnosis.awaited_reading = step.awaited
    return review


def _require_hidden(diagnosis: Diagnosis, known_reviews: int, *, acting_user: User) -> None:
    # A second reader over the REST API knows of no first one: that word is hidden from them.
    if known_reviews != blinding.visible_reviews(diagnosis, user=acting_user).count():
        raise UnseenReviewError


def _amends_another(step: Step, signed: list[Review], *, acting_user: User) -> bool:
    latest = _latest(signed)
    is_another = latest is not None and latest.reviewer_id != acting_user.pk
    return step.reading == Reading.AMENDMENT and is_another


def _settle(review: Review, step: Step, *, is_first: bool) -> None:
    diagnosis = review.diagnosis
    Diagnosis.objects.filter(pk=diagnosis.pk).update(report_status=step.report_status, awaited_reading=step.awaited)
    ReviewDraft.objects.filter(diagnosis=diagnosis, reader=review.reviewer).delete()
    outbox.review_signed(review)
    is_correction = not is_first and step.reading in (Reading.FIRST, Reading.AMENDMENT)
    audit.record(
        "review.amended" if is_correction else "review.signed",
        acting_user=review.reviewer,
        subject=diagnosis,
        review=str(review.pk),
        reading=step.reading,
        report_status=step.report_status,
        verdict=review.verdict,
        label=review.label,
    )


def _latest(signed: list[Review]) -> Review | None:
    superseded = {review.supersedes_id for review in signed}
    return next((review for review in signed if review.pk not in superseded), None)


def position_of(diagnosis: Diagnosis, signed: list[Review], *, user: User) -> Position:
    """Return how far the reading of a diagnosis has come, for this user.

    Args:
        diagnosis: As it is now.
        signed: All of its reviews.
        user: Who may be about to sign.
    """
    return Position(
        report_status=diagnosis.report_status,
        awaited=diagnosis.awaited_reading,
        is_arbitrated=any(review.reading == Reading.ARBITRATION for review in signed),
        has_read=any(
            review.reviewer_id == user.pk and review.reading in (Reading.FIRST, Reading.SECOND) for review in signed
        ),
        is_arbiter=access.may(user, Capability.ARBITRATE_REVIEWS),
    )


def refusal(reason: Refusal) -> DiagnosisError:
    """Return the error that tells a signer why they may not sign now."""
    if reason == Refusal.NEEDS_ARBITER:
        return NotAllowedError(_("Two readers differed here. An administrator of the clinic decides."))
    return StateConflictError(_("You have read this photograph already. Another person decides."))


def _step(diagnosis: Diagnosis, signed: list[Review], *, acting_user: User, label: str, asks_second: bool) -> Step:
    latest = _latest(signed)
    step = readings.after(
        position_of(diagnosis, signed, user=acting_user),
        needs_second=asks_second or diagnosis.clinic.second_reader,
        says_the_same=latest is not None and latest.label == label,
    )
    if isinstance(step, Refusal):
        raise refusal(step)
    return step


def _label(diagnosis: Diagnosis, *, verdict: str, label: str, reason: str) -> str:
    if verdict not in Verdict.values:
        raise InvalidInputError([("verdict", "invalid_choice", _("Say agree, change or ungradable."))])
    if verdict == Verdict.UNGRADABLE:
        return ""
    if verdict == Verdict.AGREE:
        if not diagnosis.prediction:
            raise InvalidInputError([("verdict", "no_finding", _("The model named no class to agree with."))])
        return diagnosis.prediction
    problems = []
    if label not in DiseaseClass.values:
        problems.append(("label", "invalid_choice", _("Choose the class that you see.")))
    if not reason.strip():
        problems.append(("reason", "required", _("Say why you change the finding.")))
    if problems:
        raise InvalidInputError(problems)
    return label


def grade_blind(diagnosis: Diagnosis, *, acting_user: User, grade: str) -> BlindGrade:
    """Store what a reader sees before the result is shown to them. It is never changed.

    Needs a SUCCEEDED diagnosis whose result is hidden from the user. Leaves it shown to them.

    Args:
        diagnosis: What is graded.
        acting_user: Needs ``reviews:write``.
        grade: A class, or ``ungradable``.

    Raises:
        NotAllowedError, NotFoundError: As their names say.
        InvalidInputError: It is no grade.
        StateConflictError: The user sees the result already.
    """
    access.require(acting_user, Capability.WRITE_REVIEWS)
    access.require_visible(diagnosis, acting_user)
    if grade not in [*DiseaseClass.values, Verdict.UNGRADABLE]:
        raise InvalidInputError([("grade", "invalid_choice", _("Choose what you see in the photograph."))])
    label = "" if grade == Verdict.UNGRADABLE else grade
    too_late = StateConflictError(_("You have seen the result already; a grade given now would not be blind."))
    try:
        with transaction.atomic():
            current = Diagnosis.objects.select_related("clinic").get(pk=diagnosis.pk)
            if current.status != Status.SUCCEEDED:
                raise StateConflictError(_("There is no result to review yet."))
            if not blinding.veil([current], user=acting_user):
                raise too_late
            stored = BlindGrade.objects.create(diagnosis=current, reader=acting_user, label=label)
            ReviewDraft.objects.filter(diagnosis=current, reader=acting_user).update(grade="")
            audit.record("review.graded_blind", acting_user=acting_user, subject=current, label=label)
    except IntegrityError as error:
        raise too_late from error
    return stored


def save_draft(
    diagnosis: Diagnosis, *, acting_user: User, known_reviews: int, asks_second: bool = False, **texts: str
) -> ReviewDraft | None:
    """Keep what a reader has typed until they sign; only they see it.

    The first saving of a draft is audited, not every pause in typing.

    Args:
        diagnosis: What is being reviewed.
        acting_user: Needs ``reviews:write``.
        known_reviews: How many reviews there were when the page was made. When there are more by now, the draft
            belongs to a form that is out of date, perhaps to the one just signed, and is not kept.
        asks_second: Whether the box for a second reader is ticked.
        texts: ``grade``, ``verdict``, ``label``, ``reason``, ``note``, right or wrong; cut to their lengths.

    Returns:
        The draft, or None when nothing was kept: it is empty or out of date.

    Raises:
        NotAllowedError, NotFoundError: As their names say.
    """
    access.require(acting_user, Capability.WRITE_REVIEWS)
    access.require_visible(diagnosis, acting_user)
    kept = {name: texts.get(name, "")[:length] for name, length in DRAFT_FIELDS.items()}
    with transaction.atomic():
        if diagnosis.reviews.count() != known_reviews:
            return None
        if not asks_second and not any(value.strip() for value in kept.values()):
            ReviewDraft.objects.filter(diagnosis=diagnosis, reader=acting_user).delete()
            return None
        draft, is_new = ReviewDraft.objects.update_or_create(
            diagnosis=diagnosis, reader=acting_user, defaults={**kept, "asks_second": asks_second}
        )
        if is_new:
            audit.record("review.draft_saved", acting_user=acting_user, subject=diagnosis)
    return draft
