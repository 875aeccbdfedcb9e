"""The clinician's word: sign, and amend by superseding."""

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from diagnosis import access, audit
from diagnosis.access import Capability
from diagnosis.errors import InvalidInputError, StateConflictError
from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models import Diagnosis, DiseaseClass, Review, User, Verdict
from diagnosis.webhooks import outbox


def sign(
    diagnosis: Diagnosis, *, acting_user: User, verdict: str, label: str = "", reason: str = "", note: str = ""
) -> Review:
    """Sign a review; a second one supersedes the first.

    Needs a SUCCEEDED diagnosis. Leaves its report final, or amended when it was signed before.

    Args:
        diagnosis: What is reviewed.
        acting_user: Needs ``reviews:write``.
        verdict: ``agree`` (takes the finding's class), ``change`` (needs ``label`` and ``reason``)
            or ``ungradable``.
        label: The clinician's class.
        reason: Why it was changed.
        note: Free text for the record.

    Raises:
        NotAllowedError, NotFoundError: As their names say.
        InvalidInputError: The verdict does not fit its fields or the diagnosis.
        StateConflictError: The diagnosis has no result, or somebody signed at the same moment.
    """
    access.require(acting_user, Capability.WRITE_REVIEWS)
    access.require_visible(diagnosis, acting_user)
    if diagnosis.status != Status.SUCCEEDED:
        raise StateConflictError(_("There is no result to review yet."))
    label = _label(diagnosis, verdict=verdict, label=label, reason=reason)
    latest = diagnosis.reviews.filter(superseded_by__isnull=True).first()
    try:
        with transaction.atomic():
            review = Review.objects.create(
                diagnosis=diagnosis,
                reviewer=acting_user,
                verdict=verdict,
                label=label,
                reason=reason,
                note=note,
                supersedes=latest,
            )
            status = ReportStatus.AMENDED if latest else ReportStatus.FINAL
            Diagnosis.objects.filter(pk=diagnosis.pk).update(report_status=status)
            outbox.review_signed(review)
            audit.record(
                "review.amended" if latest else "review.signed",
                acting_user=acting_user,
                subject=diagnosis,
                review=str(review.pk),
                verdict=verdict,
                label=label,
            )
    except IntegrityError as error:
        raise StateConflictError(_("Somebody else signed at the same moment. Reload and read their review.")) from error
    diagnosis.report_status = status
    return review


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
