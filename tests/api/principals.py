"""Who sends generated requests, and the records that they meet."""

import itertools
import json
import uuid
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from diagnosis.access import scopes_for
from diagnosis.lifecycle import Status
from diagnosis.models import Batch, Diagnosis, Role, User, WebhookEcho
from diagnosis.services import reviews, tokens
from diagnosis.webhooks import outbox
from tests import factories
from tests.api.client import ApiUser

CSRF = "c" * 32
UNGRADABLE = {
    "outcome": "ungradable",
    "prediction": "",
    "confidence": None,
    "probabilities": None,
    "image_path": None,
    "vessel_path": None,
    "agreement": None,
    "vessel_features": None,
    "quality": {"gradable": False, "score": 0.1, "reasons": ["too_dark"]},
}


class Records:
    """Records of one clinic, at every stage that a request may meet; nobody else has any."""

    def __init__(self) -> None:
        self.clinic = factories.ClinicFactory()
        self.ehr = factories.UserFactory(role=Role.EHR_CLIENT, clinic=self.clinic, username="ehr")
        # Not the MRN of the document's examples, which are to be registered.
        self.patient = factories.PatientFactory(clinic=self.clinic, mrn="A-4711")
        of_patient = {"image__patient": self.patient, "requested_by": self.ehr}
        self.finished = factories.finished_diagnosis(**of_patient)
        self.ungradable = factories.finished_diagnosis(**of_patient, **UNGRADABLE)
        self.queued = factories.DiagnosisFactory(**of_patient)
        self.failed = factories.DiagnosisFactory(**of_patient)
        Diagnosis.objects.filter(pk=self.failed.pk).update(
            status=Status.FAILED, error_code="internal_error", finished_at=timezone.now()
        )
        reader = factories.UserFactory(role=Role.CLINICIAN, clinic=self.clinic)
        reviews.sign(self.finished, acting_user=reader, verdict="agree")
        self.batch = Batch.objects.create(
            clinic=self.clinic, mode="classify", size=2, created_by=self.ehr, taken_at=timezone.now()
        )
        self.batch.items.create(index=0, diagnosis=self.finished)
        refusal = {"status": 422, "code": "image_too_small", "detail": "It is too small.", "errors": []}
        self.batch.items.create(index=1, error=refusal)
        self.delivery = factories.WebhookDeliveryFactory(
            webhook__clinic=self.clinic, status="dead", finished_at=timezone.now()
        )
        self.delivery.attempts.create(started_at=timezone.now(), duration_ms=12, error_code="timeout")
        self.webhook = self.delivery.webhook
        message = json.loads(outbox.message(self.delivery.event))
        headers = {"Webhook-Id": message["id"]}
        WebhookEcho.objects.create(clinic=self.clinic, webhook=self.webhook, headers=headers, body=message)
        self.token, _secret = tokens.issue(self.ehr, acting_user=None, name="known")
        self._to_read = itertools.cycle([self.finished, self.queued, self.failed, self.ungradable])
        self._to_repeat = itertools.cycle([self.finished, self.failed])

    def id_for(self, parameter: str, label: str) -> uuid.UUID:
        """Return the id to send as a parameter of the address of an operation, in turns where several will do."""
        if parameter == "diagnosis_id":
            return self._diagnosis_for(label).pk
        known: dict[str, Model] = {
            "patient_id": self.patient,
            "batch_id": self.batch,
            "webhook_id": self.webhook,
            "delivery_id": self.delivery,
            "token_id": self.token,
        }
        return known[parameter].pk

    def _diagnosis_for(self, label: str) -> Diagnosis:
        if label.endswith("/cancel/"):
            return self.queued
        if label.endswith("/rerun/"):
            return next(self._to_repeat)
        if label == "GET /api/v1/diagnoses/{diagnosis_id}/":
            return next(self._to_read)
        return self.finished


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who asks.

    Attributes:
        role: None for somebody who is not signed in.
        scopes: Of the token; None for all of the role.
        is_at_home: Whether the records are those of the own clinic.
        has_session: Whether the portal's session takes the place of the token.
    """

    role: Role | None
    scopes: tuple[str, ...] | None = None
    is_at_home: bool = True
    has_session: bool = False

    @property
    def capabilities(self) -> set[str]:
        """What the principal may do."""
        return set(scopes_for(self.role) if self.scopes is None else self.scopes) if self.role else set()

    def headers(self, records: Records) -> dict[str, str]:
        """Make the account, and return the headers that say who asks."""
        if self.role is None:
            return {}
        clinic = records.clinic if self.is_at_home else factories.ClinicFactory()
        user = factories.UserFactory(role=self.role, clinic=clinic)
        if self.has_session:
            return _session_of(user)
        return {"Authorization": f"Bearer {ApiUser(user, scopes=self.scopes and list(self.scopes)).secret}"}


def _session_of(user: User) -> dict[str, str]:
    browser = Client()
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    session = browser.cookies[settings.SESSION_COOKIE_NAME].value
    cookies = f"{settings.SESSION_COOKIE_NAME}={session}; {settings.CSRF_COOKIE_NAME}={CSRF}"
    return {"Cookie": cookies, "X-CSRFToken": CSRF}


PRINCIPALS = {
    "anonymous": Principal(role=None),
    "ehr": Principal(role=Role.EHR_CLIENT),
    "administrator": Principal(role=Role.CLINIC_ADMIN),
    "read-only": Principal(
        role=Role.EHR_CLIENT, scopes=("patients:read", "diagnoses:read", "reviews:read", "models:read")
    ),
    "session": Principal(role=Role.CLINICIAN, has_session=True),
    "other-clinic": Principal(role=Role.CLINIC_ADMIN, is_at_home=False),
}
