"""Makers of records. Every one of them is plainly made up."""

import hashlib
import io
import uuid
from datetime import date
from typing import Any

import factory
from django.utils import timezone
from PIL import Image

from diagnosis import storage
from diagnosis.inference import AcceptedPhotograph, Findings
from diagnosis.lifecycle import Status
from diagnosis.models import (
    Clinic,
    Diagnosis,
    EventType,
    FundusImage,
    Laterality,
    Mode,
    Outcome,
    Patient,
    Role,
    User,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
)

PASSWORD = "correct-horse-battery"
FOUR = {"DiabeticRetinopathy": 0.03, "Glaucoma": 0.81, "Myopia": 0.02, "Normal": 0.14}
CONDITIONS = [
    {
        "condition": "DiabeticRetinopathy",
        "statement": "not_suspected",
        "probability": 0.1764706,
        "rule_out": 0.49,
        "rule_in": 0.64,
    },
    {"condition": "Glaucoma", "statement": "suspected", "probability": 0.8526316, "rule_out": 0.13, "rule_in": 0.75},
    {"condition": "Myopia", "statement": "not_suspected", "probability": 0.125, "rule_out": 0.2, "rule_in": 0.4},
]
# The disc lies where that of a right eye does.
ORIENTATION = {
    "disc_side": "right",
    "field": "macula",
    "eye": "R",
    "certainty": 0.9971,
    "is_certain": True,
    "model": {"name": "fundus_laterality", "version": "1.0.0", "sha256": "d" * 64},
}
ORIENTATION_OF_LEFT = {**ORIENTATION, "disc_side": "left", "eye": "L"}
BUNDLES = [
    {"name": "fundus_vessel_segmentation", "version": "1.0.0", "sha256": "a" * 64},
    {"name": "fundus_disease_classification", "version": "1.0.0", "sha256": "b" * 64},
    {"name": "vessel_map_classification", "version": "1.0.0", "sha256": "c" * 64},
]


