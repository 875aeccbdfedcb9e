"""The question which eye a photograph shows, and its answer, in words."""

from dataclasses import dataclass

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from diagnosis.models import Diagnosis, Laterality
from diagnosis.portal.wording import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class EyeQuestion:
    """What speaks against the declared eye, and what was said about it.

    Attributes:
        is_open: Whether nobody has answered.
        seen: Where the optic disc lies, and which eye that makes.
        question: To answer; empty once it was.
        answer: Who said what and when; empty before.
        declared: ``R`` or ``L``, as the photograph is filed now.
        declared_eye: The same in words.
        other: The other eye's letter.
        other_eye: The same in words.
    """

    is_open: bool
    seen: Text
    question: Text
    answer: Text
    declared: str
    declared_eye: Text
    other: str
    other_eye: Text


def question_of(diagnosis: Diagnosis) -> EyeQuestion | None:
    """Return the question on a diagnosis; None where the optic disc does not speak against the eye."""
    if not diagnosis.eye_asked:
        return None
    declared = Laterality(diagnosis.image.laterality)
    other = Laterality.LEFT if declared == Laterality.RIGHT else Laterality.RIGHT
    shown = Laterality((diagnosis.orientation or {})["eye"])
    answer = _answer(diagnosis)
    return EyeQuestion(
        is_open=not answer,
        seen=_SEEN[shown](),
        question="" if answer else _("It is filed as: %(eye)s. Which eye is it?") % {"eye": declared.label},
        answer=answer,
        declared=declared.value,
        declared_eye=declared.label,
        other=other.value,
        other_eye=other.label,
    )


def open_line(diagnosis: Diagnosis) -> Text:
    """Return the open question in one line; empty where none is open."""
    question = question_of(diagnosis)
    return f"{question.seen} {question.question}" if question and question.is_open else ""


def _seen_right() -> str:
    return _("The optic disc lies on the right, as in a right eye, or in a left eye upside down or mirrored.")


def _seen_left() -> str:
    return _("The optic disc lies on the left, as in a left eye, or in a right eye upside down or mirrored.")


_SEEN = {Laterality.RIGHT: _seen_right, Laterality.LEFT: _seen_left}


def _answer(diagnosis: Diagnosis) -> str:
    image = diagnosis.image
    if image.eye_answered_at is None:
        return ""
    values = {
        "who": image.eye_answered_by,
        "time": date_format(timezone.localtime(image.eye_answered_at), "d-M-Y H:i"),
        "eye": image.get_laterality_display(),
    }
    if image.filed_as:
        values["before"] = image.get_filed_as_display()
        return _("Corrected from %(before)s to %(eye)s by %(who)s, %(time)s.") % values
    return _("%(eye)s, confirmed by %(who)s, %(time)s.") % values
