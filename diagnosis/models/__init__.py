"""All models, re-exported: import them from here."""

from diagnosis.models.audit import AppendOnlyError, AuditChain, AuditEvent
from diagnosis.models.batches import Batch, BatchItem
from diagnosis.models.clinics import Clinic, OperatingPoint
from diagnosis.models.diagnoses import Diagnosis, DiseaseClass, Mode, Outcome
from diagnosis.models.images import FundusImage, Laterality
from diagnosis.models.operations import FileRemoval, IdempotencyKey, MediaInstance, WorkerHeartbeat
from diagnosis.models.patients import Patient, Sex
from diagnosis.models.reviews import BlindGrade, Escalation, GradeChangedError, Review, ReviewDraft, Verdict
from diagnosis.models.users import ApiToken, Role, User
from diagnosis.models.visits import VisitStatement
from diagnosis.models.webhooks import (
    DeliveryStatus,
    EventType,
    Webhook,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEcho,
    WebhookEvent,
)

__all__ = [
    "ApiToken",
    "AppendOnlyError",
    "AuditChain",
    "AuditEvent",
    "Batch",
    "BatchItem",
    "BlindGrade",
    "Clinic",
    "DeliveryStatus",
    "Diagnosis",
    "DiseaseClass",
    "Escalation",
    "EventType",
    "FileRemoval",
    "FundusImage",
    "GradeChangedError",
    "IdempotencyKey",
    "Laterality",
    "MediaInstance",
    "Mode",
    "OperatingPoint",
    "Outcome",
    "Patient",
    "Review",
    "ReviewDraft",
    "Role",
    "Sex",
    "User",
    "Verdict",
    "VisitStatement",
    "Webhook",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEcho",
    "WebhookEvent",
    "WorkerHeartbeat",
]
