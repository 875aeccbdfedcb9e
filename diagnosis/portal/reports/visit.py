"""What a report says of one visit: everything of the page, in words, before any layout."""

import io
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.db.models import Prefetch, Q
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from PIL import Image

from diagnosis import access, blinding, storage
from diagnosis.access import Capability
from diagnosis.errors import StorageUnavailableError
from diagnosis.lifecycle import ReportStatus
from diagnosis.models import Diagnosis, FundusImage, Laterality, Patient, Review, User, Verdict
from diagnosis.portal import eyes, wording, worth
from diagnosis.portal.wording import Text
from diagnosis.templatetags.portal import percent

logger = logging.getLogger(__name__)

# A visit has two to six photographs; the limit bounds the memory of one report.
MOST_PHOTOGRAPHS = 12
PICTURE_PIXELS = 900
PICTURE_QUALITY = 82
OVERLAYS = ("vessel_overlay", "grad_cam_overlay")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture for the page; ``jpeg`` is None where the stored file is damaged."""

    caption: Text
    jpeg: bytes | None
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One photograph and its result.

    Attributes:
        eye: In word and code.
        is_preliminary: Whether no clinician has settled it.
        status: State of the report, or of the analysis.
        headline: What holds of this eye.
        explanation: One or two sentences.
        probabilities: Head row and rows of the table; empty without probabilities.
        remarks: Agreement of the paths, quality, the models' word where a clinician's differs.
        signed: The signed words, newest first, each with signer and time.
        facts: Times, camera, models with versions, ids.
        pictures: Photograph and overlays.
    """

    eye: Text
    is_preliminary: bool
    status: Text
    headline: Text
    explanation: Text
    probabilities: Sequence[Sequence[Text]]
    remarks: Sequence[Text]
    signed: Sequence[Text]
    facts: Sequence[Text]
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitReport:
    """Everything that the PDF says."""

    patient: Patient
    day: date
    sections: Sequence[Section]
    left_out: int

    @property
    def is_preliminary(self) -> bool:
        """Whether any part of it is not signed."""
        return any(section.is_preliminary for section in self.sections)


def of_diagnosis(diagnosis: Diagnosis, *, user: User) -> VisitReport:
    """Gather the visit that a diagnosis belongs to, as this user may see it.

    Its photograph is reported by this diagnosis; every other one by its latest signed analysis, or else by its
    latest. What the user has to grade first stays hidden.

    Args:
        diagnosis: With patient, clinic and photograph.
        user: Who reads the report.
    """
    day = timezone.localtime(diagnosis.image.taken_at).date()
    images = _images_of(diagnosis.patient, day)
    images.sort(key=lambda image: (image.laterality != Laterality.RIGHT, image.taken_at))
    images.sort(key=lambda image: image.pk != diagnosis.image_id)
    shown = images[:MOST_PHOTOGRAPHS]
    shown.sort(key=lambda image: (image.laterality != Laterality.RIGHT, image.taken_at))
    chosen = [diagnosis if image.pk == diagnosis.image_id else chosen_of(image.newest_first) for image in shown]
    blinding.veil([each for each in chosen if each], user=user)
    sections = [section(image, each, user=user) for image, each in zip(shown, chosen, strict=True)]
    return VisitReport(patient=diagnosis.patient, day=day, sections=sections, left_out=len(images) - len(shown))


def _images_of(patient: Patient, day: date) -> list[FundusImage]:
    start = timezone.make_aware(datetime.combine(day, time.min))
    end = timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))
    captured = Q(captured_at__gte=start, captured_at__lt=end)
    received = Q(captured_at__isnull=True, created_at__gte=start, created_at__lt=end)
    newest_first = Diagnosis.objects.select_related("clinic", "image").order_by("-created_at", "-id")
    prefetch = Prefetch("diagnoses", queryset=newest_first, to_attr="newest_first")
    return list(patient.images.filter(captured | received).prefetch_related(prefetch).order_by("created_at", "id"))


