"""A client of the REST API, and the shape that every refusal has."""

from pathlib import Path
from typing import Any

from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from diagnosis.models import AuditEvent, Diagnosis, FundusImage, IdempotencyKey, Patient, User
from diagnosis.services import tokens
from diagnosis.storage import MARKER
from tests import factories

SUBMIT = ("segment-classify", "classify")


class ApiUser:
    """A user with a token and a client that sends it."""

    def __init__(self, user: User, *, scopes: list[str] | None = None) -> None:
        self.user = user
        self.token, self.secret = tokens.issue(user, acting_user=None, name="test", scopes=scopes)
        self.client = APIClient(HTTP_AUTHORIZATION=f"Bearer {self.secret}")

    def get(self, path: str, *args: Any, **headers: Any) -> Any:
        return self.client.get(path, *args, **headers)

    def post(self, path: str, body: Any = None, **headers: Any) -> Any:
        return self.client.post(path, body, format="json", **headers)

    def patch(self, path: str, body: Any = None, **headers: Any) -> Any:
        return self.client.patch(path, body, format="json", **headers)

    def submit(
        self,
        patient: Patient | None,
        data: bytes | None = None,
        /,
        *,
        endpoint: str = "classify",
        file_name: str = "photo.jpg",
        content_type: str = "image/jpeg",
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> Any:
        """Post a photograph; a field set to None is left out."""
        body = {"laterality": "R"} | ({"patient": str(patient.pk)} if patient else {}) | fields
        content = factories.jpeg() if data is None else data
        body = {name: value for name, value in body.items() if value is not None}
        body.setdefault("image", SimpleUploadedFile(file_name, content, content_type=content_type))
        return self.client.post(f"/api/v1/diagnoses/{endpoint}/", body, format="multipart", headers=headers or {})


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Check the shape that every refusal has; return the document."""
    assert answer.status_code == status, answer.content[:500]
    assert answer["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["code"] == code
    assert document["status"] == status
    assert {"type", "title", "status", "detail", "instance", "code"} <= document.keys()
    assert document["detail"]
    return document


def raw(user: ApiUser, endpoint: str, body: bytes | str, *, content_type: str, **headers: Any) -> Any:
    """Post a body as it is to one of the two diagnosis endpoints."""
    return user.client.generic("POST", f"/api/v1/diagnoses/{endpoint}/", body, content_type=content_type, **headers)


def stored_files(settings: LazySettings) -> list[Path]:
    """Return every file in media storage."""
    return [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file() and path.name != MARKER]


def assert_nothing_stored(settings: LazySettings, *, code: str) -> None:
    """Check that a refusal left its line in the audit trail and nothing else."""
    assert not FundusImage.objects.exists()
    assert not Diagnosis.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert stored_files(settings) == []
    trace = AuditEvent.objects.exclude(action="token.issued").get()
    assert (trace.action, trace.details) == ("image.refused", {"code": code})
