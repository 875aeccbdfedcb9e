"""Webhooks of the clinic: subscribe, pause, remove, try; follow the deliveries and replay them."""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from diagnosis import audit
from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError
from diagnosis.models import Clinic, DeliveryStatus, User, Webhook
from diagnosis.models.webhooks import SUBSCRIBABLE
from diagnosis.portal.forms import ServiceForm
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.services import webhooks

PAGE_SIZE = 25
STATUS_FILTERS: dict[str, str | Promise] = {"": gettext_lazy("All"), **dict(DeliveryStatus.choices)}


class WebhookForm(ServiceForm):
    """Where messages go, and about what."""

    url = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=500,
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy("A public https address of your program, on port 443 or 8443."),
    )
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Events"),
        choices=[(value, value) for value, _meaning in SUBSCRIBABLE],
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("What your program is told about."),
    )
    description = forms.CharField(
        label=gettext_lazy("Description"),
        max_length=200,
        required=False,
        help_text=gettext_lazy("To recognise the program that receives it."),
    )

    def __init__(self, *args: Any, acting_user: User, webhook: Webhook | None = None, **kwargs: Any) -> None:
        initial = {name: getattr(webhook, name) for name in self.base_fields} if webhook else None
        super().__init__(*args, initial=initial, **kwargs)
        if webhook is None and acting_user.clinic_id is None:
            self.fields["clinic"] = forms.ModelChoiceField(
                label=gettext_lazy("Clinic"),
                queryset=Clinic.objects.all(),
                empty_label=gettext_lazy("Choose a clinic"),
            )


class WebhookListView(PortalView):
    """The clinic's webhooks, and the form for a new one."""

    capability = Capability.READ_WEBHOOKS

    def get(self, request: PortalRequest) -> HttpResponse:
        """Webhooks, newest first; never with their secrets."""
        return self._page(request, WebhookForm(acting_user=request.user))

    def post(self, request: PortalRequest) -> HttpResponse:
        """Subscribe; the answer is the only page that ever shows the secret."""
        form = WebhookForm(request.POST, acting_user=request.user)
        if not form.is_valid():
            return self._page(request, form, status=422)
        try:
            webhook, secret = webhooks.subscribe(acting_user=request.user, **form.cleaned_data)
        except DiagnosisError as error:
            form.add_refusal(error)
            return self._page(request, form, status=error.status)
        return self._page(request, WebhookForm(acting_user=request.user), status=201, new=webhook, secret=secret)

    def _page(self, request: PortalRequest, form: WebhookForm, *, status: int = 200, **more: Any) -> HttpResponse:
        rows = list(Webhook.objects.visible_to(request.user).select_related("clinic"))
        audit.record("webhook.listed", acting_user=request.user, count=len(rows))
        context = {"form": form, "webhooks": rows, "most": webhooks.MOST_PER_CLINIC, **more}
        return render(request, "portal/webhooks.html", context, status=status)


class WebhookSubjectView(PortalView):
    """A view of one webhook."""

    capability = Capability.WRITE_WEBHOOKS

    def find(self, request: PortalRequest, webhook_id: uuid.UUID) -> Webhook:
        """Return the webhook, or answer as for an unknown one."""
        return get_object_or_404(Webhook.objects.visible_to(request.user).select_related("clinic"), pk=webhook_id)

    def page(
        self,
        request: PortalRequest,
        webhook: Webhook,
        *,
        form: WebhookForm | None = None,
        status: int = 200,
        **more: Any,
    ) -> HttpResponse:
        """Show the webhook with its log."""
        chosen = request.GET.get("status", "")
        if chosen not in STATUS_FILTERS:
            raise BadRequest
        deliveries = webhook.deliveries.all().with_log()
        if chosen:
            deliveries = deliveries.filter(status=chosen)
        context = {
            "webhook": webhook,
            "form": form or WebhookForm(acting_user=request.user, webhook=webhook),
            "page": Paginator(deliveries, PAGE_SIZE).get_page(request.GET.get("page")),
            "chosen": chosen,
            "filters": STATUS_FILTERS,
            **more,
        }
        audit.record("webhook.viewed", acting_user=request.user, subject=webhook)
        return render(request, "portal/webhook.html", context, status=status)


