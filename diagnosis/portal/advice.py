"""What to do next, keyed to one result and no other; each with the public guideline it follows."""

from dataclasses import dataclass, replace

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from diagnosis import statements
from diagnosis.models import Diagnosis, DiseaseClass, OperatingPoint, Outcome, Review, Verdict

Text = str | Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A public guideline."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Next steps for one result.

    Attributes:
        steps: What to do, most important first.
        sources: Where it comes from; empty for advice about taking photographs.
        topic: The help page with more, or empty.
    """

    steps: tuple[Text, ...]
    sources: tuple[Source, ...] = ()
    topic: str = ""


NICE_DIABETIC = Source(
    name="NICE NG242, Diabetic retinopathy: management and monitoring (2024)",
    address="https://www.nice.org.uk/guidance/ng242",
)
ICO_DIABETIC = Source(
    name="International Council of Ophthalmology, Guidelines for Diabetic Eye Care (2017)",
    address="https://icoph.org/eye-care-delivery/diabetic-eye-care/",
)
NICE_GLAUCOMA = Source(
    name="NICE NG81, Glaucoma: diagnosis and management (2017, updated 2022)",
    address="https://www.nice.org.uk/guidance/ng81",
)
EGS_GLAUCOMA = Source(
    name="European Glaucoma Society, Terminology and Guidelines for Glaucoma, 5th edition (2020)",
    address="https://eugs.org/educational_materials/",
)
IMI_MYOPIA = Source(
    name="International Myopia Institute, IMI Pathologic Myopia report (2021)",
    address="https://doi.org/10.1167/iovs.62.5.5",
)
META_PM = Source(
    name="Ohno-Matsui and others, META-PM classification, Am J Ophthalmol 2015;159:877",
    address="https://doi.org/10.1016/j.ajo.2015.01.022",
)
WHO_SCREENING = Source(
    name="World Health Organization, Diabetic retinopathy screening: a short guide (2020)",
    address="https://www.who.int/europe/publications/i/item/9789289055321",
)

_BY_CLASS: dict[str, Advice] = {
    DiseaseClass.DIABETIC_RETINOPATHY: Advice(
        steps=(
            _("Arrange an examination by an ophthalmologist with dilated pupils, to confirm and to grade the stage."),
            _("Same week if vision dropped suddenly, with new floaters or flashes; otherwise by the local pathway."),
            _(
                "Ask when HbA1c, blood pressure, kidney function and lipids were last checked, and tell the treating doctor."
            ),
            _("Photograph the other eye too, and both maculas; swelling of the macula is not assessed by this model."),
        ),
        sources=(NICE_DIABETIC, ICO_DIABETIC),
        topic="diabetic-retinopathy",
    ),
    DiseaseClass.GLAUCOMA: Advice(
        steps=(
            _("Arrange an examination for glaucoma: eye pressure, optic nerve head, visual field, chamber angle."),
            _(
                "Today if the eye is red and painful, with blurred sight, halos or nausea: this can be acute angle closure."
            ),
            _("Ask about glaucoma in parents and siblings, steroid use and eye injuries, and note it in the referral."),
            _("Compare with the other eye: a difference between the two discs matters more than one photograph."),
        ),
        sources=(NICE_GLAUCOMA, EGS_GLAUCOMA),
        topic="glaucoma",
    ),
    DiseaseClass.MYOPIA: Advice(
        steps=(
            _("Arrange refraction, axial length, and an examination of the retina with dilated pupils out to the rim."),
            _("Same week for new distortion, a central spot, flashes, a shower of floaters or a shadow."),
            _("Arrange an OCT scan of the macula: new vessels and traction cannot be ruled out in a photograph."),
            _("Tell the patient the warning signs of retinal detachment."),
        ),
        sources=(META_PM, IMI_MYOPIA),
        topic="myopia",
    ),
    DiseaseClass.NORMAL: Advice(
        steps=(
            _(
                "Keep to the interval of eye examinations that the risk of this patient asks for: diabetes, glaucoma in the "
                "family, high myopia. This result replaces no examination and lengthens no interval."
            ),
            _(
                "Symptoms come first: examine any eye with loss of sight, pain, flashes or distortion, whatever is said here."
            ),
        ),
        sources=(WHO_SCREENING,),
    ),
}
# What the operating point of the clinic adds; ``worth`` has the numbers behind it.
_NO_SIGN_AT: dict[str, Text] = {
    OperatingPoint.BALANCED: _(
        "This clinic works at the balanced point, where more eyes with a condition are called “no sign” than at the "
        "screening point. Have a clinician read the photograph of a patient at risk."
    ),
    OperatingPoint.SCREENING: _(
        "This clinic works at the screening point, where fewer eyes with a condition are called “no sign” than at the "
        "balanced point, and still some. Have a clinician read the photograph of a patient at risk."
    ),
}
_SUSPECTED_AT: dict[str, Text] = {
    OperatingPoint.SCREENING: _(
        "This clinic works at the screening point, where more eyes without a condition are suspected than at the "
        "balanced point: a suspicion is a reason to examine, not yet to treat."
    ),
}
_INDETERMINATE = Advice(
    steps=(
        _("Have a clinician read the photograph; until then, treat this eye as not screened."),
        _("A second photograph of the same eye may help, if this one is not sharp and evenly lit."),
    ),
)
_CONTESTED = Advice(
    steps=(
        _("Have a clinician read the photograph before the patient is told that nothing was seen."),
        _("Until then, treat this eye as not screened."),
    ),
)
_UNGRADABLE = Advice(
    steps=(
        _("Retake the photograph now, while the patient is here; the note about the photograph says what to change."),
        _("If three attempts fail, refer for an examination: the eye was not screened."),
    ),
)


def for_result(diagnosis: Diagnosis, review: Review | None = None) -> Advice | None:
    """Return the advice for this outcome and class alone; None while there is no result.

    Args:
        diagnosis: The result.
        review: The review in force; a clinician's differing word stands before the model's.
    """
    if review is not None and review.verdict != Verdict.AGREE:
        return _BY_CLASS[review.label] if review.label else _UNGRADABLE
    if diagnosis.outcome == Outcome.FINDING:
        return _for_finding(diagnosis, is_read=review is not None)
    return {Outcome.INDETERMINATE: _INDETERMINATE, Outcome.UNGRADABLE: _UNGRADABLE}.get(diagnosis.outcome)


def _for_finding(diagnosis: Diagnosis, *, is_read: bool) -> Advice:
    if diagnosis.prediction == DiseaseClass.NORMAL and diagnosis.is_contested and not is_read:
        return _CONTESTED
    is_clear = diagnosis.prediction == DiseaseClass.NORMAL
    further = (_NO_SIGN_AT if is_clear else _SUSPECTED_AT).get(diagnosis.operating_point)
    found = _for_classes(diagnosis)
    return found if further is None or is_read else replace(found, steps=(*found.steps, further))


def _for_classes(diagnosis: Diagnosis) -> Advice:
    parts = [_BY_CLASS[name] for name in statements.suspected(diagnosis.conditions) or [diagnosis.prediction]]
    if len(parts) == 1:
        return parts[0]
    # The first two steps of each: what to arrange, and what cannot wait.
    return Advice(
        steps=tuple(step for part in parts for step in part.steps[:2]),
        sources=tuple(source for part in parts for source in part.sources),
        topic=parts[0].topic,
    )
