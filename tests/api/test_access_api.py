"""Who may do what over REST: clinics, roles, scopes, tokens, sessions. Every route has a row here."""

import uuid
from datetime import timedelta

import pytest
from django.urls import URLPattern, URLResolver
from django.utils import timezone
from rest_framework.test import APIClient

from diagnosis.access import Capability
from diagnosis.api import urls
from diagnosis.models import ApiToken, Batch, Diagnosis, Role
from diagnosis.services import tokens
from tests import factories
from tests.api.client import assert_problem

# Address below /api/ -> capability of each method. A route that is missing here fails a test.
MATRIX: dict[str, dict[str, Capability]] = {
    "v1/patients/": {"GET": Capability.READ_PATIENTS, "POST": Capability.WRITE_PATIENTS},
    "v1/patients/<uuid:patient_id>/": {"GET": Capability.READ_PATIENTS, "PATCH": Capability.WRITE_PATIENTS},
    "v1/diagnoses/segment-classify/": {"POST": Capability.WRITE_DIAGNOSES},
    "v1/diagnoses/classify/": {"POST": Capability.WRITE_DIAGNOSES},
    "v1/diagnoses/": {"GET": Capability.READ_DIAGNOSES},
    "v1/diagnoses/<uuid:diagnosis_id>/": {"GET": Capability.READ_DIAGNOSES},
    "v1/diagnoses/<uuid:diagnosis_id>/cancel/": {"POST": Capability.WRITE_DIAGNOSES},
    "v1/diagnoses/<uuid:diagnosis_id>/rerun/": {"POST": Capability.WRITE_DIAGNOSES},
    "v1/diagnoses/<uuid:diagnosis_id>/artifacts/<str:name>/": {"GET": Capability.READ_DIAGNOSES},
    "v1/diagnoses/<uuid:diagnosis_id>/reviews/": {
        "GET": Capability.READ_REVIEWS,
        "POST": Capability.WRITE_REVIEWS,
    },
    "v1/batches/": {"POST": Capability.WRITE_DIAGNOSES},
    "v1/batches/<uuid:batch_id>/": {"GET": Capability.READ_DIAGNOSES},
    "v1/models/": {"GET": Capability.READ_MODELS},
    "v1/tokens/": {"GET": Capability.MANAGE_USERS, "POST": Capability.MANAGE_USERS},
    "v1/tokens/<uuid:token_id>/": {"DELETE": Capability.MANAGE_USERS},
    "v1/webhooks/": {"GET": Capability.READ_WEBHOOKS, "POST": Capability.WRITE_WEBHOOKS},
    "v1/webhooks/<uuid:webhook_id>/": {
        "GET": Capability.READ_WEBHOOKS,
        "PATCH": Capability.WRITE_WEBHOOKS,
        "DELETE": Capability.WRITE_WEBHOOKS,
    },
    "v1/webhooks/<uuid:webhook_id>/rotate-secret/": {"POST": Capability.WRITE_WEBHOOKS},
    "v1/webhooks/<uuid:webhook_id>/ping/": {"POST": Capability.WRITE_WEBHOOKS},
    "v1/webhooks/<uuid:webhook_id>/deliveries/": {"GET": Capability.READ_WEBHOOKS},
    "v1/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/": {"POST": Capability.WRITE_WEBHOOKS},
    "v1/sandbox/webhook-echo/": {"GET": Capability.READ_WEBHOOKS},
}
PUBLIC = {"schema/", "docs/", "docs/redoc/", "^"}
# Open to whoever can sign: the receiver that webhooks are tried with.
SIGNED = {"v1/sandbox/webhook-echo/": {"POST"}}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
ROWS = [(route, method) for route, methods in MATRIX.items() for method in methods]
RECORDS = [(route, method) for route, method in ROWS if "<uuid:" in route]

pytestmark = [pytest.mark.usefixtures("models_present", "accepted_photograph", "rung", "sandbox")]


def routes(patterns, prefix=""):
    """Return every address pattern below ``/api/``."""
    found = []
    for entry in patterns:
        if isinstance(entry, URLResolver):
            found += routes(entry.url_patterns, prefix + str(entry.pattern))
        elif isinstance(entry, URLPattern):
            found.append(prefix + str(entry.pattern))
    return found


def address(route, *, name="grad_cam", **records):
    """Fill ids into a route; unknown ones where no record is given."""
    for subject in ("patient", "diagnosis", "batch", "token", "webhook", "delivery"):
        value = records[subject].pk if subject in records else uuid.uuid4()
        route = route.replace(f"<uuid:{subject}_id>", str(value))
    return f"/api/{route.replace('<str:name>', name)}"


