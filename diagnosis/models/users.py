"""People and programs that sign in."""

import uuid
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from diagnosis.models.clinics import Clinic


class Role(models.TextChoices):
    """What a user is; ``access.py`` says what each may do."""

    TECHNICIAN = "technician", _("Technician")
    CLINICIAN = "clinician", _("Clinician")
    CLINIC_ADMIN = "clinic_admin", _("Clinic administrator")
    PLATFORM_ADMIN = "platform_admin", _("Platform administrator")
    EHR_CLIENT = "ehr_client", _("EHR client")


class PortalUserManager(UserManager["User"]):
    """Creates users; a superuser is a platform administrator."""

    def create_superuser(  # type: ignore[override]
        self, username: str, email: str | None = None, password: str | None = None, **extra: object
    ) -> "User":
        """Create a platform administrator who may use the admin site."""
        extra.setdefault("role", Role.PLATFORM_ADMIN)
        return super().create_superuser(username, email, password, **extra)

    def managed_by(self, user: "User") -> models.QuerySet["User"]:
        """Users whose access ``user`` looks after, where the role includes that at all.

        A platform administrator looks after everybody; others after their clinic, less the platform
        administrators who happen to belong to it.
        """
        if user.is_active and user.role == Role.PLATFORM_ADMIN:
            return self.all()
        if not user.is_active or user.clinic_id is None:
            return self.none()
        return self.filter(clinic_id=user.clinic_id).exclude(role=Role.PLATFORM_ADMIN)


class User(AbstractUser):
    """A person or an EHR client. Everybody but platform administrators belongs to one clinic."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    role = models.CharField(_("role"), max_length=20, choices=Role.choices, default=Role.TECHNICIAN)
    clinic = models.ForeignKey(
        Clinic, verbose_name=_("clinic"), on_delete=models.PROTECT, null=True, blank=True, related_name="users"
    )

    objects: ClassVar[PortalUserManager] = PortalUserManager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="user_has_clinic_unless_platform_admin",
                condition=Q(clinic__isnull=False) | Q(role=Role.PLATFORM_ADMIN),
                violation_error_message=_("Everybody but platform administrators belongs to a clinic."),
            ),
            models.CheckConstraint(name="user_role_known", condition=Q(role__in=Role.values)),
        ]

    def __str__(self) -> str:
        return self.get_full_name() or self.username


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Lookups of tokens."""

    def visible_to(self, user: User) -> Self:
        """Tokens of the users whom this one looks after."""
        return self.filter(user__in=User.objects.managed_by(user))

    def usable(self) -> Self:
        """Neither revoked nor expired, of an active user."""
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()), revoked_at__isnull=True, user__is_active=True
        )


class ApiToken(models.Model):
    """A bearer token of a user. Only its SHA-256 is stored."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(_("label"), max_length=100)
    prefix = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def needs_touch(self, now: datetime) -> bool:
        """Whether ``last_used_at`` is old enough to be worth a write (one a minute)."""
        return self.last_used_at is None or now - self.last_used_at > timedelta(minutes=1)
