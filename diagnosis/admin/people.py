"""Clinics, users, tokens, patients."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from diagnosis import audit
from diagnosis.admin.audit import ReadOnlyAdmin
from diagnosis.admin.searching import PrivateSearchMixin, as_uuid
from diagnosis.models import ApiToken, Clinic, Patient, User
from diagnosis.portal.views.worklist import found_patients

# Roles say what a user may do; groups would say nothing and look as if they did.
admin.site.unregister(Group)


class AuditedAdmin(admin.ModelAdmin):
    """Creations and changes go into the audit trail; nothing is deleted, because records name it."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        """Note a creation."""
        _audit(request, obj, verb="created", message=message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        """Note a change; of a password too, which has a page of its own."""
        _audit(request, obj, verb="changed", message=message)
        return super().log_change(request, obj, message)

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Never: switch the account off instead."""
        return False


def _audit(request: HttpRequest, obj: Model, *, verb: str, message: Any) -> None:
    """Record which fields changed: their names, never their values."""
    parts = message if isinstance(message, list) else []
    fields = [field for part in parts for field in part.get("changed", {}).get("fields", [])]
    audit.record(
        f"{obj._meta.model_name}.{verb}",
        acting_user=request.user,
        subject=obj,
        clinic=obj if isinstance(obj, Clinic) else None,
        fields=sorted(fields),
    )


@admin.register(Clinic)
class ClinicAdmin(AuditedAdmin):
    """Clinics and how each of them works."""

    list_display = ["name", "created_at"]


@admin.register(User)
class PortalUserAdmin(PrivateSearchMixin, AuditedAdmin, UserAdmin):
    """Users with role and clinic."""

    list_display = ["username", "first_name", "last_name", "role", "clinic", "is_active"]
    list_filter = ["role", "clinic", "is_active"]
    list_select_related = ["clinic"]
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email")}),
        (_("Access"), {"fields": ("role", "clinic", "is_active", "is_staff", "is_superuser")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "role", "clinic", "password1", "password2")}),
    )
    search_help_text = _("Name, user name, e-mail address or id")

    def found(self, queryset: QuerySet[User], text: str, *, request: HttpRequest) -> QuerySet[User]:
        """Return the users whose names contain every word."""
        del request
        if pk := as_uuid(text):
            return queryset.filter(pk=pk)
        for word in text.split():
            names = ("username", "first_name", "last_name", "email")
            named = Q()
            for name in names:
                named |= Q(**{f"{name}__icontains": word})
            queryset = queryset.filter(named)
        return queryset


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Tokens are issued and revoked in the portal; here they are seen."""

    list_display = ["name", "prefix", "user", "created_at", "expires_at", "revoked_at", "last_used_at"]
    list_select_related = ["user"]
    exclude = ["digest"]


@admin.register(Patient)
class PatientAdmin(PrivateSearchMixin, ReadOnlyAdmin):
    """Patients are registered and corrected in the portal, where it is audited."""

    audited_as = "patient"
    list_display = ["__str__", "mrn", "birth_date", "sex", "clinic"]
    list_filter = ["sex", "clinic"]
    list_select_related = ["clinic"]
    search_help_text = _("Name, MRN, birth date or id")
    sortable_by = ()

    def found(self, queryset: QuerySet[Patient], text: str, *, request: HttpRequest) -> QuerySet[Patient]:
        """Return the patients that a text means."""
        if pk := as_uuid(text):
            return queryset.filter(pk=pk)
        return queryset.filter(pk__in=found_patients(request.user, text))
