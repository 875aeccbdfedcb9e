"""Roles and what each may do. Portal, API and admin all ask here.

Which *rows* a user may know about is ``visible_to`` of the QuerySets; which *actions* is this table.
"""

from enum import StrEnum
from typing import Any

from django.db.models import Model

from diagnosis.errors import NotAllowedError, NotFoundError
from diagnosis.models import Role, User


class Capability(StrEnum):
    """Something that a role may or may not do. The values are also the scopes of API tokens."""

    READ_PATIENTS = "patients:read"
    WRITE_PATIENTS = "patients:write"
    READ_DIAGNOSES = "diagnoses:read"
    WRITE_DIAGNOSES = "diagnoses:write"
    OVERRIDE_DUPLICATES = "diagnoses:override"
    READ_REVIEWS = "reviews:read"
    WRITE_REVIEWS = "reviews:write"
    ARBITRATE_REVIEWS = "reviews:arbitrate"
    READ_MODELS = "models:read"
    READ_AUDIT = "audit:read"
    EXPORT_RECORDS = "records:export"
    MANAGE_USERS = "users:manage"
    MANAGE_READING = "reading:manage"
    READ_WEBHOOKS = "webhooks:read"
    WRITE_WEBHOOKS = "webhooks:write"


_STAFF = frozenset(
    {
        Capability.READ_PATIENTS,
        Capability.WRITE_PATIENTS,
        Capability.READ_DIAGNOSES,
        Capability.WRITE_DIAGNOSES,
        Capability.READ_REVIEWS,
        Capability.READ_MODELS,
    }
)
_READERS = _STAFF | {Capability.WRITE_REVIEWS, Capability.OVERRIDE_DUPLICATES}
_WEBHOOKS = frozenset({Capability.READ_WEBHOOKS, Capability.WRITE_WEBHOOKS})

CAPABILITIES: dict[str, frozenset[Capability]] = {
    Role.TECHNICIAN: _STAFF,
    Role.CLINICIAN: _READERS,
    Role.CLINIC_ADMIN: _READERS
    | _WEBHOOKS
    | {
        Capability.READ_AUDIT,
        Capability.EXPORT_RECORDS,
        Capability.MANAGE_USERS,
        Capability.ARBITRATE_REVIEWS,
        Capability.MANAGE_READING,
    },
    Role.PLATFORM_ADMIN: frozenset(Capability),
    Role.EHR_CLIENT: _STAFF | _WEBHOOKS,
}


def may(user: User, capability: Capability) -> bool:
    """Whether the user's role includes the capability; never for an inactive user."""
    return user.is_active and capability in CAPABILITIES.get(user.role, frozenset())


def require(user: User, capability: Capability) -> None:
    """Pass silently, or refuse.

    Raises:
        NotAllowedError: The user's role does not include the capability.
    """
    if not may(user, capability):
        raise NotAllowedError


def require_visible(record: Model, user: User) -> None:
    """Pass silently when the user may know about the record, or answer as if it did not exist.

    Args:
        record: A row of a model whose QuerySet has ``visible_to``.
        user: Who asks.

    Raises:
        NotFoundError: It is another clinic's, or gone.
    """
    rows: Any = type(record)._default_manager
    if not rows.visible_to(user).filter(pk=record.pk).exists():
        raise NotFoundError


def scopes_for(role: str) -> list[str]:
    """Return every scope that a token of this role may carry, sorted."""
    return sorted(str(capability) for capability in CAPABILITIES.get(role, frozenset()))
