"""The wording rules of clinical safety, in one place.

Suspected, not suspected, indeterminate, not gradable; per eye; never "diagnosis: X 93 %". Glaucoma is
"glaucoma suspect"; Normal is "no sign of the three conditions this model looks for".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from diagnosis import retake, statements
from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models import Diagnosis, DiseaseClass, Outcome, Review, Verdict, VisitStatement
from diagnosis.readings import Reading
from diagnosis.templatetags.portal import percent

Text = str | Promise


class Tone(StrEnum):
    """How a statement is drawn; always together with an icon and words, never alone."""

    SUSPECT = "suspect"
    CLEAR = "clear"
    UNSURE = "unsure"
    UNGRADABLE = "ungradable"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is said of one diagnosis.

    Attributes:
        tone: How it is drawn.
        short: For lists.
        headline: For the result page.
        explanation: One or two sentences under the headline.
    """

    tone: Tone
    short: Text
    headline: Text
    explanation: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReason:
    """Why a photograph cannot be read well, and how to take a better one."""

    code: str
    text: Text
    tip: Text


FINDINGS: dict[str, tuple[Text, Text]] = {
    DiseaseClass.DIABETIC_RETINOPATHY: (
        gettext_lazy("Diabetic retinopathy suspected"),
        gettext_lazy("The pattern resembles photographs with diabetic retinopathy. The stage is not assessed."),
    ),
    DiseaseClass.GLAUCOMA: (
        gettext_lazy("Glaucoma suspect"),
        gettext_lazy(
            "The pattern resembles photographs with glaucoma. A photograph alone cannot establish glaucoma: eye "
            "pressure, visual field and the optic nerve need to be examined."
        ),
    ),
    DiseaseClass.MYOPIA: (
        gettext_lazy("Pathological myopia suspected"),
        gettext_lazy(
            "The pattern resembles photographs with pathological myopia. Refraction is not known to the model."
        ),
    ),
    DiseaseClass.NORMAL: (
        gettext_lazy("No sign of the three conditions this model looks for"),
        gettext_lazy(
            "Diabetic retinopathy, glaucoma and pathological myopia are not suspected. Other diseases are not looked "
            "for, so this does not mean that the eye is healthy."
        ),
    ),
}
FINDINGS_IN_LISTS: dict[str, Text] = {
    DiseaseClass.DIABETIC_RETINOPATHY: gettext_lazy("Diabetic retinopathy suspected"),
    DiseaseClass.GLAUCOMA: gettext_lazy("Glaucoma suspect"),
    DiseaseClass.MYOPIA: gettext_lazy("Pathological myopia suspected"),
    DiseaseClass.NORMAL: gettext_lazy("No sign of the three conditions"),
}
CLASS_NAMES: dict[str, Text] = {
    DiseaseClass.DIABETIC_RETINOPATHY: gettext_lazy("Diabetic retinopathy"),
    DiseaseClass.GLAUCOMA: gettext_lazy("Glaucoma"),
    DiseaseClass.MYOPIA: gettext_lazy("Pathological myopia"),
    DiseaseClass.NORMAL: gettext_lazy("None of the three"),
}


def describe(diagnosis: Diagnosis) -> Statement:
    """Return what may be said of a diagnosis in its present state."""
    if diagnosis.status == Status.SUCCEEDED:
        return _RESULTS[diagnosis.outcome](diagnosis)
    return _JOBS[diagnosis.status]


def _finding(diagnosis: Diagnosis) -> Statement:
    suspected = statements.suspected(diagnosis.conditions)
    if len(suspected) > 1:
        return _several(suspected)
    headline, explanation = FINDINGS[diagnosis.prediction]
    return Statement(
        tone=_tone(diagnosis),
        short=FINDINGS_IN_LISTS[diagnosis.prediction],
        headline=headline,
        explanation=f"{explanation} {contested_in_words(diagnosis)}".strip(),
    )


def _tone(diagnosis: Diagnosis) -> Tone:
    if diagnosis.is_contested:
        return Tone.UNSURE
    return Tone.CLEAR if diagnosis.prediction == DiseaseClass.NORMAL else Tone.SUSPECT


def _several(suspected: list[str]) -> Statement:
    names = ", ".join(str(FINDINGS_IN_LISTS[name]) for name in suspected)
    return Statement(
        tone=Tone.SUSPECT,
        short=_("%(count)d conditions suspected") % {"count": len(suspected)},
        headline=names,
        explanation=_(
            "Each condition is weighed by itself, so that two can be suspected in one eye. A clinician needs to look "
            "for each of them."
        ),
    )


def of_visit(visit: VisitStatement) -> Statement:
    """Return what all photographs of a visit together say of one eye."""
    suspected = statements.suspected(visit.conditions)
    if suspected:
        name = ", ".join(str(FINDINGS_IN_LISTS[each]) for each in suspected)
        tone = Tone.SUSPECT
    elif visit.prediction:
        name, tone = str(FINDINGS_IN_LISTS[DiseaseClass.NORMAL]), Tone.CLEAR
    else:
        name, tone = _("Indeterminate"), Tone.UNSURE
    return Statement(tone=tone, short=name, headline=name, explanation=_why_of_visit(visit))


