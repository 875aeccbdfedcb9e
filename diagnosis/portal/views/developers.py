"""For integrators: the contract as examples that run, and the sandbox with sample files and a webhook echo."""

import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from diagnosis import sandbox
from diagnosis.access import Capability
from diagnosis.demo.people import NEIGHBOUR_PATIENT_ID
from diagnosis.demo.samples import DICOM_PATIENT_ID, Fate, Sample
from diagnosis.errors import DiagnosisError
from diagnosis.models import Role, Webhook, WebhookEcho
from diagnosis.models.webhooks import SUBSCRIBABLE
from diagnosis.portal import conformance
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.services import webhooks
from diagnosis.webhooks import echo

SHOWN_ECHOES = 20
# What the examples send.
NEEDED_SAMPLES = {"right", "stranger", "dicom", "text", "truncated"}
TITLES: dict[str, str | Promise] = {
    "right": gettext_lazy("Right eye"),
    "left": gettext_lazy("Left eye"),
    "dicom": gettext_lazy("Right eye, DICOM"),
    "blurred": gettext_lazy("Out of focus"),
    "dark": gettext_lazy("Too dark"),
    "stranger": gettext_lazy("Not a fundus photograph"),
    "truncated": gettext_lazy("Half a file"),
    "text": gettext_lazy("A text named like a photograph"),
}
FATES: dict[str, str | Promise] = {
    Fate.RESULT: gettext_lazy("202, then a finding or indeterminate"),
    Fate.UNGRADABLE: gettext_lazy("202, then ungradable with reasons and a tip"),
}
REFUSALS = {"truncated": "422 image_truncated", "text": "415 file_type_unsupported"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSample:
    """A sample file as the page tells of it."""

    sample: Sample
    title: str | Promise
    becomes: str | Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEcho:
    """A message that the echo took."""

    echo: WebhookEcho
    body: str


class DeveloperView(PortalView):
    """For those of a clinic who connect programs with the portal."""

    capability = Capability.READ_WEBHOOKS


class ConformanceView(DeveloperView):
    """The main points of the contract, each with a command and, in a sandbox, a button that runs it."""

    def get(self, request: PortalRequest) -> HttpResponse:
        """Show them; the page can be read without a script."""
        samples = {sample.slug: reverse("portal:sandbox_sample", args=[sample.slug]) for sample in sandbox.available()}
        context = {
            "groups": conformance.grouped(),
            "total": len(conformance.CHECKS),
            "portal_address": request.build_absolute_uri("/").rstrip("/"),
            "obstacle": _obstacle(request, samples),
            "samples": {slug: samples[slug] for slug in sorted(NEEDED_SAMPLES & samples.keys())},
            "neighbour": NEIGHBOUR_PATIENT_ID,
            "sees_all_clinics": request.user.role == Role.PLATFORM_ADMIN,
            "echo_address": echo.ADDRESS,
        }
        return render(request, "portal/developers.html", context)


class SandboxView(DeveloperView):
    """Sample files, the account of the records system, and the echo."""

    def get(self, request: PortalRequest) -> HttpResponse:
        """Show them."""
        _require_sandbox()
        return _sandbox_page(request)


class SandboxSubscribeView(DeveloperView):
    """A webhook to the echo."""

    capability = Capability.WRITE_WEBHOOKS

    def post(self, request: PortalRequest) -> HttpResponse:
        """Subscribe the echo to every event; the answer shows the secret this once."""
        _require_sandbox()
        try:
            webhook, secret = webhooks.subscribe(
                acting_user=request.user,
                url=echo.ADDRESS,
                events=[value for value, _meaning in SUBSCRIBABLE],
                description="Sandbox",
            )
        except DiagnosisError as error:
            return _sandbox_page(request, status=error.status, refusal=error.message)
        return _sandbox_page(request, status=201, new=webhook, secret=secret)


class SandboxSampleView(DeveloperView):
    """One sample file."""

    def get(self, request: PortalRequest, sample: str) -> HttpResponse:
        """Send it as it is."""
        _require_sandbox()
        found = sandbox.find(sample)
        if found is None:
            raise Http404
        try:
            content = sandbox.read(found)
        except FileNotFoundError as error:
            raise Http404 from error
        headers = {"Content-Disposition": f'inline; filename="{found.file_name}"'}
        return HttpResponse(content, content_type=found.content_type, headers=headers)


def _require_sandbox() -> None:
    if not settings.SANDBOX:
        raise Http404


def _obstacle(request: PortalRequest, samples: dict[str, str]) -> str | Promise:
    """Say why the examples cannot run here; empty when they can."""
    if not settings.SANDBOX:
        return gettext_lazy(
            "They run in a sandbox only, because they add made-up patients. Start one with manage.py portal --demo."
        )
    if not samples.keys() >= NEEDED_SAMPLES:
        return gettext_lazy("The sample photographs are not there yet. Run manage.py seed_demo, then reload this page.")
    if request.user.clinic_id is None:
        return gettext_lazy("Your account belongs to no clinic. Sign in as a clinic administrator to run them.")
    return ""


def _shown(sample: Sample) -> ShownSample:
    becomes = REFUSALS.get(sample.slug) or FATES[sample.fate]
    return ShownSample(sample=sample, title=TITLES[sample.slug], becomes=becomes)


def _sandbox_page(request: PortalRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    taken = WebhookEcho.objects.visible_to(request.user).recent()[:SHOWN_ECHOES]
    context = {
        "samples": [_shown(sample) for sample in sandbox.available()],
        "dicom_patient": DICOM_PATIENT_ID,
        "webhooks": Webhook.objects.visible_to(request.user).filter(url=echo.ADDRESS),
        "echoes": [ShownEcho(echo=message, body=json.dumps(message.body, indent=2)) for message in taken],
        "echo_address": echo.ADDRESS,
        **more,
    }
    return render(request, "portal/sandbox.html", context, status=status)