@pytest.fixture
def known(patient, finished, clinic):
    """Return one record of each kind, all of one clinic."""
    delivery = factories.WebhookDeliveryFactory(webhook__clinic=clinic, status="dead", finished_at=timezone.now())
    token, _secret = tokens.issue(finished.requested_by, acting_user=None, name="known")
    return {
        "patient": patient,
        "diagnosis": finished,
        "batch": Batch.objects.create(clinic=clinic, mode="classify", size=1, created_by=finished.requested_by),
        "token": token,
        "webhook": delivery.webhook,
        "delivery": delivery,
    }


def ask(client, method, path):
    return client.generic(method, path, data=b"" if method == "GET" else b"{}", content_type="application/json")


def test_every_route_has_a_row():
    assert set(routes(urls.urlpatterns)) == MATRIX.keys() | PUBLIC


@pytest.mark.parametrize(("route", "method"), ROWS)
def test_nobody_gets_in_without_a_token(known, route, method):
    answer = ask(APIClient(), method, address(route, **known))

    assert_problem(answer, 401, "not_authenticated")
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", ["photograph", "vessel_map", "vessel_overlay", "grad_cam", "grad_cam_overlay"])
@pytest.mark.parametrize(("route", "method"), RECORDS)
@pytest.mark.parametrize("role", [Role.EHR_CLIENT, Role.CLINIC_ADMIN])
def test_another_clinics_record_answers_like_an_unknown_one(api_user, known, role, route, method, name):
    if name != "photograph" and "<str:name>" not in route:
        return
    stranger = api_user(role, clinic=factories.ClinicFactory())
    before = Diagnosis.objects.count()

    theirs = ask(stranger.client, method, address(route, **known, name=name))
    unknown = ask(stranger.client, method, address(route, name=name))

    first, second = assert_problem(theirs, 404, "not_found"), assert_problem(unknown, 404, "not_found")
    assert {**first, "instance": ""} == {**second, "instance": ""}
    assert {k: v for k, v in theirs.items() if k != "X-Request-ID"} == {
        k: v for k, v in unknown.items() if k not in ("X-Request-ID",)
    } | {"Content-Length": theirs["Content-Length"]}
    assert Diagnosis.objects.count() == before


def test_another_clinics_records_are_in_no_list(stranger, patient, finished):
    for path in ("/api/v1/patients/", "/api/v1/diagnoses/", f"/api/v1/diagnoses/?patient={patient.pk}"):
        assert stranger.get(path).json()["results"] == []


@pytest.mark.parametrize("field", ["patient", "mrn"])
def test_a_photograph_cannot_be_sent_for_another_clinics_patient(stranger, patient, field):
    named = {"patient": str(patient.pk), "mrn": patient.mrn}[field]

    answer = stranger.submit(None, **{field: named})

    assert_problem(answer, 404, "not_found")
    assert not Diagnosis.objects.exists()


@pytest.mark.parametrize(("route", "method"), ROWS)
def test_a_token_without_the_scope_is_403(api_user, known, route, method):
    needed = MATRIX[route][method]
    poor = api_user(Role.CLINIC_ADMIN, scopes=[str(scope) for scope in Capability if scope != needed])

    answer = ask(poor.client, method, address(route, **known))

    assert_problem(answer, 403, "permission_denied")


@pytest.mark.parametrize(("route", "method"), ROWS)
def test_the_one_scope_is_enough(api_user, known, route, method):
    client = api_user(Role.CLINIC_ADMIN, scopes=[str(MATRIX[route][method])]).client

    answer = ask(client, method, address(route, **known))

    # What is sent is empty, so it may be refused, but not for want of a right.
    assert answer.status_code not in (401, 403, 404, 500)


def test_a_scope_beyond_the_role_gives_nothing(ehr, finished):
    ApiToken.objects.filter(pk=ehr.token.pk).update(scopes=[str(Capability.WRITE_REVIEWS)])

    answer = ehr.post(f"/api/v1/diagnoses/{finished.pk}/reviews/", {"verdict": "agree"})

    assert_problem(answer, 403, "permission_denied")


@pytest.mark.parametrize("route", list(MATRIX))
def test_other_methods_are_405_and_say_which_are_allowed(clinician, known, route):
    allowed = set(MATRIX[route]) | SIGNED.get(route, set())
    for method in set(METHODS) - allowed:
        answer = ask(clinician.client, method, address(route, **known))

        assert_problem(answer, 405, "method_not_allowed")
        assert set(answer["Allow"].split(", ")) == allowed | ({"HEAD"} if "GET" in allowed else set())


def test_a_view_that_names_no_capability_is_closed(rf, api_user):
    from rest_framework.response import Response

    from diagnosis.api.views.base import ApiView

    class ForgottenView(ApiView):
        def get(self, _request):
            return Response({})

    administrator = api_user(Role.PLATFORM_ADMIN, clinic=None)
    request = rf.get("/api/v1/forgotten/", headers={"Authorization": f"Bearer {administrator.secret}"})

    assert ForgottenView.as_view()(request).status_code == 403