class WebhookDetailView(WebhookSubjectView):
    """One webhook with its delivery log."""

    capability = Capability.READ_WEBHOOKS

    def get(self, request: PortalRequest, webhook_id: uuid.UUID) -> HttpResponse:
        """Show it, without its secret."""
        return self.page(request, self.find(request, webhook_id))

    def post(self, request: PortalRequest, webhook_id: uuid.UUID) -> HttpResponse:
        """Change address, events and description."""
        webhook = self.find(request, webhook_id)
        form = WebhookForm(request.POST, acting_user=request.user, webhook=webhook)
        if not form.is_valid():
            return self.page(request, webhook, form=form, status=422)
        try:
            webhooks.change(webhook, acting_user=request.user, **form.cleaned_data)
        except DiagnosisError as error:
            form.add_refusal(error)
            return self.page(request, webhook, form=form, status=error.status)
        messages.success(request, _("The webhook was changed."))
        return redirect("portal:webhook", webhook.pk)


class WebhookSwitchView(WebhookSubjectView):
    """Pause, and go on."""

    def post(self, request: PortalRequest, webhook_id: uuid.UUID) -> HttpResponse:
        """Switch it ``on`` or ``off``."""
        webhook = self.find(request, webhook_id)
        if request.POST.get("active") not in ("on", "off"):
            raise BadRequest
        active = request.POST["active"] == "on"
        webhooks.change(webhook, acting_user=request.user, active=active)
        messages.success(
            request,
            _("The webhook is switched on.")
            if active
            else _("The webhook is paused. What happens until you switch it on is not sent later."),
        )
        return redirect("portal:webhook", webhook.pk)


class WebhookRemoveView(WebhookSubjectView):
    """Delete a webhook."""

    def post(self, request: PortalRequest, webhook_id: uuid.UUID) -> HttpResponse:
        """Delete it with its log, and go back to the list."""
        webhooks.remove(self.find(request, webhook_id), acting_user=request.user)
        messages.success(request, _("The webhook and its log were removed."))
        return redirect("portal:webhooks")


class WebhookSecretView(WebhookSubjectView):
    """Replace the secret."""

    def post(self, request: PortalRequest, webhook_id: uuid.UUID) -> HttpResponse:
        """Show the new secret this once; for a day messages carry a signature with the old one, too."""
        webhook = self.find(request, webhook_id)
        secret = webhooks.rotate_secret(webhook, acting_user=request.user)
        return self.page(request, webhook, secret=secret)


class WebhookPingView(WebhookSubjectView):
    """Try a webhook."""

    def post(self, request: PortalRequest, webhook_id: uuid.UUID) -> HttpResponse:
        """Send a test event within seconds."""
        webhook = self.find(request, webhook_id)
        try:
            webhooks.ping(webhook, acting_user=request.user)
        except DiagnosisError as error:
            messages.error(request, str(error.message))
        else:
            messages.success(request, _("A test event is on its way. The log shows what becomes of it."))
        return redirect("portal:webhook", webhook.pk)


class DeliveryReplayView(WebhookSubjectView):
    """Send an event again."""

    def post(self, request: PortalRequest, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> HttpResponse:
        """Send a delivered or given-up message again, with the same id and body."""
        webhook = self.find(request, webhook_id)
        delivery = get_object_or_404(webhook.deliveries.select_related("webhook"), pk=delivery_id)
        try:
            webhooks.replay(delivery, acting_user=request.user)
        except DiagnosisError as error:
            messages.error(request, str(error.message))
        else:
            messages.success(request, _("The message is sent again, with the same id and body."))
        return redirect("portal:webhook", webhook.pk)
