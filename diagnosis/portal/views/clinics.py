"""How a clinic reads: its administrators' settings."""

import uuid

from django import forms
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError
from diagnosis.models import Clinic, OperatingPoint, Role, User
from diagnosis.portal.forms import ServiceForm
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.services import clinics


class ReadingSettingsForm(ServiceForm):
    """Blind, by two, and when a finding becomes urgent."""

    blind_review = forms.BooleanField(
        label=gettext_lazy("Grade before the result is shown"),
        required=False,
        help_text=gettext_lazy(
            "Whoever may sign grades each photograph first; then the models' word is shown to them."
        ),
    )
    second_reader = forms.BooleanField(
        label=gettext_lazy("Two readers for every result"),
        required=False,
        help_text=gettext_lazy(
            "The second does not see the first one's word. Where they differ, an administrator who gave neither reading decides."
        ),
    )
    operating_point = forms.ChoiceField(
        label=gettext_lazy("How the models decide"),
        choices=OperatingPoint.choices,
        help_text=gettext_lazy(
            "Screening misses fewer eyes and leaves more of them indeterminate. It holds for photographs that are analysed from now on."
        ),
    )
    escalation_hours = forms.IntegerField(
        label=gettext_lazy("Hours until an unsigned result that needs a look is urgent"),
        min_value=1,
        max_value=clinics.LONGEST_HOURS,
        help_text=gettext_lazy("It then stands in the filter “Urgent”, and the readers are mailed once."),
    )


class ReadingSettingsView(PortalView):
    """Show and change the settings of one clinic."""

    capability = Capability.MANAGE_READING

    def get(self, request: PortalRequest) -> HttpResponse:
        """The form; a platform administrator chooses the clinic first."""
        clinic = self._clinic(request)
        if clinic is None:
            return render(request, "portal/reading_settings.html", {"clinics": self._visible(request.user)})
        present = {name: getattr(clinic, name) for name in ReadingSettingsForm.base_fields}
        return self._page(request, clinic, ReadingSettingsForm(initial=present))

    def post(self, request: PortalRequest) -> HttpResponse:
        """Save, and come back."""
        clinic = self._clinic(request)
        if clinic is None:
            return redirect("portal:reading_settings")
        form = ReadingSettingsForm(request.POST)
        if not form.is_valid():
            return self._page(request, clinic, form)
        try:
            clinics.change_reading(clinic, acting_user=request.user, **form.cleaned_data)
        except DiagnosisError as error:
            form.add_refusal(error)
            return self._page(request, clinic, form)
        messages.success(request, _("The settings are saved. They hold for what is read from now on."))
        return redirect(f"{reverse('portal:reading_settings')}?clinic={clinic.pk}")

    def _visible(self, user: User) -> QuerySet[Clinic]:
        is_everywhere = user.role == Role.PLATFORM_ADMIN
        return Clinic.objects.all() if is_everywhere else Clinic.objects.filter(pk=user.clinic_id)

    def _clinic(self, request: PortalRequest) -> Clinic | None:
        chosen = request.GET.get("clinic")
        if not chosen:
            return request.user.clinic
        try:
            pk = uuid.UUID(chosen)
        except ValueError as error:
            raise BadRequest from error
        return get_object_or_404(self._visible(request.user), pk=pk)

    def _page(self, request: PortalRequest, clinic: Clinic, form: ReadingSettingsForm) -> HttpResponse:
        context = {"clinic": clinic, "form": form}
        return render(request, "portal/reading_settings.html", context, status=422 if form.errors else 200)
