"""Which eye a photograph shows, where its optic disc speaks against what was declared."""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from diagnosis import access, audit
from diagnosis.access import Capability
from diagnosis.errors import InvalidInputError, StateConflictError
from diagnosis.models import Diagnosis, FundusImage, Laterality, Patient, Review, User
from diagnosis.services import visits


def answer(diagnosis: Diagnosis, *, acting_user: User, eye: str, declared: str) -> FundusImage:
    """Say which eye the photograph of a diagnosis shows; the other one than was declared corrects it.

    Needs a diagnosis that asked. Leaves the photograph with who answered and when, and where it was corrected with the
    eye that had been declared; results and signatures stay as
    they are, and what the visit says of its eyes is said anew. A later answer replaces an earlier one; the
    audit trail keeps all.

    Args:
        diagnosis: That asked; its photograph is changed in memory too.
        acting_user: Needs ``diagnoses:write``; to correct a photograph that was read, ``reviews:write``.
        eye: ``R`` or ``L``, as the user sees it.
        declared: The eye that the user was shown as declared.

    Raises:
        NotAllowedError, NotFoundError: As their names say.
        InvalidInputError: It is no eye.
        StateConflictError: Nothing was asked, or somebody else has just corrected the eye.
    """
    access.require(acting_user, Capability.WRITE_DIAGNOSES)
    access.require_visible(diagnosis, acting_user)
    if eye not in Laterality.values:
        raise InvalidInputError([("eye", "invalid_choice", _("Say which eye it is: R or L."))])
    if not diagnosis.eye_asked:
        raise StateConflictError(_("Nothing speaks against the eye of this photograph."))
    with transaction.atomic():
        # A result of the same visit waits: what the visit says depends on which photographs show which eye.
        Patient.objects.select_for_update(no_key=True).filter(pk=diagnosis.patient_id).first()
        image = FundusImage.objects.select_for_update().get(pk=diagnosis.image_id)
        if image.laterality != declared:
            raise StateConflictError(_("Somebody else has corrected the eye meanwhile. Look at it again."))
        if eye != declared:
            _correct(image, acting_user=acting_user, eye=eye)
        image.eye_answered_by, image.eye_answered_at = acting_user, timezone.now()
        image.save(update_fields=["laterality", "filed_as", "eye_answered_by", "eye_answered_at"])
        stated = visits.restate(diagnosis) if eye != declared else []
        audit.record(
            "image.eye_confirmed" if eye == declared else "image.eye_corrected",
            acting_user=acting_user,
            subject=image,
            diagnosis=str(diagnosis.pk),
            declared=declared,
            eye=eye,
        )
        visits.tell(stated, cause=diagnosis)
    diagnosis.image = image
    return image


def _correct(image: FundusImage, *, acting_user: User, eye: str) -> None:
    if Review.objects.filter(diagnosis__image=image).exists():
        # A signature was given for the other eye; who may not sign cannot say what becomes of it.
        access.require(acting_user, Capability.WRITE_REVIEWS)
    filed_as = image.filed_as or image.laterality
    image.filed_as = "" if filed_as == eye else filed_as
    image.laterality = eye
