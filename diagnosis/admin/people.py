"""Clinics, users, tokens, patients."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.utils.translation import gettext_lazy as _

from diagnosis.admin.audit import ReadOnlyAdmin
from diagnosis.models import ApiToken, Clinic, Patient, User


@admin.register(Clinic)
class ClinicAdmin(admin.ModelAdmin):
    """Clinics."""

    list_display = ["name", "created_at"]
    search_fields = ["name"]


@admin.register(User)
class PortalUserAdmin(UserAdmin):
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


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Tokens are issued and revoked by command; here they are seen."""

    list_display = ["name", "prefix", "user", "created_at", "expires_at", "revoked_at", "last_used_at"]
    list_select_related = ["user"]
    exclude = ["digest"]


@admin.register(Patient)
class PatientAdmin(ReadOnlyAdmin):
    """Patients are registered and corrected in the portal, where it is audited."""

    list_display = ["__str__", "mrn", "birth_date", "sex", "clinic"]
    list_filter = ["clinic"]
    list_select_related = ["clinic"]
    search_fields = ["search_key"]
    show_full_result_count = False
