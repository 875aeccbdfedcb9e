"""The OpenAPI document: complete, valid, and what the API really does."""

import jsonschema
import pytest
from django.core.management import call_command
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from diagnosis.models import EventType, WebhookDelivery
from tests import factories
from tests.api.client import SUBMIT
from tests.support import REPOSITORY

OPERATIONS = {
    ("/api/v1/patients/", "get"),
    ("/api/v1/patients/", "post"),
    ("/api/v1/patients/{patient_id}/", "get"),
    ("/api/v1/patients/{patient_id}/", "patch"),
    ("/api/v1/diagnoses/", "get"),
    ("/api/v1/diagnoses/segment-classify/", "post"),
    ("/api/v1/diagnoses/classify/", "post"),
    ("/api/v1/diagnoses/{diagnosis_id}/", "get"),
    ("/api/v1/diagnoses/{diagnosis_id}/cancel/", "post"),
    ("/api/v1/diagnoses/{diagnosis_id}/rerun/", "post"),
    ("/api/v1/diagnoses/{diagnosis_id}/artifacts/{name}/", "get"),
    ("/api/v1/diagnoses/{diagnosis_id}/reviews/", "get"),
    ("/api/v1/diagnoses/{diagnosis_id}/reviews/", "post"),
    ("/api/v1/batches/", "post"),
    ("/api/v1/batches/{batch_id}/", "get"),
    ("/api/v1/models/", "get"),
    ("/api/v1/tokens/", "get"),
    ("/api/v1/tokens/", "post"),
    ("/api/v1/tokens/{token_id}/", "delete"),
    ("/api/v1/webhooks/", "get"),
    ("/api/v1/webhooks/", "post"),
    ("/api/v1/webhooks/{webhook_id}/", "get"),
    ("/api/v1/webhooks/{webhook_id}/", "patch"),
    ("/api/v1/webhooks/{webhook_id}/", "delete"),
    ("/api/v1/webhooks/{webhook_id}/rotate-secret/", "post"),
    ("/api/v1/webhooks/{webhook_id}/ping/", "post"),
    ("/api/v1/webhooks/{webhook_id}/deliveries/", "get"),
    ("/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay/", "post"),
    ("/api/v1/sandbox/webhook-echo/", "get"),
}
# Open to whoever can sign.
SIGNED_OPERATIONS = {("/api/v1/sandbox/webhook-echo/", "post")}


@pytest.fixture(scope="module")
def document():
    return SchemaGenerator().get_schema(request=None, public=True)


def validate(document, path, method, answer):
    """Check an answer against what the document says of it."""
    content = document["paths"][path][method]["responses"][str(answer.status_code)]["content"]
    schema = content[answer["Content-Type"]]["schema"]
    whole = {**schema, "components": document["components"]}
    jsonschema.validate(answer.json(), whole, format_checker=jsonschema.FormatChecker())


def test_the_document_is_valid_without_warnings_and_the_one_in_the_repository(tmp_path):
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"), skip_checks=True
    )

    generated = (tmp_path / "schema.yml").read_text()
    assert generated.startswith("openapi: 3.1")
    assert generated == (REPOSITORY / "docs" / "openapi.yaml").read_text(), "CONTRIBUTING.md says how to refresh it"


def test_it_describes_exactly_these_operations(document):
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == (
        OPERATIONS | SIGNED_OPERATIONS
    )


def test_every_operation_says_who_may_what_comes_back_and_how_it_is_refused(document):
    for path, method in OPERATIONS:
        operation = document["paths"][path][method]
        assert operation["summary"]
        assert operation["description"]
        assert {"bearerToken": []} in operation["security"]
        assert any(status.startswith("2") for status in operation["responses"])
        assert {"401", "403", "429", "500", "503"} <= operation["responses"].keys()
        for status in (status for status in operation["responses"] if status >= "400"):
            (content,) = operation["responses"][status]["content"].items()
            assert content[0] == "application/problem+json"
            assert content[1]["examples"]


def media_types(document):
    """Yield every media type of a request or an answer: where it stands, its name, and what is said of it."""
    for kind in ("paths", "webhooks"):
        for address, methods in document[kind].items():
            for method, operation in methods.items():
                bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
                for name, body in bodies.items():
                    for content_type, media in body.get("content", {}).items():
                        yield f"{method} {address} {name}", content_type, media


def test_every_request_answer_and_error_has_examples(document):
    missing = [
        where
        for where, content_type, media in media_types(document)
        if not content_type.startswith("image/") and not media.get("examples")
    ]

    assert missing == []


def test_every_example_of_json_fits_its_schema(document):
    for where, content_type, media in media_types(document):
        if "json" not in content_type:
            continue
        validator = jsonschema.Draft202012Validator(
            {**media["schema"], "components": document["components"]}, format_checker=jsonschema.FormatChecker()
        )
        for name, example in media["examples"].items():
            assert [error.message for error in validator.iter_errors(example["value"])] == [], f"{where}: {name}"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("patients/", {"search", "mrn"}),
        (
            "diagnoses/",
            {
                *("patient", "mrn", "status", "outcome", "prediction", "mode", "agreement", "reviewed"),
                *("created_after", "external_id", "contested"),
            },
        ),
        ("diagnoses/{diagnosis_id}/reviews/", set()),
        ("tokens/", set()),
        ("webhooks/", set()),
        ("webhooks/{webhook_id}/deliveries/", {"status", "type"}),
    ],
)
def test_every_list_describes_its_filters_and_its_pages(document, path, names):
    parameters = document["paths"][f"/api/v1/{path}"]["get"]["parameters"]

    assert {entry["name"] for entry in parameters if entry["in"] == "query"} == names | {"cursor", "page_size"}


