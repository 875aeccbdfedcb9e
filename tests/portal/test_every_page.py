"""Rules that hold for every portal page: sign-in, clinics, links, content policy."""

import re
import uuid
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from diagnosis import inference
from diagnosis.models import Clinic, Diagnosis, Outcome, Role, User, WebhookDelivery
from diagnosis.services import tokens
from tests.factories import (
    BUNDLES,
    DiagnosisFactory,
    PatientFactory,
    UserFactory,
    WebhookDeliveryFactory,
    finished_diagnosis,
)

OPEN_PAGES = {"help", "help_topic", "about", "contact", "privacy", "terms", "preferences", "theme", "language"}
PEOPLE = [Role.TECHNICIAN, Role.CLINICIAN, Role.CLINIC_ADMIN, Role.PLATFORM_ADMIN]

# Who may not open a page.
WITHOUT = {
    "export": {Role.TECHNICIAN, Role.CLINICIAN},
    "review_sign": {Role.TECHNICIAN},
    "review_grade": {Role.TECHNICIAN},
    "review_draft": {Role.TECHNICIAN},
    "reading_settings": {Role.TECHNICIAN, Role.CLINICIAN},
    "tokens": {Role.TECHNICIAN, Role.CLINICIAN},
    "token_revoke": {Role.TECHNICIAN, Role.CLINICIAN},
    **{
        name: {Role.TECHNICIAN, Role.CLINICIAN}
        for name in (
            "developers",
            "sandbox",
            "sandbox_sample",
            "sandbox_subscribe",
            "webhook",
            "webhook_ping",
            "webhook_remove",
            "webhook_replay",
            "webhook_secret",
            "webhook_switch",
            "webhooks",
        )
    },
}


def portal_patterns() -> dict[str, URLPattern]:
    """Return every address of the portal's namespace by its name."""
    found = {}
    for entry in get_resolver().url_patterns:
        if isinstance(entry, URLResolver):
            for inner in entry.url_patterns:
                if isinstance(inner, URLResolver) and inner.namespace == "portal":
                    found.update({pattern.name: pattern for pattern in inner.url_patterns})
    return found


PATTERNS = portal_patterns()
CLOSED_PAGES = sorted(PATTERNS.keys() - OPEN_PAGES)
OBJECT_ROUTES = sorted(name for name, pattern in PATTERNS.items() if re.search(r"<uuid:", str(pattern.pattern)))


def address(name: str, diagnosis: Diagnosis) -> str:
    """Return the address of a route about this diagnosis, its patient or its photograph."""
    delivery = WebhookDelivery.objects.filter(webhook__clinic=diagnosis.clinic).first() or WebhookDeliveryFactory(
        webhook__clinic=diagnosis.clinic
    )
    values = {
        "patient_id": diagnosis.patient_id,
        "diagnosis_id": diagnosis.pk,
        "image_id": diagnosis.image_id,
        "token_id": tokens.issue(diagnosis.requested_by, acting_user=None, name="EHR")[0].pk,
        "webhook_id": delivery.webhook_id,
        "delivery_id": delivery.pk,
        "sample": "text",
        "topic": "glaucoma",
        "name": "vessel_map" if name == "artifact" else BUNDLES[0]["name"],
    }
    wanted = PATTERNS[name].pattern.converters
    if "other_id" in wanted:
        values["other_id"] = finished_diagnosis(image__patient=diagnosis.patient).pk
    return reverse(f"portal:{name}", kwargs={key: values[key] for key in wanted})


@pytest.fixture
def diagnosis(clinic: Clinic) -> Diagnosis:
    return finished_diagnosis(image__patient=PatientFactory(clinic=clinic))


@pytest.fixture(autouse=True)
def opened_sandbox(settings: LazySettings, tmp_path: Path) -> None:
    settings.SANDBOX, settings.SANDBOX_DIR = True, tmp_path
    (tmp_path / "no-picture.jpg").write_bytes(b"text")


@pytest.fixture(autouse=True)
def published_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    card = (
        "# Card\n\nTrained on **public** photographs.\n\n| metric | value |\n|---|---|\n| AUC | 0.9 |\n\n- one\n- two\n"
    )
    monkeypatch.setattr(inference, "bundles", lambda: [{**b, "metrics": {}, "card": card} for b in BUNDLES])


