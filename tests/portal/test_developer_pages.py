"""The pages for integrators: conformance and sandbox."""

import re
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from diagnosis import sandbox
from diagnosis.demo.people import NEIGHBOUR_PATIENT_ID
from diagnosis.demo.samples import SAMPLES
from diagnosis.models import Clinic, Role, User, Webhook, WebhookDelivery, WebhookEcho
from diagnosis.portal import conformance
from diagnosis.webhooks import delivery as deliveries
from diagnosis.webhooks import echo
from tests.factories import UserFactory, jpeg
from tests.support import REPOSITORY

SANDBOX_PAGES = ["sandbox", "sandbox_subscribe"]


@pytest.fixture
def administrator(clinic: Clinic) -> User:
    return UserFactory(clinic=clinic, role=Role.CLINIC_ADMIN)


@pytest.fixture
def office(client: Client, administrator: User) -> Client:
    client.force_login(administrator)
    return client


@pytest.fixture
def is_sandbox(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SANDBOX, settings.SANDBOX_DIR = True, tmp_path / "sandbox"
    monkeypatch.setattr(sandbox, "make", lambda sample: jpeg() + sample.slug.encode())


def page_of(client: Client, name: str) -> str:
    answer = client.get(reverse(f"portal:{name}"))
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_contract_is_readable_without_a_script_and_outside_a_sandbox(office: Client) -> None:
    page = page_of(office, "developers")

    commands = re.findall(r"<code translate=\"no\">curl", page)
    assert len(commands) >= len(conformance.CHECKS) - 2
    assert "PORTAL=http://testserver" in page
    assert "TOKEN=rp_…" in page
    assert "They run in a sandbox only" in page
    assert "data-run" not in page
    assert "conformance.js" not in page


def test_in_a_sandbox_with_its_samples_every_point_has_a_button(office: Client, is_sandbox: None) -> None:
    missing = page_of(office, "developers")
    sandbox.write_missing()

    page = page_of(office, "developers")

    assert "The sample photographs are not there yet." in missing
    assert "data-run-all" not in missing
    assert len(re.findall(r" data-run>", page)) == len(conformance.CHECKS)
    assert f'data-neighbour="{NEIGHBOUR_PATIENT_ID}"' in page
    assert f'data-sample-right="{reverse("portal:sandbox_sample", args=["right"])}"' in page


def test_who_belongs_to_no_clinic_is_told_why_nothing_runs(client: Client, is_sandbox: None, db: None) -> None:
    sandbox.write_missing()
    client.force_login(UserFactory(role=Role.PLATFORM_ADMIN, clinic=None))

    assert "Your account belongs to no clinic." in page_of(client, "developers")


def test_page_and_script_have_the_same_checks() -> None:
    script = (REPOSITORY / "static/portal/js/conformance.js").read_text()
    body = script[script.index("const checks = {") : script.index("/* --- The page --- */")]
    run = re.findall(r'^    "?([a-z-]+)"?: async \(run\)', body, re.MULTILINE)

    assert run == [check.slug for check in conformance.CHECKS]


@pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.CLINICIAN])
def test_the_pages_are_for_those_who_connect_programs(client: Client, clinic: Clinic, role: str) -> None:
    client.force_login(UserFactory(clinic=clinic, role=role))

    assert client.get(reverse("portal:developers")).status_code == 403


@pytest.mark.parametrize("name", SANDBOX_PAGES)
def test_outside_a_sandbox_there_is_none(office: Client, name: str) -> None:
    address = reverse(f"portal:{name}")

    assert {office.get(address).status_code, office.post(address).status_code} <= {404, 405}
    assert office.get(reverse("portal:sandbox_sample", args=["right"])).status_code == 404
    assert not Webhook.objects.exists()


def test_samples_are_offered_under_their_names(office: Client, is_sandbox: None) -> None:
    assert sandbox.write_missing() == len(SAMPLES)
    assert sandbox.write_missing() == 0

    page = page_of(office, "sandbox")

    for sample in SAMPLES:
        answer = office.get(reverse("portal:sandbox_sample", args=[sample.slug]))
        assert f'download="{sample.file_name}"' in page
        assert answer.content == jpeg() + sample.slug.encode()
        assert answer["Content-Type"] == sample.content_type
        assert sample.file_name in answer["Content-Disposition"]
    assert office.get(reverse("portal:sandbox_sample", args=["other"])).status_code == 404


def test_the_echo_is_subscribed_and_shows_what_arrived(office: Client, clinic: Clinic, is_sandbox: None) -> None:
    subscribed = office.post(reverse("portal:sandbox_subscribe"))
    webhook = Webhook.objects.get()
    office.post(reverse("portal:webhook_ping", args=[webhook.pk]))
    deliveries.deliver(deliveries.claim_next())

    page = page_of(office, "sandbox")

    assert subscribed.status_code == 201
    assert subscribed.content.decode().count("whsec_") == 1
    assert (webhook.clinic, webhook.url) == (clinic, echo.ADDRESS)
    assert "Signature valid" in page
    assert str(WebhookDelivery.objects.get().event_id) in page
    assert "whsec_" not in page


def test_another_clinics_messages_are_not_shown(office: Client, is_sandbox: None) -> None:
    stranger = Client()
    stranger.force_login(UserFactory(role=Role.CLINIC_ADMIN))
    stranger.post(reverse("portal:sandbox_subscribe"))
    stranger.post(reverse("portal:webhook_ping", args=[Webhook.objects.get().pk]))
    deliveries.deliver(deliveries.claim_next())

    assert WebhookEcho.objects.count() == 1
    assert "Signature valid" not in page_of(office, "sandbox")
    assert "Signature valid" in page_of(stranger, "sandbox")
