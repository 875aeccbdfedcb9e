"""Absolute addresses of records and pictures."""

import uuid

from django.urls import reverse
from rest_framework.request import Request

from diagnosis.models import Diagnosis

PHOTOGRAPH = "photograph"
ARTIFACTS = (PHOTOGRAPH, "vessel_map", "vessel_overlay", "grad_cam", "grad_cam_overlay")


def patient_url(request: Request, patient_id: uuid.UUID) -> str:
    """Return the address of a patient."""
    return _absolute(request, "patient", patient_id)


def diagnosis_url(request: Request, diagnosis_id: uuid.UUID) -> str:
    """Return the address of a diagnosis."""
    return _absolute(request, "diagnosis", diagnosis_id)


def batch_url(request: Request, batch_id: uuid.UUID) -> str:
    """Return the address of a batch."""
    return _absolute(request, "batch", batch_id)


def reviews_url(request: Request, diagnosis_id: uuid.UUID) -> str:
    """Return the address of a diagnosis's reviews."""
    return _absolute(request, "reviews", diagnosis_id)


def artifact_urls(request: Request, diagnosis: Diagnosis) -> dict[str, str | None]:
    """Return the address of each picture of a result; None where the result has no such picture."""
    return {
        name: _absolute(request, "artifact", diagnosis.pk, name)
        if name == PHOTOGRAPH or name in diagnosis.artifacts
        else None
        for name in ARTIFACTS
    }


def _absolute(request: Request, name: str, *args: uuid.UUID | str) -> str:
    return request.build_absolute_uri(reverse(f"api:{name}", args=args))