def test_the_promised_body_is_the_described_body(document):
    described = document["components"]["schemas"]["Diagnosis"]

    assert set(described["required"]) == set(described["properties"])


@pytest.mark.usefixtures("models_present", "accepted_photograph", "rung")
def test_answers_fit_the_document(document, clinician, patient, queued, finished):
    ungradable = factories.finished_diagnosis(
        image__patient=patient,
        outcome="ungradable",
        prediction="",
        probabilities=None,
        image_path=None,
        vessel_path=None,
        agreement=None,
        quality={"gradable": False, "score": 0.1, "reasons": ["too_dark"]},
    )
    one = "/api/v1/diagnoses/{diagnosis_id}/"
    for diagnosis in (queued, finished, ungradable):
        validate(document, one, "get", clinician.get(f"/api/v1/diagnoses/{diagnosis.pk}/"))
    for name in SUBMIT:
        validate(document, f"/api/v1/diagnoses/{name}/", "post", clinician.submit(patient, endpoint=name))
        validate(document, f"/api/v1/diagnoses/{name}/", "post", clinician.submit(patient, b"", endpoint=name))
    validate(document, "/api/v1/diagnoses/", "get", clinician.get("/api/v1/diagnoses/?page_size=2"))
    validate(document, "/api/v1/diagnoses/", "get", clinician.get("/api/v1/diagnoses/?status=x"))
    person = "/api/v1/patients/{patient_id}/"
    validate(document, "/api/v1/patients/", "get", clinician.get("/api/v1/patients/"))
    validate(document, person, "get", clinician.get(f"/api/v1/patients/{patient.pk}/"))
    validate(document, person, "patch", clinician.patch(f"/api/v1/patients/{patient.pk}/", {"sex": "other"}))
    reviews = f"/api/v1/diagnoses/{finished.pk}/reviews/"
    validate(document, one + "reviews/", "post", clinician.post(reviews, {"verdict": "ungradable"}))
    validate(document, one + "reviews/", "get", clinician.get(reviews))
    validate(document, one + "cancel/", "post", clinician.post(f"/api/v1/diagnoses/{queued.pk}/cancel/"))
    validate(document, one + "cancel/", "post", clinician.post(f"/api/v1/diagnoses/{queued.pk}/cancel/"))
    validate(document, one + "rerun/", "post", clinician.post(f"/api/v1/diagnoses/{queued.pk}/rerun/"))
    validate(document, "/api/v1/models/", "get", clinician.get("/api/v1/models/"))


@pytest.mark.usefixtures("sandbox")
def test_answers_about_webhooks_fit_the_document(document, ehr):
    every, one = "/api/v1/webhooks/", "/api/v1/webhooks/{webhook_id}/"
    fields = {"url": "https://ehr.example.org/hooks", "events": ["review.signed"]}
    created = ehr.post(every, fields)
    address = f"{every}{created.json()['id']}/"
    pinged = ehr.post(address + "ping/")
    replay = f"deliveries/{pinged.json()['id']}/replay/"

    validate(document, every, "post", created)
    validate(document, every, "post", ehr.post(every, {**fields, "url": "https://127.0.0.1/"}))
    validate(document, every, "get", ehr.get(every))
    validate(document, one, "get", ehr.get(address))
    validate(document, one, "patch", ehr.patch(address, {"description": "x"}))
    validate(document, one + "rotate-secret/", "post", ehr.post(address + "rotate-secret/"))
    validate(document, one + "ping/", "post", pinged)
    validate(document, one + "deliveries/", "get", ehr.get(address + "deliveries/"))
    validate(document, one + "deliveries/{delivery_id}/replay/", "post", ehr.post(address + replay))
    WebhookDelivery.objects.update(status="dead", finished_at=timezone.now())
    validate(document, one + "deliveries/{delivery_id}/replay/", "post", ehr.post(address + replay))
    echo = "/api/v1/sandbox/webhook-echo/"
    validate(document, echo, "get", ehr.get(echo))
    validate(document, echo, "post", ehr.post(echo, {}))
    assert set(document["webhooks"]) == set(EventType.values)


class TestPages:
    """The document and Swagger UI over HTTP, without signing in."""

    @pytest.mark.parametrize(
        "accept", ["application/vnd.oai.openapi+json", "application/json", "application/yaml", "*/*"]
    )
    def test_the_document_is_served(self, db, client, accept):
        answer = client.get("/api/schema/", headers={"Accept": accept})

        assert answer.status_code == 200
        assert b"3.1" in answer.content[:60]

    def test_the_page_asks_nobody_else_and_fits_the_policy(self, db, client):
        page = client.get("/api/docs/")
        script = client.get("/api/docs/?script=")

        html = page.content.decode()
        assert page.status_code == script.status_code == 200
        assert "<style" not in html
        assert "http://" not in html
        assert "https://" not in html
        assert html.count("<script") == html.count("<script src=")
        assert script["Content-Type"].startswith("application/javascript")
        assert "/api/schema/" in script.content.decode()
        assert "unsafe" not in page["Content-Security-Policy"]

    def test_redoc_asks_nobody_else_and_fits_the_policy(self, db, client):
        page = client.get("/api/docs/redoc/")

        html = page.content.decode()
        assert page.status_code == 200
        assert 'spec-url="/api/schema/"' in html
        assert "<style" not in html
        assert "http://" not in html
        assert "https://" not in html
        assert html.count("<script") == html.count('<script src="/static/')
        assert "unsafe" not in page["Content-Security-Policy"]
