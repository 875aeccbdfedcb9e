"""Errors that a user is told about: a stable code, an HTTP status, a sentence to act on."""

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class DiagnosisError(Exception):
    """Base of every refusal.

    Attributes:
        code: Stable name, part of the REST contract.
        status: HTTP status that the REST API answers with.
        message: A sentence for the user; holds nothing personal.
        field: Name of the input it is about, if there is one.
        retry_after: Seconds after which trying again makes sense, if it does.
    """

    code = "internal"
    status = 400
    message: "StrOrPromise" = _("The request cannot be carried out.")
    field: str | None = None
    retry_after: int | None = None

    def __init__(
        self,
        message: "StrOrPromise | None" = None,
        *,
        code: str | None = None,
        status: int | None = None,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.message = message or self.message
        self.code = code or self.code
        self.status = status or self.status
        self.field = field or self.field
        self.retry_after = retry_after or self.retry_after
        super().__init__(self.code)


class RefusedImageError(DiagnosisError):
    """The uploaded bytes are not accepted; ``code`` says why."""

    status = 422
    field = "image"
    code = "image_undecodable"

    STATUS_BY_CODE = {
        "file_missing": 400,
        "file_empty": 400,
        "file_too_large": 413,
        "file_type_unsupported": 415,
    }
    MESSAGE_BY_CODE = {
        "file_missing": _("No photograph was sent. Choose a file and send it again."),
        "file_empty": _("The file is empty. Export the photograph again and send the new file."),
        "file_too_large": _("The file is larger than 25 MB. Send a smaller export of the photograph."),
        "file_type_unsupported": _(
            "The file is not a JPEG, PNG or DICOM photograph, or is compressed in a way that is not supported. "
            "Export the photograph as JPEG."
        ),
        "file_type_mismatch": _("Name, declared type and content of the file disagree. Export the photograph again."),
        "image_truncated": _("The file ends before the picture does. Send the complete file."),
        "image_undecodable": _("The picture cannot be decoded. Export the photograph again."),
        "image_too_many_pixels": _("The picture has more than 40 million pixels. Send a smaller export."),
        "image_too_small": _("The picture is smaller than 64 pixels a side. Send the original photograph."),
        "image_aspect": _("The picture is more than four times as long as wide. Send the whole photograph."),
        "image_animated": _("The file holds more than one picture. Send one photograph per file."),
        "image_colour_mode": _(
            "What the file says of its colours or grey values is not supported. Export it as RGB or grey JPEG in sRGB."
        ),
        "image_bit_depth": _("The picture does not have 8 bits per colour. Export it with 8 bits."),
    }

    def __init__(self, code: str) -> None:
        super().__init__(
            self.MESSAGE_BY_CODE.get(code), code=code, status=self.STATUS_BY_CODE.get(code, RefusedImageError.status)
        )


class DicomMismatchError(DiagnosisError):
    """The DICOM file names another patient or the other eye than the request."""

    status = 422
    code = "dicom_patient_mismatch"
    field = "patient"
    message = _("The DICOM file names another patient. Check the file and the patient.")


class NotFoundError(DiagnosisError):
    """Unknown, or another clinic's: the answer is the same."""

    code = "not_found"
    status = 404
    message = _("There is no such record.")


class NotAllowedError(DiagnosisError):
    """The user's role does not include this."""

    code = "permission_denied"
    status = 403
    message = _("Your role does not allow this.")


class DuplicateMrnError(DiagnosisError):
    """The clinic already has a patient with this MRN."""

    code = "mrn_duplicate"
    status = 409
    field = "mrn"
    message = _("A patient with this MRN is already registered in your clinic. Search for it instead.")


class ImageOfAnotherPatientError(DiagnosisError):
    """The same picture is stored under another patient of the clinic."""

    code = "image_of_another_patient"
    status = 409
    field = "image"
    message = _(
        "This photograph is already stored for another patient. Check that you chose the right patient and file."
    )


class ImageOfOtherEyeError(DiagnosisError):
    """The same picture is stored for the patient's other eye."""

    code = "image_of_other_eye"
    status = 409
    field = "laterality"
    message = _("This photograph is already stored for the patient's other eye. Check which eye it shows.")


class ImageDetailsDifferError(DiagnosisError):
    """The photograph is stored, and what is stored of it says something else."""

    code = "image_details_differ"
    status = 409
    field = "image"
    message = _(
        "This photograph is already stored, with another time of capture or another camera. "
        "Leave both out to keep what is stored."
    )


class StateConflictError(DiagnosisError):
    """The diagnosis is in a state that does not allow the change."""

    code = "state_conflict"
    status = 409
    message = _("The diagnosis has moved on. Reload it to see its present state.")


class UnseenReviewError(StateConflictError):
    """Somebody else signed a review that the signer does not say they know."""

    code = "review_unseen"
    message = _("Somebody else signed meanwhile. Reload and read their review.")


class StorageFullError(DiagnosisError):
    """The media storage has no room."""

    code = "storage_full"
    status = 507
    retry_after = 60
    message = _("The server has no space left for photographs. Nothing was stored. Tell your administrator.")


class StorageUnavailableError(DiagnosisError):
    """The media storage cannot be used: read-only, broken, not mounted, or not this database's."""

    code = "storage_unavailable"
    status = 503
    retry_after = 30
    message = _("The photographs' storage cannot be used at the moment. Nothing was stored. Try again in a minute.")


class OutcomeUnknownError(DiagnosisError):
    """The database was told to commit, and its answer was lost."""

    code = "outcome_unknown"
    status = 503
    retry_after = 5
    message = _(
        "The connection to the database broke before it confirmed, so this may have been carried out. "
        "Send it again unchanged, over the REST API with the same Idempotency-Key, to learn the outcome."
    )


class QueueFullError(DiagnosisError):
    """Too many diagnoses are waiting."""

    code = "queue_full"
    status = 503
    message = _("Too many photographs are waiting. Nothing was stored. Try again in a minute.")


class BusyError(DiagnosisError):
    """More photographs arrive than can be looked at; nothing is known of this one."""

    code = "busy"
    status = 503
    message = _("The portal is taking in as many photographs as it can. Nothing was stored. Send it again in a moment.")


class ModelUnavailableError(DiagnosisError):
    """A model's files are missing or do not match their hashes."""

    code = "model_unavailable"
    status = 503
    message = _("The models cannot be used: their files do not match. Nothing was stored. Tell your administrator.")


class IdempotencyKeyReusedError(DiagnosisError):
    """The key was used before with another body."""

    code = "idempotency_key_reused"
    status = 422
    message = _("This Idempotency-Key was used before for another request. Use a new key.")


class IdempotencyInProgressError(DiagnosisError):
    """The first request with this key has not been answered yet."""

    code = "idempotency_in_progress"
    status = 409
    retry_after = 1
    message = _("The first request with this Idempotency-Key is still being accepted. Try again in a moment.")


class SecretShownOnceError(DiagnosisError):
    """A repeated request whose first answer held a secret."""

    code = "secret_shown_once"
    status = 409
    message = _(
        "The first request with this Idempotency-Key was carried out. Its answer held a secret, which is not kept and "
        "cannot be shown again. Find the record in its list, and replace its secret or the record."
    )


class InvalidInputError(DiagnosisError):
    """One or more fields hold values that cannot be accepted.

    Attributes:
        problems: (field, code, message) for each.
    """

    code = "validation_error"
    status = 400
    message = _("Some fields need to be corrected.")

    def __init__(self, problems: list[tuple[str, str, str]]) -> None:
        super().__init__(field=problems[0][0])
        self.problems = problems