def jpeg(width: int = 96, height: int = 80, *, colour: tuple[int, int, int] = (150, 70, 30)) -> bytes:
    """Return a small plain JPEG."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def png(width: int = 96, height: int = 80, *, level: int = 128, mode: str = "L") -> bytes:
    """Return a small plain PNG."""
    buffer = io.BytesIO()
    Image.new(mode, (width, height), level if mode == "L" else (level, 40, 20)).save(buffer, "PNG")
    return buffer.getvalue()


class ClinicFactory(factory.django.DjangoModelFactory):
    """A clinic."""

    name = factory.Sequence(lambda n: f"Clinic {n}")
    # As most tests are about something else, their readers see results at once.
    blind_review = False

    class Meta:
        model = Clinic


class UserFactory(factory.django.DjangoModelFactory):
    """A technician with a password; pass ``role`` for another."""

    username = factory.Sequence(lambda n: f"user{n}")
    role = Role.TECHNICIAN
    clinic = factory.Maybe(
        factory.LazyAttribute(lambda user: user.role != Role.PLATFORM_ADMIN), factory.SubFactory(ClinicFactory), None
    )
    password = factory.django.Password(PASSWORD)

    class Meta:
        model = User


class PatientFactory(factory.django.DjangoModelFactory):
    """A patient."""

    clinic = factory.SubFactory(ClinicFactory)
    mrn = factory.Sequence(lambda n: f"MRN-{n:05d}")
    given_name = "Ada"
    family_name = factory.Sequence(lambda n: f"Example{n}")
    birth_date = date(1961, 3, 14)
    sex = "female"

    class Meta:
        model = Patient


class FundusImageFactory(factory.django.DjangoModelFactory):
    """A stored photograph, its file included; ``content`` sets the bytes."""

    class Meta:
        model = FundusImage
        exclude = ["content"]

    content = factory.Sequence(lambda n: jpeg(colour=(150 - n % 50, 70 + n % 97, 30 + n % 89)) + n.to_bytes(4, "big"))
    id = factory.LazyFunction(uuid.uuid4)
    patient = factory.SubFactory(PatientFactory)
    clinic = factory.SelfAttribute("patient.clinic")
    laterality = Laterality.RIGHT
    path = factory.LazyAttribute(lambda image: storage.image_path(image.id))
    sha256 = factory.LazyAttribute(lambda image: storage.write_durably(image.path, image.content))
    source_sha256 = factory.SelfAttribute("sha256")
    source_format = "JPEG"
    size_bytes = factory.LazyAttribute(lambda image: len(image.content))
    width = 96
    height = 80
    quality = factory.LazyFunction(lambda: {"gradable": True, "score": 0.9, "reasons": []})


class DiagnosisFactory(factory.django.DjangoModelFactory):
    """A queued diagnosis."""

    image = factory.SubFactory(FundusImageFactory)
    patient = factory.SelfAttribute("image.patient")
    clinic = factory.SelfAttribute("image.clinic")
    mode = Mode.SEGMENT_CLASSIFY
    requested_by = factory.SubFactory(UserFactory, clinic=factory.SelfAttribute("..clinic"))

    class Meta:
        model = Diagnosis


class WebhookFactory(factory.django.DjangoModelFactory):
    """A webhook that wants every event."""

    clinic = factory.SubFactory(ClinicFactory)
    url = "https://ehr.example.org/hooks"
    events = factory.LazyFunction(lambda: [event for event in EventType.values if event != EventType.PING])
    seed = factory.Sequence(lambda n: f"{n:064x}")

    class Meta:
        model = Webhook


class WebhookEventFactory(factory.django.DjangoModelFactory):
    """A ping."""

    clinic = factory.SubFactory(ClinicFactory)
    type = EventType.PING

    class Meta:
        model = WebhookEvent


class WebhookDeliveryFactory(factory.django.DjangoModelFactory):
    """A delivery that is due."""

    webhook = factory.SubFactory(WebhookFactory)
    event = factory.SubFactory(WebhookEventFactory, clinic=factory.SelfAttribute("..webhook.clinic"))

    class Meta:
        model = WebhookDelivery


def finished_diagnosis(**fields: Any) -> Diagnosis:
    """Return a succeeded diagnosis with a finding and its pictures on disk."""
    diagnosis = DiagnosisFactory(
        **{
            name: value
            for name, value in fields.items()
            if name in ("image", "mode", "image__patient", "image__laterality", "requested_by")
        }
    )
    findings = fake_findings(mode=diagnosis.mode)
    directory = storage.attempt_directory(diagnosis.pk, 1)
    artifacts = {
        name: {
            "path": f"{directory}/{file_name}",
            "sha256": storage.write_durably(f"{directory}/{file_name}", content),
            "content_type": content_type,
        }
        for name, (file_name, content_type, content) in findings.pictures.items()
    }
    result = {
        "status": Status.SUCCEEDED,
        "attempt": 1,
        "started_at": timezone.now(),
        "finished_at": timezone.now(),
        "progress_fraction": 1.0,
        "outcome": findings.outcome,
        "prediction": findings.prediction,
        "confidence": 0.81,
        "probabilities": findings.probabilities,
        "conditions": findings.conditions,
        "operating_point": findings.operating_point,
        "is_contested": False,
        "image_path": findings.image_path,
        "vessel_path": findings.vessel_path,
        "agreement": findings.agreement,
        "vessel_features": findings.vessel_features,
        "quality": findings.quality,
        "orientation": findings.orientation,
        "eye_asked": False,
        "model_bundles": findings.models,
        "timings_ms": findings.timings_ms,
        "artifacts": artifacts,
    }
    if "conditions" not in fields:
        result["conditions"] = conditions(fields.get("outcome", findings.outcome), fields.get("prediction", "Glaucoma"))
    result.update({name: value for name, value in fields.items() if name in result or name == "report_status"})
    Diagnosis.objects.filter(pk=diagnosis.pk).update(**result)
    diagnosis.refresh_from_db()
    return diagnosis


VESSEL_FEATURES = {
    "density": 0.1123,
    "length": 9.6214,
    "fractal_dimension": 1.5872,
    "tortuosity": 1.0841,
    "calibre": 9.1432,
    "research_use_only": True,
}


def fake_findings(*, mode: str = Mode.SEGMENT_CLASSIFY, outcome: str = Outcome.FINDING, marker: int = 128) -> Findings:
    """Return made-up findings whose pictures are plain grey of level ``marker``."""
    both = mode == Mode.SEGMENT_CLASSIFY
    named = outcome == Outcome.FINDING
    gradable = outcome != Outcome.UNGRADABLE
    path = {"prediction": "Glaucoma", "probabilities": dict(FOUR)} if gradable else None
    names = ["grad_cam", "grad_cam_overlay"] if gradable else []
    if both:
        names += ["vessel_map", "vessel_overlay"]
    return Findings(
        outcome=outcome,
        prediction="Glaucoma" if named else "",
        probabilities=dict(FOUR) if gradable else None,
        conditions=conditions(outcome),
        operating_point="balanced" if gradable else "",
        image_path=path,
        vessel_path=path if both else None,
        agreement=True if both and gradable else None,
        vessel_features=dict(VESSEL_FEATURES) if both and gradable else None,
        quality={"gradable": gradable, "score": 0.9 if gradable else 0.1, "reasons": [] if gradable else ["blurred"]},
        models=BUNDLES if both else BUNDLES[1:2],
        timings_ms={"decode": 1.0, "segment": 2.0, "measure": 0.5, "classify": 3.0, "explain": 4.0, "total": 10.5},
        pictures={name: (f"{name}.png", "image/png", png(level=marker)) for name in names},
        orientation=dict(ORIENTATION) if gradable else None,
    )


def conditions(outcome: str, prediction: str = "Glaucoma") -> list[dict[str, Any]] | None:
    """Return the statements that belong to an outcome and to the class that is named."""
    if outcome == Outcome.UNGRADABLE:
        return None
    if outcome == Outcome.INDETERMINATE:
        return [{**row, "statement": "indeterminate"} for row in CONDITIONS]
    words = {True: "suspected", False: "not_suspected"}
    return [{**row, "statement": words[row["condition"] == prediction]} for row in CONDITIONS]


def accept_any(data: bytes, *, declared_type: str | None, file_name: str | None) -> AcceptedPhotograph:
    """Stand in for the intake gate: take any bytes as they are."""
    del declared_type, file_name
    digest = hashlib.sha256(data).hexdigest()
    return AcceptedPhotograph(
        jpeg=data,
        sha256=digest,
        source_sha256=digest,
        source_format="JPEG",
        width=96,
        height=80,
        quality={"gradable": True, "score": 0.9, "reasons": []},
        dicom=None,
    )
