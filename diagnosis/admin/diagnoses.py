"""Photographs, diagnoses and reviews."""

from collections.abc import Iterable

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from diagnosis import access
from diagnosis.access import Capability
from diagnosis.admin.audit import ReadOnlyAdmin
from diagnosis.admin.filters import ConfidenceBandFilter, DaysFilter, ReviewedFilter
from diagnosis.admin.searching import PrivateSearchMixin, as_uuid
from diagnosis.errors import DiagnosisError, StateConflictError
from diagnosis.models import Diagnosis, DiseaseClass, FundusImage, Review
from diagnosis.portal.views.worklist import found_patients
from diagnosis.services import intake
from diagnosis.templatetags.portal import percent

# One page of the list: more would fill the queue before the patients who are in the house.
MAX_RERUNS = 50


def small_picture(image_id: object) -> str:
    """Return the thumbnail of a photograph, from the access-checked view."""
    return format_html(
        '<img class="admin-thumbnail" src="{}" width="64" height="64" loading="lazy" alt="">',
        reverse("portal:thumbnail", args=[image_id]),
    )


def as_list(lines: Iterable[str]) -> str:
    """Return lines for reading, one below the other."""
    return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in lines))


@admin.register(FundusImage)
class FundusImageAdmin(PrivateSearchMixin, ReadOnlyAdmin):
    """Stored photographs."""

    audited_as = "image"
    list_display = ["thumbnail", "patient", "laterality", "width", "height", "captured_at", "created_at", "clinic"]
    list_display_links = ["patient"]
    list_filter = ["laterality", ("created_at", DaysFilter), "clinic"]
    list_select_related = ["patient", "clinic"]
    search_help_text = _("Name, MRN, birth date, id or SHA-256")
    sortable_by = ()
    readonly_fields = ["thumbnail"]

    @admin.display(description=_("photograph"))
    def thumbnail(self, image: FundusImage) -> str:
        """A small picture."""
        return small_picture(image.pk)

    def found(self, queryset: QuerySet[FundusImage], text: str, *, request: HttpRequest) -> QuerySet[FundusImage]:
        """Return the photographs of a patient, or the one with this id or content."""
        if pk := as_uuid(text):
            return queryset.filter(Q(pk=pk) | Q(patient_id=pk))
        if len(text) == 64 and text.isalnum():
            return queryset.filter(sha256=text.lower())
        return queryset.filter(patient__in=found_patients(request.user, text))


