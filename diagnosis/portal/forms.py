"""Forms. They check shape; the services check meaning, and their refusals become form errors."""

import uuid
from datetime import datetime
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from diagnosis.errors import DiagnosisError, InvalidInputError
from diagnosis.models import Clinic, DiseaseClass, Laterality, Mode, Patient, Role, Sex, User, Verdict
from diagnosis.moments import Capture


class ServiceForm(forms.Form):
    """A form whose last word a service has."""

    def add_refusal(self, error: DiagnosisError) -> None:
        """Show a service's refusal beside the field it is about, or above the form."""
        if isinstance(error, InvalidInputError):
            for field, code, message in error.problems:
                self.add_error(field if field in self.fields else None, ValidationError(message, code=code))
            return
        field = error.field if error.field in self.fields else None
        self.add_error(field, ValidationError(str(error.message), code=error.code))


class SignInForm(AuthenticationForm):
    """Sign-in of people; programs use tokens."""

    def confirm_login_allowed(self, user: User) -> None:  # type: ignore[override]
        """Refuse inactive accounts and EHR clients."""
        super().confirm_login_allowed(user)
        if user.role == Role.EHR_CLIENT:
            raise ValidationError(
                _("This account belongs to a program. Programs use the REST API with a token."), code="program"
            )


class PortalPasswordForm(PasswordChangeForm):
    """Change of the own password."""


class PatientForm(ServiceForm):
    """Register or correct a patient."""

    mrn = forms.CharField(label=_("MRN"), max_length=64, help_text=_("Medical record number, as on the chart."))
    family_name = forms.CharField(label=_("Family name"), max_length=150)
    given_name = forms.CharField(label=_("Given name"), max_length=150)
    birth_date = forms.DateField(
        label=_("Birth date"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text=_("Leave empty if it is not known."),
    )
    sex = forms.ChoiceField(label=_("Sex"), choices=Sex.choices, initial=Sex.UNKNOWN)

    def __init__(self, *args: Any, acting_user: User, patient: Patient | None = None, **kwargs: Any) -> None:
        initial = {name: getattr(patient, name) for name in self.base_fields} if patient else None
        super().__init__(*args, initial=initial, **kwargs)
        for name in ("mrn", "family_name", "given_name", "birth_date"):
            self.fields[name].widget.attrs["autocomplete"] = "off"
        if patient is None and acting_user.clinic_id is None:
            self.fields["clinic"] = forms.ModelChoiceField(
                label=_("Clinic"), queryset=Clinic.objects.all(), empty_label=_("Choose a clinic")
            )


class UploadForm(ServiceForm):
    """One photograph of one eye. Whether the file is a picture is for the intake gate to say."""

    image = forms.FileField(
        label=_("Photograph"),
        required=False,
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": "image/jpeg,image/png,application/dicom,.dcm"}),
        help_text=_("JPEG, PNG or DICOM, up to 25 MB. One photograph in a file: the original, not a screenshot."),
    )
    laterality = forms.ChoiceField(
        label=_("Which eye?"),
        choices=Laterality.choices,
        widget=forms.RadioSelect,
        error_messages={"required": _("Say which eye the photograph shows.")},
    )
    mode = forms.ChoiceField(
        label=_("Analysis"), choices=Mode.choices, widget=forms.RadioSelect, initial=Mode.SEGMENT_CLASSIFY
    )
    captured_at = forms.DateTimeField(
        label=_("Taken at"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text=_("Leave empty if it is not known. The record then says so."),
    )
    just_now = forms.BooleanField(label=_("Now: the moment of sending is stored"), required=False)
    device = forms.CharField(label=_("Camera"), required=False, max_length=100)
    allow_duplicate = forms.BooleanField(required=False)
    idempotency_key = forms.UUIDField(required=False, widget=forms.HiddenInput, initial=uuid.uuid4)

    def clean(self) -> dict[str, Any]:
        """Take one time of capture, not two."""
        fields = super().clean() or self.cleaned_data
        if fields.get("just_now") and fields.get("captured_at"):
            text = _("Choose “Now”, or enter a time; both cannot be true.")
            self.add_error("captured_at", ValidationError(text, code="contradiction"))
        return fields

    @property
    def taken(self) -> datetime | Capture | None:
        """What a valid form says of the time of capture; None where it is not known."""
        return Capture.JUST_NOW if self.cleaned_data["just_now"] else self.cleaned_data["captured_at"]


class _ReadingForm(ServiceForm):
    """What both forms of a reader carry along: the note, and where they are."""

    note = forms.CharField(
        label=_("Note for the record"), required=False, max_length=4000, widget=forms.Textarea(attrs={"rows": 3})
    )
    known_reviews = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)
    queue = forms.CharField(required=False, widget=forms.HiddenInput)


class GradeForm(_ReadingForm):
    """What the reader sees, before the result is shown."""

    grade = forms.ChoiceField(
        choices=[*DiseaseClass.choices, (Verdict.UNGRADABLE.value, Verdict.UNGRADABLE.label)],
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose what you see in the photograph.")},
    )


class ReviewForm(_ReadingForm):
    """The clinician's word on a finding."""

    verdict = forms.ChoiceField(
        choices=Verdict.choices,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose: agree, change, or not gradable.")},
    )
    label = forms.ChoiceField(
        label=_("What you see"), required=False, choices=[("", _("Choose")), *DiseaseClass.choices]
    )
    reason = forms.CharField(
        label=_("Why it differs, or cannot be graded"),
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"autocomplete": "off", "list": "ungradable-reasons"}),
    )
    asks_second = forms.BooleanField(label=_("Ask a second reader before the report is final"), required=False)

    def __init__(self, *args: Any, can_agree: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not can_agree:
            self.fields["verdict"].choices = [
                (value, label) for value, label in Verdict.choices if value != Verdict.AGREE
            ]

    def clean(self) -> dict[str, Any]:
        """A reader says why a photograph cannot be graded."""
        fields = super().clean() or self.cleaned_data
        if fields.get("verdict") == Verdict.UNGRADABLE and not (fields.get("reason") or "").strip():
            self.add_error("reason", ValidationError(_("Say why it cannot be graded."), code="required"))
        return fields


class ContactForm(forms.Form):
    """A message to the people who run this portal."""

    name = forms.CharField(label=_("Your name"), max_length=150)
    email = forms.EmailField(label=_("Your e-mail address"), help_text=_("The answer goes there."))
    message = forms.CharField(
        label=_("Message"),
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 7}),
        help_text=_("Do not write names, numbers or other details of patients here."),
    )

    def clean_name(self) -> str:
        """One line only: it becomes part of a mail."""
        return " ".join(self.cleaned_data["name"].split())