class TestTokens:
    """Bearer tokens."""

    def status(self, header):
        return APIClient(HTTP_AUTHORIZATION=header).get("/api/v1/patients/").status_code

    def test_the_keyword_has_no_case(self, ehr):
        assert self.status(f"bearer {ehr.secret}") == 200

    @pytest.mark.parametrize(
        "form", ["Bearer", "Bearer ", "Bearer {0} {0}", "Bearer x{0}", "Token {0}", "Basic {0}", "{0}", "Bearer \x00é"]
    )
    def test_anything_else_is_401(self, ehr, form):
        assert self.status(form.format(ehr.secret)) == 401

    def test_a_token_in_the_address_or_a_cookie_is_nothing(self, ehr):
        client = APIClient()
        client.cookies["token"] = ehr.secret

        assert client.get(f"/api/v1/patients/?token={ehr.secret}&access_token={ehr.secret}").status_code == 401

    def test_revoked(self, ehr):
        tokens.revoke(ehr.token, acting_user=None)

        assert_problem(ehr.get("/api/v1/patients/"), 401, "authentication_failed")

    def test_expired(self, ehr):
        ApiToken.objects.filter(pk=ehr.token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))

        assert_problem(ehr.get("/api/v1/patients/"), 401, "authentication_failed")

    def test_of_a_disabled_user(self, ehr):
        ehr.user.is_active = False
        ehr.user.save()

        assert_problem(ehr.get("/api/v1/patients/"), 401, "authentication_failed")

    def test_its_last_use_is_noted(self, ehr):
        ehr.get("/api/v1/patients/")

        assert ApiToken.objects.get(pk=ehr.token.pk).last_used_at is not None


class TestSession:
    """The portal's session."""

    @pytest.fixture
    def browser(self, clinician):
        client = APIClient(enforce_csrf_checks=True)
        client.force_login(clinician.user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    def test_reading_needs_no_csrf_token(self, browser):
        assert browser.get("/api/v1/patients/").status_code == 200

    def test_writing_without_csrf_token_is_403(self, browser, queued):
        answer = browser.post(f"/api/v1/diagnoses/{queued.pk}/cancel/")

        assert_problem(answer, 403, "csrf_failed")
        queued.refresh_from_db()
        assert queued.status == "queued"

    def test_a_photograph_without_csrf_token_is_403(self, browser, patient):
        answer = browser.post(
            "/api/v1/diagnoses/classify/",
            {"patient": str(patient.pk), "laterality": "R", "image": factories.jpeg()},
            format="multipart",
        )

        assert_problem(answer, 403, "csrf_failed")

    def test_writing_with_csrf_token_passes(self, browser, queued, settings):
        token = "a" * 32
        browser.cookies[settings.CSRF_COOKIE_NAME] = token

        answer = browser.post(f"/api/v1/diagnoses/{queued.pk}/cancel/", headers={"X-CSRFToken": token})

        assert answer.status_code == 202

    def test_a_bad_token_is_not_rescued_by_the_session(self, browser):
        assert browser.get("/api/v1/patients/", headers={"Authorization": "Bearer nonsense"}).status_code == 401


class TestThrottle:
    """Rate limits."""

    @pytest.fixture
    def two_a_minute(self, monkeypatch):
        from diagnosis.api.throttles import PrincipalRateThrottle

        monkeypatch.setattr(PrincipalRateThrottle, "THROTTLE_RATES", {"principal": "2/min"})

    @pytest.mark.usefixtures("two_a_minute")
    def test_beyond_the_rate_is_429_with_retry_after_for_this_principal_alone(self, ehr, clinician):
        answers = [ehr.get("/api/v1/patients/") for _ in range(3)]

        assert [answer.status_code for answer in answers[:2]] == [200, 200]
        assert_problem(answers[2], 429, "throttled")
        assert 1 <= int(answers[2]["Retry-After"]) <= 60
        assert clinician.get("/api/v1/patients/").status_code == 200

    @pytest.mark.usefixtures("two_a_minute")
    def test_guessing_ids_counts_too(self, ehr):
        codes = [ehr.get(f"/api/v1/patients/{uuid.uuid4()}/").status_code for _ in range(3)]

        assert codes == [404, 404, 429]

    @pytest.mark.usefixtures("two_a_minute")
    def test_a_forged_forwarding_header_is_no_new_principal(self, db):
        codes = [
            APIClient().get("/api/v1/patients/", headers={"X-Forwarded-For": f"10.0.0.{n}"}).status_code
            for n in range(3)
        ]

        assert codes == [401, 401, 429]