def _why_of_visit(visit: VisitStatement) -> str:
    counts = {"own": visit.own_photographs, "other": visit.other_photographs}
    if not visit.other_photographs:
        return _("Judged by the mean of %(own)d photographs of this eye that were taken on one day.") % counts
    own = ngettext("its own photograph", "the mean of its own %(own)d photographs", visit.own_photographs) % counts
    return _(
        "As the two eyes of a person are alike, this eye is judged by %(own)s and, with a weight of %(weight)s, by what "
        "was seen in the other eye on the same day."
    ) % {"own": own, "weight": number_format(visit.other_weight, decimal_pos=1)}


def contested_in_words(diagnosis: Diagnosis) -> str:
    """Return what speaks against a plain statement, as sentences; empty where nothing does."""
    if not diagnosis.is_contested:
        return ""
    probabilities = diagnosis.probabilities or {}
    others = {name: value for name, value in probabilities.items() if name != diagnosis.prediction}
    runner_up = max(others, key=others.__getitem__)
    said = []
    visit = diagnosis.visit
    if visit is not None and statements.speaks_against(prediction=diagnosis.prediction, visit=visit.prediction):
        said.append(
            _("All photographs of the visit together say of this eye: %(words)s.") % {"words": of_visit(visit).short}
        )
    if diagnosis.agreement is False:
        said.append(_("The vessel map points to another class than the photograph."))
    if others[runner_up] >= statements.RUNNER_UP:
        said.append(
            _("“%(name)s” comes close, with %(share)s.")
            % {"name": CLASS_NAMES[runner_up], "share": percent(others[runner_up])}
        )
    return " ".join([*said, _("A clinician needs to look at the photograph.")])


