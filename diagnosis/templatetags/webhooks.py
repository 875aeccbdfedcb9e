"""How deliveries of webhooks are shown."""

from django import template
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from diagnosis.models import DeliveryStatus, WebhookAttempt, WebhookDelivery
from diagnosis.portal.wording import Statement, Tone

register = template.Library()

_TONES = {
    DeliveryStatus.PENDING: Tone.WAITING,
    DeliveryStatus.DELIVERED: Tone.CLEAR,
    DeliveryStatus.DEAD: Tone.FAILED,
}
_ERRORS: dict[str, str | Promise] = {
    "dns": gettext_lazy("The name is not known."),
    "connection": gettext_lazy("No connection."),
    "tls": gettext_lazy("The certificate was not accepted."),
    "timeout": gettext_lazy("No answer in time."),
    "protocol": gettext_lazy("The answer was not HTTP."),
    "redirect": gettext_lazy("It redirected; redirects are not followed."),
    "gone": gettext_lazy("It asked to be told nothing more."),
    "http_status": gettext_lazy("It did not accept the message."),
    "address_refused": gettext_lazy("The address is none that the portal sends to."),
}


@register.filter
def delivery_statement(delivery: WebhookDelivery) -> Statement:
    """Return how the state of a delivery is drawn."""
    label = delivery.get_status_display()
    return Statement(tone=_TONES[DeliveryStatus(delivery.status)], short=label, headline=label, explanation="")


@register.filter
def attempt_text(attempt: WebhookAttempt) -> str:
    """Say what became of one attempt, in words."""
    if not attempt.error_code:
        return _("Accepted.")
    return str(_ERRORS.get(attempt.error_code, _ERRORS["address_refused"]))
