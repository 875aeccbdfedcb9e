"""The pages of webhooks."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from diagnosis.models import AuditEvent, Clinic, DeliveryStatus, Role, Webhook, WebhookDelivery
from diagnosis.webhooks import signature
from tests.factories import UserFactory, WebhookDeliveryFactory, WebhookFactory

FIELDS = {"url": "https://ehr.example.org/hooks", "events": ["diagnosis.succeeded"], "description": "EHR"}


@pytest.fixture
def office(client: Client, clinic: Clinic) -> Client:
    client.force_login(UserFactory(clinic=clinic, role=Role.CLINIC_ADMIN))
    return client


@pytest.fixture
def webhook(clinic: Clinic) -> Webhook:
    return WebhookFactory(clinic=clinic, description="Records system")


def text_of(client: Client, name: str, *ids: object, query: str = "") -> str:
    return client.get(reverse(f"portal:{name}", args=ids) + query).content.decode()


def test_a_webhook_is_added_and_its_secret_shown_this_once(office: Client, clinic: Clinic) -> None:
    answer = office.post(reverse("portal:webhooks"), FIELDS)

    webhook = Webhook.objects.get()
    secret = signature.secret_of(webhook.seed)
    assert answer.status_code == 201
    assert "no-store" in answer["Cache-Control"]
    assert (webhook.clinic, webhook.url, webhook.events) == (clinic, FIELDS["url"], FIELDS["events"])
    assert secret in answer.content.decode().replace("&#x2B;", "+").replace("&#x3D;", "=")
    for page in (text_of(office, "webhooks"), text_of(office, "webhook", webhook.pk)):
        assert FIELDS["url"] in page
        assert "whsec_" not in page


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"url": "https://10.0.0.1/"}, 400, "Messages go to public addresses only."),
        ({"url": "http://ehr.example.org/"}, 400, "The address must begin with https://."),
        ({"url": "sandbox:webhook-echo"}, 400, "The address must begin with https://."),
        ({"events": []}, 422, "This field is required."),
    ],
)
def test_what_the_service_refuses_is_said_at_the_field(
    office: Client, change: dict[str, object], status: int, sentence: str
) -> None:
    answer = office.post(reverse("portal:webhooks"), {**FIELDS, **change})

    assert answer.status_code == status
    assert sentence in answer.content.decode()
    assert not Webhook.objects.exists()


def test_a_platform_administrator_names_the_clinic(client: Client, clinic: Clinic) -> None:
    client.force_login(UserFactory(role=Role.PLATFORM_ADMIN, clinic=None))

    answer = client.post(reverse("portal:webhooks"), {**FIELDS, "clinic": str(clinic.pk)})

    assert answer.status_code == 201
    assert Webhook.objects.get().clinic == clinic


def test_the_log_shows_status_codes_attempts_and_the_next_try(office: Client, webhook: Webhook) -> None:
    due = timezone.now() + timedelta(minutes=7)
    waiting = WebhookDeliveryFactory(webhook=webhook, attempt_count=3, next_attempt_at=due)
    waiting.attempts.create(started_at=timezone.now(), duration_ms=41, status_code=503, error_code="http_status")
    WebhookDeliveryFactory(webhook=webhook, status=DeliveryStatus.DEAD, finished_at=timezone.now())

    everything = text_of(office, "webhook", webhook.pk)
    given_up = text_of(office, "webhook", webhook.pk, query="?status=dead")

    row = re.search(rf"<tr>(?:(?!</tr>).)*{waiting.event_id}.*?</tr>", everything, re.DOTALL)
    assert row is not None
    assert "503" in row.group()
    assert "It did not accept the message." in row.group()
    assert timezone.localtime(due).strftime("%H:%M:%S") in row.group()
    assert ">3<" in re.sub(r"\s+|<span[^>]*>[^<]*</span>", "", row.group()).replace("</td>", "<")
    assert "Replay" not in row.group()
    assert str(waiting.event_id) not in given_up
    assert "Given up" in given_up
    assert office.get(reverse("portal:webhook", args=[webhook.pk]) + "?status=x").status_code == 400


def test_a_long_log_comes_in_pages(office: Client, webhook: Webhook) -> None:
    WebhookDeliveryFactory.create_batch(26, webhook=webhook)

    first, second = (text_of(office, "webhook", webhook.pk, query=f"?page={number}") for number in (1, 2))

    assert (first.count("webhook.ping"), second.count("webhook.ping")) == (25, 1)
    assert "Next page" in first
    assert "Next page" not in second


def test_a_test_event_is_queued(office: Client, webhook: Webhook) -> None:
    answer = office.post(reverse("portal:webhook_ping", args=[webhook.pk]), follow=True)

    assert "A test event is on its way." in answer.content.decode()
    assert WebhookDelivery.objects.due().get().webhook == webhook


def test_a_delivery_is_replayed_and_one_still_tried_is_not(office: Client, webhook: Webhook) -> None:
    dead = WebhookDeliveryFactory(webhook=webhook, status=DeliveryStatus.DEAD, finished_at=timezone.now())
    address = reverse("portal:webhook_replay", args=[webhook.pk, dead.pk])

    first, second = (office.post(address, follow=True).content.decode() for _ in range(2))

    dead.refresh_from_db()
    assert dead.status == DeliveryStatus.PENDING
    assert "The message is sent again" in first
    assert "This message is still being tried." in second


def test_it_is_paused_and_switched_on_again(office: Client, webhook: Webhook) -> None:
    address = reverse("portal:webhook_switch", args=[webhook.pk])

    paused = office.post(address, {"active": "off"}, follow=True).content.decode()
    refused = office.post(reverse("portal:webhook_ping", args=[webhook.pk]), follow=True).content.decode()
    was_off = not Webhook.objects.get().active
    office.post(address, {"active": "on"})

    assert was_off
    assert "The webhook is paused." in paused
    assert "Send a test event" not in paused
    assert "The webhook is switched off." in refused
    assert Webhook.objects.get().active
    assert office.post(address, {"active": "x"}).status_code == 400


def test_address_and_events_are_changed_by_the_same_rules(office: Client, webhook: Webhook) -> None:
    address = reverse("portal:webhook", args=[webhook.pk])

    refused = office.post(address, {**FIELDS, "url": "https://127.0.0.1/"})
    changed = office.post(address, {**FIELDS, "url": "https://new.example.org/"})

    webhook.refresh_from_db()
    assert (refused.status_code, changed.status_code) == (400, 302)
    assert (webhook.url, webhook.events) == ("https://new.example.org/", ["diagnosis.succeeded"])


def test_a_new_secret_is_shown_once(office: Client, webhook: Webhook) -> None:
    before = webhook.seed

    page = office.post(reverse("portal:webhook_secret", args=[webhook.pk])).content.decode()

    webhook.refresh_from_db()
    assert webhook.seed != before
    assert webhook.previous_seed == before
    assert page.count("whsec_") == 1
    assert "whsec_" not in text_of(office, "webhook", webhook.pk)


def test_removing_takes_the_log_along_and_is_audited(office: Client, webhook: Webhook) -> None:
    WebhookDeliveryFactory(webhook=webhook)

    office.post(reverse("portal:webhook_remove", args=[webhook.pk]))

    assert not Webhook.objects.exists()
    assert not WebhookDelivery.objects.exists()
    assert AuditEvent.objects.get(action="webhook.deleted").object_id == str(webhook.pk)


def test_another_clinics_webhook_is_in_no_list_and_is_not_changed(office: Client) -> None:
    theirs = WebhookFactory(url="https://theirs.example.org/")

    assert "theirs.example.org" not in text_of(office, "webhooks")
    for name, data in {"webhook": FIELDS, "webhook_switch": {"active": "off"}, "webhook_remove": {}}.items():
        assert office.post(reverse(f"portal:{name}", args=[theirs.pk]), data).status_code == 404
    theirs.refresh_from_db()
    assert (theirs.url, theirs.active) == ("https://theirs.example.org/", True)


@pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.CLINICIAN])
def test_only_those_who_may_see_the_menu_links(office: Client, clinic: Clinic, role: str) -> None:
    other = Client()
    other.force_login(UserFactory(clinic=clinic, role=role))

    for name in ("webhooks", "developers"):
        link = f'href="{reverse(f"portal:{name}")}"'
        assert link in office.get("/help/").content.decode()
        assert link not in other.get("/help/").content.decode()