class ReviewInline(admin.TabularInline):
    """Who signed what, newest first."""

    model = Review
    fields = ["signed_at", "reviewer", "reading", "verdict", "label", "reason", "note", "superseded"]
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, _request: HttpRequest, _obj: Diagnosis | None = None) -> bool:
        """Never: reviews are signed in the portal."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Review]:
        """With the reader, and whether it still holds."""
        return super().get_queryset(request).with_standing().select_related("reviewer")

    @admin.display(description=_("superseded"), boolean=True)
    def superseded(self, review: Review) -> bool:
        """Whether the same reader signed again, or the report was amended."""
        return review.is_superseded


@admin.register(Diagnosis)
class DiagnosisAdmin(PrivateSearchMixin, ReadOnlyAdmin):
    """Past diagnoses."""

    audited_as = "diagnosis"
    list_display = [
        "thumbnail",
        "patient",
        "eye",
        "status",
        "outcome",
        "prediction",
        "percentage",
        "report_status",
        "created_at",
    ]
    list_display_links = ["patient"]
    list_filter = [
        "outcome",
        "prediction",
        ConfidenceBandFilter,
        ("created_at", DaysFilter),
        ReviewedFilter,
        "clinic",
        "mode",
        "status",
        "agreement",
        "is_contested",
    ]
    list_select_related = ["patient", "image", "clinic"]
    search_help_text = _("Name, MRN, birth date, or the id of a diagnosis, photograph or patient")
    # Newest first and nothing else: any other order would sort the whole table.
    sortable_by = ()
    actions = ["run_again"]
    inlines = [ReviewInline]
    readonly_fields = ["thumbnail", "eye", "percentage", "result_page", "probabilities_text", "bundles_text", "why"]
    fieldsets = (
        (None, {"fields": ("thumbnail", "patient", "eye", "clinic", "result_page")}),
        (
            _("Result"),
            {"fields": ("outcome", "prediction", "percentage", "probabilities_text", "agreement", "report_status")},
        ),
        (_("Models"), {"fields": ("mode", "bundles_text")}),
        (
            _("Job"),
            {
                "fields": (
                    "status",
                    "attempt",
                    "why",
                    "created_at",
                    "started_at",
                    "finished_at",
                    "requested_by",
                    "rerun_of",
                    "external_id",
                )
            },
        ),
    )

    @admin.display(description=_("photograph"))
    def thumbnail(self, diagnosis: Diagnosis) -> str:
        """A small picture."""
        return small_picture(diagnosis.image_id)

    @admin.display(description=_("eye"))
    def eye(self, diagnosis: Diagnosis) -> str:
        """In word and code."""
        return diagnosis.image.get_laterality_display()

    @admin.display(description=_("probability"))
    def percentage(self, diagnosis: Diagnosis) -> str:
        """Of the class above."""
        if diagnosis.confidence is None:
            return self.get_empty_value_display()
        return percent(diagnosis.confidence)

    @admin.display(description=_("result page"))
    def result_page(self, diagnosis: Diagnosis) -> str:
        """Link to the portal's page."""
        address = reverse("portal:diagnosis", args=[diagnosis.pk])
        return format_html('<a href="{}">{}</a>', address, gettext("Open the result in the portal"))

    @admin.display(description=_("probabilities"))
    def probabilities_text(self, diagnosis: Diagnosis) -> str:
        """All four classes, by both paths together."""
        shares = diagnosis.probabilities or {}
        lines = [
            f"{DiseaseClass(name).label}: {number_format(round(100 * share, 1), decimal_pos=1)} %"
            for name, share in shares.items()
        ]
        return as_list(lines) or self.get_empty_value_display()

    @admin.display(description=_("models"))
    def bundles_text(self, diagnosis: Diagnosis) -> str:
        """Which versions spoke."""
        lines = [f"{bundle['name']} {bundle['version']} ({bundle['sha256']})" for bundle in diagnosis.model_bundles]
        return as_list(lines) or self.get_empty_value_display()

    @admin.display(description=_("why it failed"))
    def why(self, diagnosis: Diagnosis) -> str:
        """Code and sentence."""
        if not diagnosis.error_code:
            return self.get_empty_value_display()
        return (
            f"{diagnosis.error_code}: {gettext(diagnosis.error_detail)}"
            if diagnosis.error_detail
            else diagnosis.error_code
        )

    def found(self, queryset: QuerySet[Diagnosis], text: str, *, request: HttpRequest) -> QuerySet[Diagnosis]:
        """Return the diagnoses of a patient, or those that an id means."""
        if pk := as_uuid(text):
            return queryset.filter(Q(pk=pk) | Q(image_id=pk) | Q(patient_id=pk))
        return queryset.filter(patient__in=found_patients(request.user, text))

    @admin.action(description=_("Run again with the current models"), permissions=["run_again"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[Diagnosis]) -> None:
        """Queue a new diagnosis of each selected photograph; each is audited by the service."""
        chosen = list(queryset[: MAX_RERUNS + 1])
        if len(chosen) > MAX_RERUNS:
            text = gettext("At most %d diagnoses are run again at a time. None was queued: select fewer.") % MAX_RERUNS
            self.message_user(request, text, messages.ERROR)
            return
        queued = unfinished = 0
        for diagnosis in chosen:
            try:
                intake.rerun(diagnosis, acting_user=request.user, is_batch=len(chosen) > 1)
            except StateConflictError:
                unfinished += 1
            except DiagnosisError as error:
                # The queue or the disk is full, or the models are away: the next one would meet the same.
                self.message_user(request, str(error.message), messages.ERROR)
                break
            else:
                queued += 1
        _tell(self, request, queued=queued, unfinished=unfinished)

    def has_run_again_permission(self, request: HttpRequest) -> bool:
        """Whose role may queue diagnoses."""
        return access.may(request.user, Capability.WRITE_DIAGNOSES)


def _tell(page: admin.ModelAdmin, request: HttpRequest, *, queued: int, unfinished: int) -> None:
    if unfinished:
        text = ngettext(
            "%d selected diagnosis has not finished and was left as it is.",
            "%d selected diagnoses have not finished and were left as they are.",
            unfinished,
        )
        page.message_user(request, text % unfinished, messages.WARNING)
    if queued:
        text = ngettext("%d diagnosis was queued again.", "%d diagnoses were queued again.", queued)
        page.message_user(request, text % queued, messages.SUCCESS)


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    """Signed statements."""

    audited_as = "review"
    list_display = ["signed_at", "reviewer", "reading", "verdict", "label", "diagnosis"]
    list_filter = ["reading", "verdict", "label", ("signed_at", DaysFilter)]
    list_select_related = ["reviewer", "diagnosis"]
    sortable_by = ()