def test_the_resolver_has_the_portal() -> None:
    assert len(PATTERNS) >= 20
    assert OBJECT_ROUTES


@pytest.mark.parametrize("name", CLOSED_PAGES)
def test_an_anonymous_reader_is_sent_to_the_sign_in(client: Client, diagnosis: Diagnosis, name: str) -> None:
    target = address(name, diagnosis)

    for method in (client.get, client.post):
        answer = method(target)

        assert answer.status_code == 302
        assert answer["Location"].startswith(reverse("login"))


@pytest.mark.parametrize("name", CLOSED_PAGES)
def test_a_program_gets_no_page(client: Client, clinic: Clinic, diagnosis: Diagnosis, name: str) -> None:
    client.force_login(UserFactory(clinic=clinic, role=Role.EHR_CLIENT))

    assert client.get(address(name, diagnosis)).status_code == 403


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_every_person_sees_every_page(
    client: Client, clinic: Clinic, diagnosis: Diagnosis, name: str, role: str
) -> None:
    client.force_login(UserFactory(clinic=None if role == Role.PLATFORM_ADMIN else clinic, role=role))
    posts_only = not hasattr(PATTERNS[name].callback.view_class, "get")
    forbidden = role in WITHOUT.get(name, set())

    answer = client.get(address(name, diagnosis))

    expected = {403} if forbidden else {405} if posts_only else {286} if name == "diagnosis_status" else {200}
    assert answer.status_code in expected


@pytest.mark.parametrize("name", OBJECT_ROUTES)
def test_another_clinic_gets_the_answer_for_unknown_records(client: Client, diagnosis: Diagnosis, name: str) -> None:
    client.force_login(UserFactory(role=Role.CLINIC_ADMIN))
    target = address(name, diagnosis)
    unknown = re.sub(r"[0-9a-f-]{36}", str(uuid.uuid4()), target)

    for method in (client.get, client.post):
        answer, blank = method(target), method(unknown)

        assert answer.status_code in (404, 405)
        assert answer.status_code == blank.status_code
        assert _without_tokens(answer.content, target) == _without_tokens(blank.content, unknown)


def _without_tokens(content: bytes, path: str) -> str:
    text = content.decode().replace(path, "PATH")
    return re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", text)


@pytest.mark.parametrize("name", OBJECT_ROUTES)
def test_post_from_another_clinic_changes_nothing(client: Client, diagnosis: Diagnosis, name: str) -> None:
    client.force_login(UserFactory(role=Role.CLINICIAN))
    before = Diagnosis.objects.values_list("status", "report_status").get(pk=diagnosis.pk)

    target = address(name, diagnosis)
    count = Diagnosis.objects.count()

    client.post(target, {"verdict": "agree", "laterality": "R", "mode": "classify", "mrn": "x"})

    assert Diagnosis.objects.values_list("status", "report_status").get(pk=diagnosis.pk) == before
    assert Diagnosis.objects.count() == count
    assert not diagnosis.reviews.exists()