def chosen_of(newest_first: Sequence[Diagnosis]) -> Diagnosis | None:
    """Return the analysis that speaks for a photograph: the latest signed one, or else the latest."""
    signed = (each for each in newest_first if each.report_status != ReportStatus.PRELIMINARY)
    return next(signed, next(iter(newest_first), None))


def section(image: FundusImage, diagnosis: Diagnosis | None, *, user: User) -> Section:
    """Say everything of one photograph.

    Args:
        image: The photograph.
        diagnosis: Its analysis, if there is one; what the user may not see yet was taken out of it.
        user: Who reads it.
    """
    if diagnosis is None or not diagnosis.outcome:
        return _without_result(image, diagnosis)
    signed = []
    if access.may(user, Capability.READ_REVIEWS):
        signed = list(blinding.visible_reviews(diagnosis, user=user))
    # While another reader is awaited, no word counts yet.
    latest = signed[0] if signed and not diagnosis.is_preliminary else None
    statement = wording.in_force(diagnosis, latest)
    return Section(
        eye=image.get_laterality_display(),
        is_preliminary=diagnosis.is_preliminary,
        status=f"{diagnosis.get_report_status_display()}. {wording.report_line(diagnosis)}",
        headline=statement.headline,
        explanation=statement.explanation,
        probabilities=_probabilities(diagnosis),
        remarks=_remarks(diagnosis, latest),
        signed=[_signed(review, signed) for review in signed],
        facts=_facts(image, diagnosis),
        pictures=[_photograph(image), *_overlays(diagnosis)],
    )


def _without_result(image: FundusImage, diagnosis: Diagnosis | None) -> Section:
    """Not analysed, in progress, failed, or hidden until the reader has graded it."""
    status, headline, explanation = _("Not analysed"), _("Not analysed"), _("There is no result.")
    if diagnosis is not None:
        statement = wording.describe(diagnosis)
        status, headline, explanation = statement.short, statement.headline, statement.explanation
    return Section(
        eye=image.get_laterality_display(),
        is_preliminary=True,
        status=status,
        headline=headline,
        explanation=explanation,
        probabilities=[],
        remarks=[],
        signed=[],
        facts=_facts(image, diagnosis),
        pictures=[_photograph(image)],
    )


def _probabilities(diagnosis: Diagnosis) -> list[list[Text]]:
    if not diagnosis.probabilities:
        return []
    columns: list[tuple[Text, dict[str, float]]] = [
        (_("Photograph"), (diagnosis.image_path or {}).get("probabilities") or diagnosis.probabilities)
    ]
    if diagnosis.vessel_path:
        columns.append((_("Vessel map"), diagnosis.vessel_path.get("probabilities") or {}))
    head: list[Text] = [_("Probability of each class"), *(name for name, _values in columns)]
    rows: list[list[Text]] = [
        [wording.CLASS_NAMES.get(label, label), *(percent(values.get(label)) for _name, values in columns)]
        for label in diagnosis.probabilities
    ]
    return [head, *rows]


def _remarks(diagnosis: Diagnosis, latest: Review | None) -> list[Text]:
    remarks: list[Text] = []
    eye = eyes.question_of(diagnosis)
    if eye is not None:
        remarks.append(f"{eye.seen} {eye.question or eye.answer}")
    if latest is not None and latest.verdict != Verdict.AGREE:
        said = wording.describe(diagnosis).headline
        remarks.append(_("The model had said: %(words)s.") % {"words": said})
    remarks.extend(
        f"{row.name}: {row.words} ({percent(row.probability)}; {row.limits})." for row in wording.conditions(diagnosis)
    )
    remarks.extend(worth.sentences(diagnosis))
    remarks.extend(_of_visit(diagnosis))
    if diagnosis.agreement is not None:
        remarks.append(
            _("The vessel map points to the same class as the photograph.")
            if diagnosis.agreement
            else _("The vessel map points to another class than the photograph.")
        )
    if diagnosis.quality:
        words = _("gradable") if diagnosis.quality.get("gradable") else _("not gradable")
        score = number_format(round(diagnosis.quality.get("score") or 0, 2), decimal_pos=2)
        remarks.append(
            _("Image quality: %(words)s, score %(score)s of 1.") % {"words": words, "score": score}
            + "".join(f" {reason.text}" for reason in wording.quality_reasons(diagnosis.quality))
        )
    if diagnosis.probabilities:
        remarks.append(
            _("The probabilities of a column add up to 100 %; an eye can have two of these conditions, or another.")
        )
    return remarks