def _indeterminate(diagnosis: Diagnosis) -> Statement:
    undecided = ", ".join(str(CLASS_NAMES[name]) for name in statements.undecided(diagnosis.conditions))
    if "unlike_training" in (diagnosis.quality or {}).get("remarks", []):
        explanation = _(
            "The photograph is unlike those that the models learnt from, so no class is named. "
            "A clinician needs to look at it."
        )
    elif undecided:
        explanation = _("Neither suspected nor ruled out: %(names)s. A clinician needs to look at the photograph.") % {
            "names": undecided
        }
    else:
        # A result of models that did not speak of each condition.
        explanation = _("No class stands out clearly enough to be named. A clinician needs to look at it.")
    return Statement(tone=Tone.UNSURE, short=_("Indeterminate"), headline=_("Indeterminate"), explanation=explanation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionWords:
    """What is said of one condition of one eye.

    Attributes:
        name: Of the condition.
        tone: How it is drawn.
        words: Suspected, not suspected or indeterminate.
        probability: Of the condition against none of the three, 0 to 1.
        limits: From where on it is suspected and below what it is not.
    """

    name: Text
    tone: Tone
    words: Text
    probability: float
    limits: Text


_CONDITION_WORDS: dict[str, tuple[Tone, Text]] = {
    "suspected": (Tone.SUSPECT, gettext_lazy("Suspected")),
    "not_suspected": (Tone.CLEAR, gettext_lazy("Not suspected")),
    "indeterminate": (Tone.UNSURE, gettext_lazy("Indeterminate")),
}


def conditions(result: Diagnosis | VisitStatement) -> list[ConditionWords]:
    """Return the statements on the three conditions; empty for results of models that made none."""
    return [
        ConditionWords(
            name=CLASS_NAMES[row["condition"]],
            tone=_CONDITION_WORDS[row["statement"]][0],
            words=_CONDITION_WORDS[row["statement"]][1],
            probability=row["probability"],
            limits=_("not suspected below %(low)s, suspected from %(high)s")
            % {"low": percent(row["rule_out"]), "high": percent(row["rule_in"])},
        )
        for row in result.conditions or []
    ]


def _ungradable(_diagnosis: Diagnosis) -> Statement:
    return Statement(
        tone=Tone.UNGRADABLE,
        short=_("Not gradable"),
        headline=_("Not gradable"),
        explanation=_("Nothing is said about any disease, because the photograph cannot be read well enough."),
    )


def _veiled(_diagnosis: Diagnosis) -> Statement:
    return Statement(
        tone=Tone.WAITING,
        short=_("To be read"),
        headline=_("Read the photograph first"),
        explanation=_("The result is there. It is shown to you as soon as you have graded the photograph yourself."),
    )


_RESULTS = {
    # ``blinding.veil`` took the result out.
    "": _veiled,
    Outcome.FINDING: _finding,
    Outcome.INDETERMINATE: _indeterminate,
    Outcome.UNGRADABLE: _ungradable,
}
_JOBS: dict[str, Statement] = {
    Status.QUEUED: Statement(
        tone=Tone.WAITING,
        short=gettext_lazy("Waiting"),
        headline=gettext_lazy("Waiting for its turn"),
        explanation=gettext_lazy("The photograph is stored. The analysis starts as soon as a worker is free."),
    ),
    Status.RUNNING: Statement(
        tone=Tone.WAITING,
        short=gettext_lazy("In progress"),
        headline=gettext_lazy("Analysis in progress"),
        explanation=gettext_lazy("This usually takes a few seconds. You may leave this page; the result will be kept."),
    ),
    Status.FAILED: Statement(
        tone=Tone.FAILED,
        short=gettext_lazy("Failed"),
        headline=gettext_lazy("The analysis failed"),
        explanation=gettext_lazy("There is no result. The photograph is kept."),
    ),
    Status.CANCELLED: Statement(
        tone=Tone.FAILED,
        short=gettext_lazy("Cancelled"),
        headline=gettext_lazy("The analysis was cancelled"),
        explanation=gettext_lazy("There is no result. The photograph is kept."),
    ),
}


def in_force(diagnosis: Diagnosis, review: Review | None) -> Statement:
    """Return what holds now: a clinician's differing word stands before the model's statement."""
    if review is None or review.verdict == Verdict.AGREE:
        return describe(diagnosis)
    if review.verdict == Verdict.UNGRADABLE:
        return _ungradable(diagnosis)
    name = DiseaseClass(review.label).label
    tone = Tone.CLEAR if review.label == DiseaseClass.NORMAL else Tone.SUSPECT
    return Statement(
        tone=tone, short=name, headline=name, explanation=_("This is the word of the clinician who signed.")
    )


def report_line(diagnosis: Diagnosis) -> Text:
    """Return how far the report has come, as a sentence."""
    if diagnosis.report_status == ReportStatus.FINAL:
        return _SETTLED[diagnosis.awaited_reading]
    if diagnosis.report_status == ReportStatus.AMENDED:
        return _("Changed after it was first signed.")
    return _AWAITED[diagnosis.awaited_reading]


def report_in_list(diagnosis: Diagnosis) -> Text:
    """Return how far the report has come, in a few words."""
    is_waiting = diagnosis.report_status == ReportStatus.PRELIMINARY
    if is_waiting and diagnosis.awaited_reading in _AWAITED_IN_LISTS:
        return _AWAITED_IN_LISTS[diagnosis.awaited_reading]
    return diagnosis.get_report_status_display()


# A settled report keeps the reading that it awaited last.
_SETTLED: dict[str, Text] = {
    Reading.FIRST: gettext_lazy("Signed by a clinician."),
    Reading.SECOND: gettext_lazy("Signed by two readers who agree."),
    Reading.ARBITRATION: gettext_lazy("Two readers differed; a third person decided."),
}
_AWAITED: dict[str, Text] = {
    Reading.FIRST: gettext_lazy("Not signed by a clinician yet."),
    Reading.SECOND: gettext_lazy("Read by one clinician; a second reader is awaited."),
    Reading.ARBITRATION: gettext_lazy("Two readers differ; a third person decides."),
}
_AWAITED_IN_LISTS: dict[str, Text] = {
    Reading.SECOND: gettext_lazy("Preliminary; second reader awaited"),
    Reading.ARBITRATION: gettext_lazy("Preliminary; readers differ"),
}


def describe_grade(label: str) -> Text:
    """Return a reader's own grade in words; empty means that it cannot be graded."""
    return DiseaseClass(label).label if label else _("Not gradable")


def describe_reading(review: Review, signed: Sequence[Review]) -> Text:
    """Return which reading a signature is, and of a second one whether it agrees with the first.

    Args:
        review: One of ``signed``.
        signed: All signatures on the result, newest first.
    """
    if review.reading != Reading.SECOND:
        return review.get_reading_display()
    # The newest: a first reader may correct their word until somebody else has read it.
    first = next(each for each in signed if each.reading == Reading.FIRST)
    if first.label == review.label:
        return _("Second reading, the same word as the first")
    return _("Second reading, another word than the first")


def standing(signed: Sequence[Review]) -> Sequence[Review]:
    """Return the signatures that a settled report rests on: the newest, and the first reader's where two agreed.

    Args:
        signed: All signatures on the result, newest first.
    """
    if signed and signed[0].reading == Reading.SECOND:
        first = next(each for each in signed if each.reading == Reading.FIRST)
        return [signed[0], first]
    return signed[:1]


def describe_review(review: Review) -> Text:
    """Return a signed verdict in words."""
    if review.verdict == Verdict.UNGRADABLE:
        return _("Not gradable")
    name = DiseaseClass(review.label).label
    if review.verdict == Verdict.AGREE:
        return _("Agrees: %(finding)s") % {"finding": name}
    return _("Changed to: %(finding)s") % {"finding": name}


def quality_reasons(quality: dict | None) -> list[QualityReason]:
    """Return the gate's reasons and remarks in plain words, worst first, each with what to do."""
    reasons = []
    for code in [*(quality or {}).get("reasons", []), *(quality or {}).get("remarks", [])]:
        text, tip = retake.explain(code)
        reasons.append(QualityReason(code=code, text=text, tip=tip))
    if not reasons and quality and not quality.get("gradable", True):
        text, tip = retake.explain("unknown")
        reasons.append(QualityReason(code="unknown", text=text, tip=tip))
    return reasons
