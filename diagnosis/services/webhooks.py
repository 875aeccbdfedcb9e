"""Webhooks of a clinic: subscribe, change, rotate the secret, remove, try, replay."""

from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from diagnosis import access, audit
from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError, InvalidInputError, StateConflictError
from diagnosis.models import Clinic, DeliveryStatus, User, Webhook, WebhookDelivery
from diagnosis.models.webhooks import SUBSCRIBABLE
from diagnosis.webhooks import addresses, echo, outbox, signature
from diagnosis.webhooks.addresses import AddressRefusedError

MOST_PER_CLINIC = 20
# How long messages are signed with a replaced secret, too.
OVERLAP = timedelta(hours=24)


def subscribe(
    *, acting_user: User, url: str, events: list[str], description: str = "", clinic: Clinic | None = None
) -> tuple[Webhook, str]:
    """Create a webhook in the acting user's clinic.

    Args:
        acting_user: Needs ``webhooks:write``.
        url: Where messages go; see ``webhooks.addresses``. In a sandbox also ``webhooks.echo.ADDRESS``.
        events: Types of events, at least one.
        description: What it is for.
        clinic: Only a platform administrator, who has none, names one.

    Returns:
        The stored row, and the secret, which is not shown again.

    Raises:
        NotAllowedError: The role does not include it.
        InvalidInputError: The address or an event cannot be accepted.
        DiagnosisError: 409 ``webhook_limit``.
    """
    access.require(acting_user, Capability.WRITE_WEBHOOKS)
    home = acting_user.clinic or clinic
    if home is None:
        raise InvalidInputError([("clinic", "required", _("Choose a clinic."))])
    _check(url=url, events=events)
    with transaction.atomic():
        # The clinic's row serialises two requests that both see the last free place.
        Clinic.objects.select_for_update().get(pk=home.pk)
        if Webhook.objects.filter(clinic=home).count() >= MOST_PER_CLINIC:
            raise DiagnosisError(
                _("Your clinic has 20 webhooks already. Remove one first."), code="webhook_limit", status=409
            )
        webhook = Webhook.objects.create(
            clinic=home,
            url=url,
            events=sorted(set(events)),
            description=description,
            seed=signature.new_seed(),
            created_by=acting_user,
        )
        audit.record("webhook.created", acting_user=acting_user, subject=webhook, events=webhook.events)
    return webhook, signature.secret_of(webhook.seed)


def change(
    webhook: Webhook,
    *,
    acting_user: User,
    url: str | None = None,
    events: list[str] | None = None,
    description: str | None = None,
    active: bool | None = None,
) -> Webhook:
    """Change what is given and keep the rest; switching on again forgets an earlier 410.

    Raises:
        NotAllowedError, NotFoundError, InvalidInputError: As for ``subscribe``.
    """
    _require(webhook, acting_user=acting_user)
    _check(url=url, events=events)
    given: dict[str, object] = {
        "url": url,
        "events": sorted(set(events)) if events is not None else None,
        "description": description,
        "active": active,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        setattr(webhook, name, value)
    if active:
        webhook.gone_at = None
    with transaction.atomic():
        webhook.save(update_fields=[*changes, "gone_at", "updated_at"])
        audit.record("webhook.changed", acting_user=acting_user, subject=webhook, fields=sorted(changes))
    return webhook


def rotate_secret(webhook: Webhook, *, acting_user: User) -> str:
    """Replace the secret; for a day messages carry a signature with the old one as well.

    Returns:
        The new secret, which is not shown again.

    Raises:
        NotAllowedError, NotFoundError: As their names say.
    """
    _require(webhook, acting_user=acting_user)
    webhook.previous_seed, webhook.seed = webhook.seed, signature.new_seed()
    webhook.previous_seed_until = timezone.now() + OVERLAP
    with transaction.atomic():
        webhook.save(update_fields=["seed", "previous_seed", "previous_seed_until", "updated_at"])
        audit.record("webhook.secret_rotated", acting_user=acting_user, subject=webhook)
    return signature.secret_of(webhook.seed)


def remove(webhook: Webhook, *, acting_user: User) -> None:
    """Delete a webhook with its deliveries.

    Raises:
        NotAllowedError, NotFoundError: As their names say.
    """
    _require(webhook, acting_user=acting_user)
    with transaction.atomic():
        audit.record("webhook.deleted", acting_user=acting_user, subject=webhook)
        webhook.delete()


def ping(webhook: Webhook, *, acting_user: User) -> WebhookDelivery:
    """Send a ``webhook.ping`` soon.

    Raises:
        NotAllowedError, NotFoundError: As their names say.
        StateConflictError: The webhook is switched off.
    """
    _require(webhook, acting_user=acting_user)
    _require_active(webhook)
    with transaction.atomic():
        delivery = outbox.pinged(webhook)
        audit.record("webhook.pinged", acting_user=acting_user, subject=webhook, delivery=str(delivery.pk))
    return delivery


def replay(delivery: WebhookDelivery, *, acting_user: User) -> WebhookDelivery:
    """Send an event again, with the same id and body, and try for another day.

    Needs DELIVERED or DEAD. Leaves PENDING and due at once.

    Raises:
        NotAllowedError, NotFoundError: As their names say.
        StateConflictError: It is still being tried, or the webhook is switched off.
    """
    webhook = delivery.webhook
    _require(webhook, acting_user=acting_user)
    _require_active(webhook)
    now = timezone.now()
    finished = WebhookDelivery.objects.filter(pk=delivery.pk).exclude(status=DeliveryStatus.PENDING)
    with transaction.atomic():
        replayed = finished.update(
            status=DeliveryStatus.PENDING,
            finished_at=None,
            next_attempt_at=now,
            tried_since=now,
            attempts_before=F("attempt_count"),
        )
        if replayed:
            audit.record("webhook.replayed", acting_user=acting_user, subject=webhook, delivery=str(delivery.pk))
    if not replayed:
        raise StateConflictError(_("This message is still being tried. Replay it when it is delivered or given up."))
    delivery.refresh_from_db()
    return delivery


def _require(webhook: Webhook, *, acting_user: User) -> None:
    access.require(acting_user, Capability.WRITE_WEBHOOKS)
    access.require_visible(webhook, acting_user)


def _require_active(webhook: Webhook) -> None:
    if not webhook.active:
        raise StateConflictError(_("The webhook is switched off. Switch it on first."))


def _check(*, url: str | None, events: list[str] | None) -> None:
    problems = []
    if url is not None and not echo.is_address(url):
        try:
            addresses.parse(url)
        except AddressRefusedError as error:
            problems.append(("url", error.code, _sentence(error.code)))
    if events is not None:
        known = {choice[0] for choice in SUBSCRIBABLE}
        if not events:
            problems.append(("events", "empty", _("Name at least one event.")))
        if not known.issuperset(events):
            problems.append(("events", "invalid_choice", _("Name events from the list of the documentation.")))
    if problems:
        raise InvalidInputError(problems)


def _sentence(code: str) -> str:
    sentences = {
        "url_invalid": _("This is not an address."),
        "url_scheme": _("The address must begin with https://."),
        "url_userinfo": _("The address must not hold a user name or password. The signature proves who sent it."),
        "url_fragment": _("The address must not hold a fragment (#)."),
        "url_port": _("Use port 443 or 8443."),
        "url_host": _("Name a host with its full domain."),
        "address_refused": _("Messages go to public addresses only."),
    }
    return sentences.get(code, sentences["url_invalid"])
