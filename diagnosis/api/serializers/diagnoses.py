"""Submissions and diagnoses."""

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers
from rest_framework.fields import empty

from diagnosis import moments, retake, statements
from diagnosis.api import examples
from diagnosis.api.serializers import links
from diagnosis.api.strictness import RequestSerializer
from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models import Diagnosis, DiseaseClass, Laterality, Mode, OperatingPoint, Outcome, VisitStatement

NOTICE = _("Decision support, not a medical device. A clinician decides.")


class PhotographField(serializers.FileField):
    """The uploaded file, or None; ``services.intake`` says what is wrong with it."""

    def run_validation(self, data: Any = empty) -> UploadedFile | None:
        """Pass a file on; anything else counts as no file."""
        return data if isinstance(data, UploadedFile) else None


class MomentField(serializers.DateTimeField):
    """An ISO 8601 moment."""

    def to_internal_value(self, value: Any) -> Any:
        """Read it; an offset that no place on earth has is a mistake."""
        if isinstance(value, str) and not moments.has_sane_offset(value):
            self.fail("invalid", format="YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z], -14:00 to +14:00")
        return super().to_internal_value(value)


@extend_schema_serializer(component_name="Submission", examples=examples.SUBMISSION_SENT)
class SubmissionRequestSerializer(RequestSerializer):
    """A photograph and whose eye it shows."""

    image = PhotographField(help_text="JPEG, PNG or DICOM, at most 25 MB.")
    patient = serializers.UUIDField(required=False, help_text="Id of the patient. Send this or `mrn`.")
    mrn = serializers.CharField(required=False, max_length=64, help_text="MRN of the patient. Send this or `patient`.")
    laterality = serializers.ChoiceField(choices=Laterality.choices, help_text="`R` right eye, `L` left eye.")
    captured_at = MomentField(
        required=False, help_text="Not before 1886 or the patient's birth, and not in the future. Leave out if unknown."
    )
    device = serializers.CharField(required=False, allow_blank=True, max_length=100, help_text="Camera.")
    external_id = serializers.CharField(
        required=False, allow_blank=True, max_length=100, help_text="Your own reference; it is returned unchanged."
    )
    allow_duplicate = serializers.BooleanField(
        required=False, help_text="Store a picture that another patient already has. Needs `diagnoses:override`."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for exactly one way to name the patient."""
        if ("patient" in attrs) == ("mrn" in attrs):
            raise serializers.ValidationError({"patient": [gettext("Send either patient or mrn.")]}, code="required")
        return attrs


class ProbabilitiesSerializer(serializers.Serializer):
    """Calibrated probability of each class; they sum to 1."""

    DiabeticRetinopathy = serializers.FloatField(min_value=0, max_value=1)
    Glaucoma = serializers.FloatField(min_value=0, max_value=1)
    Myopia = serializers.FloatField(min_value=0, max_value=1)
    Normal = serializers.FloatField(min_value=0, max_value=1)


class ConditionSerializer(serializers.Serializer):
    """What is said of one condition."""

    condition = serializers.ChoiceField(choices=[each for each in DiseaseClass.choices if each[0] != "Normal"])
    statement = serializers.ChoiceField(choices=["suspected", "not_suspected", "indeterminate"])
    probability = serializers.FloatField(
        min_value=0,
        max_value=1,
        help_text="Of this condition against none of the three; those of the conditions do not add up to 1.",
    )
    rule_out = serializers.FloatField(min_value=0, max_value=1, help_text="Below it: `not_suspected`.")
    rule_in = serializers.FloatField(min_value=0, max_value=1, help_text="From it on: `suspected`.")


class VisitSerializer(serializers.Serializer):
    """What all photographs of the visit together say of this eye; stands beside the result, and is made anew."""

    version = serializers.IntegerField(help_text="Counts up when a further photograph of the visit has a result.")
    made_at = serializers.DateTimeField()
    prediction = serializers.ChoiceField(
        choices=DiseaseClass.choices,
        allow_null=True,
        help_text="As `prediction` of the diagnosis; null: indeterminate.",
    )
    conditions = ConditionSerializer(many=True)
    operating_point = serializers.ChoiceField(choices=OperatingPoint.choices)
    own_photographs = serializers.IntegerField(help_text="Photographs of this eye that went in.")
    other_photographs = serializers.IntegerField(help_text="Photographs of the other eye that went in.")
    other_weight = serializers.FloatField(
        help_text="How much the log-probabilities of the other eye counted beside the eye's own; 0 without it."
    )


class ProgressSerializer(serializers.Serializer):
    """How far the job is."""

    step = serializers.CharField(help_text="The step at work, else the status.")
    fraction = serializers.FloatField(min_value=0, max_value=1)


class PathSerializer(serializers.Serializer):
    """What one classifier said."""

    prediction = serializers.ChoiceField(choices=DiseaseClass.choices)
    probabilities = ProbabilitiesSerializer()


class PathsSerializer(serializers.Serializer):
    """Both classifiers, side by side."""

    image = PathSerializer(allow_null=True, help_text="Read the photograph.")
    vessel = PathSerializer(allow_null=True, help_text="Read the vessel map; null in mode `classify`.")


class VesselFeaturesSerializer(serializers.Serializer):
    """Measures of the vessel map, for research; null where there are too few vessels to take one."""

    density = serializers.FloatField(
        min_value=0, max_value=1, help_text="Area of the vessels over that of the field of view."
    )
    length = serializers.FloatField(
        min_value=0, help_text="Length of all centre lines, in diameters of the field of view."
    )
    fractal_dimension = serializers.FloatField(
        min_value=0, max_value=2, allow_null=True, help_text="By box counting; how densely the vessels branch."
    )
    tortuosity = serializers.FloatField(
        min_value=0, allow_null=True, help_text="Mean of arc over chord between branchings; 1 is straight."
    )
    calibre = serializers.FloatField(
        min_value=0, allow_null=True, help_text="Mean width, in thousandths of the field of view's diameter."
    )
    research_use_only = serializers.BooleanField(help_text="Always true: no clinical use of these is established.")


class OrientationSerializer(serializers.Serializer):
    """Where the optic disc lies, and what that says of the declared eye."""

    disc_side = serializers.ChoiceField(
        choices=["left", "right"], allow_null=True, help_text="Side of the picture; null when no disc is seen."
    )
    field = serializers.ChoiceField(
        choices=["macula", "disc"], allow_null=True, help_text="What lies in the middle; null when no disc is seen."
    )
    eye = serializers.ChoiceField(
        choices=Laterality.choices,
        allow_null=True,
        help_text="The eye that the side makes in an upright photograph; null when no disc is seen or it lies in the middle.",
    )
    certainty = serializers.FloatField(min_value=0, max_value=1)
    asked = serializers.BooleanField(
        help_text="The disc speaks against the eye that was declared: a person has to say which eye it is."
    )
    answered_at = serializers.DateTimeField(
        allow_null=True, help_text="When somebody did; `laterality` is then what they said."
    )


class QualitySerializer(serializers.Serializer):
    """Whether the photograph can be read."""

    gradable = serializers.BooleanField()
    score = serializers.FloatField(min_value=0, max_value=1)
    reasons = serializers.ListField(child=serializers.CharField())
    remarks = serializers.ListField(
        child=serializers.CharField(), help_text="What a reader should know of a gradable photograph."
    )
    tip = serializers.CharField(allow_null=True, help_text="How to retake the photograph.")


class ArtifactsSerializer(serializers.Serializer):
    """Addresses of the pictures; they need the same authorisation."""

    photograph = serializers.URLField()
    vessel_map = serializers.URLField(allow_null=True)
    vessel_overlay = serializers.URLField(allow_null=True)
    grad_cam = serializers.URLField(allow_null=True)
    grad_cam_overlay = serializers.URLField(allow_null=True)


class ModelIdentitySerializer(serializers.Serializer):
    """A model that took part."""

    name = serializers.CharField()
    version = serializers.CharField()
    sha256 = serializers.CharField()


class FailureSerializer(serializers.Serializer):
    """Why a diagnosis failed."""

    code = serializers.CharField()
    detail = serializers.CharField()


class DiagnosisLinksSerializer(serializers.Serializer):
    """Where to go from a diagnosis."""

    self = serializers.URLField()
    patient = serializers.URLField()
    reviews = serializers.URLField()


@extend_schema_serializer(examples=examples.DIAGNOSIS)
class DiagnosisSerializer(serializers.Serializer):
    """One analysis of one photograph: the job, then its result."""

    id = serializers.UUIDField()
    mode = serializers.ChoiceField(choices=Mode.choices)
    status = serializers.ChoiceField(choices=Status.choices)
    progress = ProgressSerializer()
    patient = serializers.UUIDField()
    laterality = serializers.ChoiceField(choices=Laterality.choices)
    captured_at = serializers.DateTimeField(allow_null=True)
    external_id = serializers.CharField(allow_blank=True)
    rerun_of = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    attempt = serializers.IntegerField()
    outcome = serializers.ChoiceField(choices=Outcome.choices, allow_null=True)
    prediction = serializers.ChoiceField(
        choices=DiseaseClass.choices,
        allow_null=True,
        help_text="The most probable suspected condition; `Normal` only where all three are ruled out; null otherwise.",
    )
    probabilities = ProbabilitiesSerializer(allow_null=True)
    conditions = ConditionSerializer(
        many=True,
        allow_null=True,
        help_text="What is said of each condition; null until succeeded, when ungradable, and in results of models "
        "before 3.2.0.",
    )
    operating_point = serializers.ChoiceField(
        choices=OperatingPoint.choices, allow_null=True, help_text="Which thresholds the clinic worked with."
    )
    contested = serializers.BooleanField(
        help_text="The vessel map points to another class than the photograph, a class that is not the named one has a "
        f"probability of {statements.RUNNER_UP:.2f} or more, or the result is `Normal` and all photographs of the visit "
        "together say otherwise."
    )
    visit = VisitSerializer(
        allow_null=True, help_text="Null as long as there is no other photograph of the patient of the same day."
    )
    paths = PathsSerializer()
    agreement = serializers.BooleanField(
        allow_null=True, help_text="Whether both paths have the same most probable class."
    )
    vessel_features = VesselFeaturesSerializer(
        allow_null=True, help_text="Null in mode `classify` and when ungradable."
    )
    quality = QualitySerializer(allow_null=True)
    orientation = OrientationSerializer(
        allow_null=True, help_text="Null until succeeded, when ungradable, and in results of earlier releases."
    )
    artifacts = ArtifactsSerializer(allow_null=True)
    models = ModelIdentitySerializer(many=True)
    timings_ms = serializers.DictField(child=serializers.FloatField(), help_text="Milliseconds by step.")
    report_status = serializers.ChoiceField(
        choices=ReportStatus.choices, help_text="`preliminary` until a clinician signs."
    )
    error = FailureSerializer(allow_null=True)
    notice = serializers.CharField()
    links = DiagnosisLinksSerializer()

    def to_representation(self, diagnosis: Diagnosis) -> dict[str, Any]:
        """Shape a row as the contract has it, then let the fields check and format it."""
        return super().to_representation({**self._job(diagnosis), **_result(diagnosis), **self._links(diagnosis)})

    def _job(self, diagnosis: Diagnosis) -> dict[str, Any]:
        return {
            "id": diagnosis.pk,
            "mode": diagnosis.mode,
            "status": diagnosis.status,
            "progress": {
                "step": diagnosis.progress_step or diagnosis.status,
                "fraction": diagnosis.progress_fraction,
            },
            "patient": diagnosis.patient_id,
            "laterality": diagnosis.image.laterality,
            "captured_at": diagnosis.image.captured_at,
            "external_id": diagnosis.external_id,
            "rerun_of": diagnosis.rerun_of_id,
            "created_at": diagnosis.created_at,
            "started_at": diagnosis.started_at,
            "finished_at": diagnosis.finished_at,
            "attempt": diagnosis.attempt,
            "report_status": diagnosis.report_status,
            "error": _failure(diagnosis),
            "notice": str(NOTICE),
        }

    def _links(self, diagnosis: Diagnosis) -> dict[str, Any]:
        request = self.context["request"]
        return {
            "artifacts": links.artifact_urls(request, diagnosis) if diagnosis.status == Status.SUCCEEDED else None,
            "links": {
                "self": links.diagnosis_url(request, diagnosis.pk),
                "patient": links.patient_url(request, diagnosis.patient_id),
                "reviews": links.reviews_url(request, diagnosis.pk),
            },
        }


def _failure(diagnosis: Diagnosis) -> dict[str, str] | None:
    if diagnosis.status != Status.FAILED:
        return None
    return {"code": diagnosis.error_code, "detail": gettext(diagnosis.error_detail) if diagnosis.error_detail else ""}


def _result(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "outcome": diagnosis.outcome or None,
        "prediction": diagnosis.prediction or None,
        "probabilities": diagnosis.probabilities,
        "conditions": diagnosis.conditions,
        "operating_point": diagnosis.operating_point or None,
        "contested": diagnosis.is_contested,
        "visit": _visit(diagnosis.visit),
        "paths": {"image": diagnosis.image_path, "vessel": diagnosis.vessel_path},
        "agreement": diagnosis.agreement,
        "vessel_features": diagnosis.vessel_features,
        "quality": _quality(diagnosis.quality),
        "orientation": _orientation(diagnosis),
        "models": diagnosis.model_bundles,
        "timings_ms": diagnosis.timings_ms,
    }


def _visit(visit: VisitStatement | None) -> dict[str, Any] | None:
    if visit is None:
        return None
    fields = [name for name in VisitSerializer().fields if name != "prediction"]
    return {"prediction": visit.prediction or None, **{name: getattr(visit, name) for name in fields}}


def _orientation(diagnosis: Diagnosis) -> dict[str, Any] | None:
    if diagnosis.orientation is None:
        return None
    seen = {name: diagnosis.orientation[name] for name in ("disc_side", "field", "eye", "certainty")}
    return {**seen, "asked": diagnosis.eye_asked, "answered_at": diagnosis.image.eye_answered_at}


def _quality(quality: dict[str, Any] | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    reasons = quality.get("reasons", [])
    tip = None if quality["gradable"] else str(retake.tip(reasons))
    return {**quality, "reasons": reasons, "remarks": quality.get("remarks", []), "tip": tip}