def _of_visit(diagnosis: Diagnosis) -> list[Text]:
    if diagnosis.visit is None:
        return []
    statement = wording.of_visit(diagnosis.visit)
    kind = (
        _("Both eyes of the visit together: %(words)s.")
        if diagnosis.visit.other_photographs
        else _("All photographs of this eye together: %(words)s.")
    )
    rows = [f"{row.name}: {row.words} ({percent(row.probability)})." for row in wording.conditions(diagnosis.visit)]
    return [" ".join([kind % {"words": statement.headline}, str(statement.explanation), *rows])]


def _signed(review: Review, signed: Sequence[Review]) -> str:
    values = {
        "reading": wording.describe_reading(review, signed),
        "words": wording.describe_review(review),
        "reader": review.reviewer,
        "time": date_format(timezone.localtime(review.signed_at), "d-M-Y H:i"),
    }
    text = _("%(reading)s: %(words)s. Signed by %(reader)s, %(time)s.")
    if review.is_superseded:
        text = _("Superseded. %(reading)s: %(words)s. Signed by %(reader)s, %(time)s.")
    parts = [text % values]
    if review.reason:
        parts.append(_("Reason: %(text)s") % {"text": review.reason})
    if review.note:
        parts.append(_("Note: %(text)s") % {"text": review.note})
    return "\n".join(parts)


def _facts(image: FundusImage, diagnosis: Diagnosis | None) -> list[Text]:
    facts: list[Text] = []
    if image.captured_at:
        facts.append(_("Taken %(time)s") % {"time": date_format(timezone.localtime(image.captured_at), "d-M-Y H:i")})
    received = date_format(timezone.localtime(image.created_at), "d-M-Y H:i")
    facts.append(_("Received %(time)s") % {"time": received})
    if image.device:
        facts.append(_("Camera: %(name)s") % {"name": image.device})
    if diagnosis is None:
        return facts
    facts.extend(
        _("Model: %(name)s %(version)s (%(digest)s)")
        % {"name": bundle["name"], "version": bundle["version"], "digest": bundle["sha256"][:12]}
        for bundle in diagnosis.model_bundles
    )
    facts.append(_("Diagnosis %(id)s") % {"id": diagnosis.pk})
    return facts


def _photograph(image: FundusImage) -> Picture:
    return _picture(_("Photograph"), image.path, sha256=image.sha256, of=image.pk)


def _overlays(diagnosis: Diagnosis) -> list[Picture]:
    captions = {
        "vessel_overlay": _("Vessels over the photograph"),
        "grad_cam_overlay": _("Heat map: where the model looked, not why"),
    }
    return [
        _picture(captions[name], stored["path"], sha256=stored["sha256"], of=diagnosis.pk)
        for name in OVERLAYS
        if (stored := diagnosis.artifacts.get(name))
    ]


def _picture(caption: Text, path: str, *, sha256: str, of: uuid.UUID) -> Picture:
    """Read one stored picture, checked, and make it small enough for the page."""
    try:
        content = storage.read_verified(path, sha256=sha256)
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
            picture.draft("RGB", (PICTURE_PIXELS, PICTURE_PIXELS))
            picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
            small = picture.convert("RGB")
    except (storage.DamagedFileError, StorageUnavailableError, OSError):
        logger.exception("A stored picture of %s is missing or was changed", of)
        return Picture(caption=caption, jpeg=None)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=PICTURE_QUALITY)
    return Picture(caption=caption, jpeg=buffer.getvalue(), width=small.width, height=small.height)
