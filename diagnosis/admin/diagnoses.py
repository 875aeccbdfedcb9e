"""Photographs, diagnoses and reviews."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from diagnosis.admin.audit import ReadOnlyAdmin
from diagnosis.errors import DiagnosisError
from diagnosis.models import Diagnosis, FundusImage, Review
from diagnosis.services import intake


@admin.register(FundusImage)
class FundusImageAdmin(ReadOnlyAdmin):
    """Stored photographs."""

    list_display = ["id", "patient", "laterality", "width", "height", "captured_at", "created_at", "clinic"]
    list_filter = ["laterality", "clinic"]
    list_select_related = ["patient", "clinic"]
    search_fields = ["=id", "=sha256"]
    show_full_result_count = False


@admin.register(Diagnosis)
class DiagnosisAdmin(ReadOnlyAdmin):
    """Past diagnoses."""

    list_display = [
        "thumbnail",
        "patient",
        "eye",
        "status",
        "outcome",
        "prediction",
        "confidence",
        "report_status",
        "created_at",
    ]
    list_display_links = ["thumbnail", "patient"]
    list_filter = ["status", "outcome", "prediction", "report_status", "agreement", "mode", "clinic"]
    list_select_related = ["patient", "image", "clinic"]
    search_fields = ["=id", "patient__search_key"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    list_per_page = 50
    actions = ["run_again"]

    @admin.display(description=_("photograph"))
    def thumbnail(self, diagnosis: Diagnosis) -> str:
        """A small picture from the access-checked view."""
        address = reverse("portal:thumbnail", args=[diagnosis.image_id])
        return format_html('<img src="{}" width="64" loading="lazy" alt="">', address)

    @admin.display(description=_("eye"))
    def eye(self, diagnosis: Diagnosis) -> str:
        """In word and code."""
        return diagnosis.image.get_laterality_display()

    @admin.action(description=_("Run again with the current models"))
    def run_again(self, request: HttpRequest, queryset: QuerySet[Diagnosis]) -> None:
        """Queue a new diagnosis of each selected photograph."""
        queued = 0
        for diagnosis in queryset:
            try:
                intake.rerun(diagnosis, acting_user=request.user)
                queued += 1
            except DiagnosisError as error:
                self.message_user(request, f"{diagnosis.pk}: {error.message}", messages.WARNING)
        text = ngettext("%d diagnosis was queued again.", "%d diagnoses were queued again.", queued) % queued
        self.message_user(request, text, messages.SUCCESS)

    def has_run_again_permission(self, request: HttpRequest) -> bool:
        """Every platform administrator."""
        return bool(request.user.is_active and request.user.is_staff)


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    """Signed statements."""

    list_display = ["id", "diagnosis", "reviewer", "verdict", "label", "signed_at"]
    list_filter = ["verdict", "label"]
    list_select_related = ["reviewer", "diagnosis"]