class _Page(HTMLParser):
    """Collects what the content policy and the link check ask about."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.offences: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "style" or "style" in names or any(name.startswith("on") for name in names):
            self.offences.append(self.get_starttag_text() or tag)
        self._in_script = tag == "script"
        if tag == "script" and "src" not in names:
            self.offences.append("script without src")
        if "id" in names:
            self.ids.add(names["id"] or "")
        for name in ("href", "src", "data-src", "hx-get", "xlink:href"):
            if names.get(name):
                self.links.add(names[name] or "")

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.offences.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


def crawl(client: Client, start: str) -> dict[str, _Page]:
    """Follow every internal link; fail on one that leads nowhere.

    Returns:
        The HTML pages by address.
    """
    pages: dict[str, _Page] = {}
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in seen or path.startswith(("/static/", "/admin/", "/api/")):
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code in (200, 286), f"{path} answers {answer.status_code}"
        if not answer["Content-Type"].startswith("text/html"):
            continue
        page = _Page()
        page.feed(answer.content.decode())
        pages[path] = page
        internal = [link for link in page.links if not link.startswith(("http:", "https:", "mailto:", "#"))]
        waiting.extend(urldefrag(urljoin(path, link))[0] for link in internal)
    return pages


def test_every_internal_link_resolves_and_no_page_has_inline_code(client: Client, clinic: Clinic) -> None:
    patient = PatientFactory(clinic=clinic)
    finished = finished_diagnosis(image__patient=patient)
    finished_diagnosis(image__patient=patient, image__laterality="L", outcome=Outcome.INDETERMINATE, prediction="")
    DiagnosisFactory(image__patient=patient)
    client.force_login(UserFactory(clinic=clinic, role=Role.CLINICIAN))

    pages = crawl(client, reverse("portal:home"))

    assert reverse("portal:diagnosis", args=[finished.pk]) in pages
    assert reverse("portal:model", args=[BUNDLES[0]["name"]]) in pages
    assert len(pages) > 20
    for path, page in pages.items():
        assert not page.offences, path


def test_every_open_page_can_be_read_without_a_sign_in(client: Client, db: None) -> None:
    starts = [reverse("portal:help"), reverse("portal:contact"), reverse("login")]

    pages = {}
    for start in starts:
        page = _Page()
        answer = client.get(start)
        page.feed(answer.content.decode())
        pages[start] = (answer, page)

    for path, (answer, page) in pages.items():
        assert answer.status_code == 200, path
        assert not page.offences, path


def test_static_files_that_pages_name_exist(reader: Client, diagnosis: Diagnosis) -> None:
    from django.contrib.staticfiles import finders

    page = _Page()
    for name in ("home", "diagnosis", "upload"):
        page.feed(reader.get(address(name, diagnosis)).content.decode())

    files = {link.removeprefix("/static/").split("#")[0] for link in page.links if link.startswith("/static/")}
    assert files
    for name in files:
        assert finders.find(name), name


def test_every_icon_that_templates_name_is_in_the_sprite() -> None:
    from django.conf import settings

    sprite = (settings.BASE_DIR / "static/portal/img/icons.svg").read_text()
    drawn = set(re.findall(r'<symbol id="([a-z]+)"', sprite))
    templates = "".join(path.read_text() for path in (settings.BASE_DIR / "templates").rglob("*.html"))
    named = set(re.findall(r'{% icon "([a-z]+)" %}', templates))
    tones = {"suspect", "clear", "unsure", "ungradable", "waiting", "failed"}

    assert named | tones <= drawn


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/help/", "/no/such/page", "/contact/"])
def test_the_content_policy_forbids_inline_code_and_other_hosts(client: Client, db: None, path: str) -> None:
    policy = client.get(path)["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "'unsafe-inline'" not in policy
    assert "'unsafe-eval'" not in policy


def test_pages_about_records_are_never_stored(reader: Client, diagnosis: Diagnosis) -> None:
    for name in ("home", "patient", "diagnosis", "photograph", "artifact"):
        assert "no-store" in reader.get(address(name, diagnosis))["Cache-Control"], name


def test_the_banner_names_the_patient_on_every_page_about_one(reader: Client, diagnosis: Diagnosis) -> None:
    for name in ("patient", "patient_edit", "upload", "diagnosis"):
        text = reader.get(address(name, diagnosis)).content.decode()

        assert str(diagnosis.patient) in text
        assert "14-Mar-1961" in text
        assert diagnosis.patient.mrn in text


def test_the_theme_is_remembered_and_never_leads_elsewhere(client: Client, db: None) -> None:
    answer = client.post("/preferences/theme/", {"theme": "dark", "next": "https://example.org/"})

    assert answer["Location"] == "/"
    assert 'data-theme="dark"' in client.get("/help/").content.decode()


def test_a_right_to_left_language_turns_the_page(client: Client, db: None) -> None:
    assert '<html lang="ar" dir="rtl"' in client.get("/help/", headers={"accept-language": "ar"}).content.decode()


def test_an_idle_session_stops_polling_and_goes_to_the_sign_in(client: Client, diagnosis: Diagnosis) -> None:
    answer = client.get(address("diagnosis_status", diagnosis), headers={"hx-request": "true"})

    assert answer["HX-Redirect"] == reverse("login")


def test_the_user_is_not_shown_another_clinic_in_any_list(reader: Client, clinician: User) -> None:
    foreign = finished_diagnosis()

    for path in ("/", "/patients/"):
        assert str(foreign.patient) not in reader.get(path).content.decode()
