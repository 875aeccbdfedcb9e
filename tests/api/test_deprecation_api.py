"""How an operation is retired, on a view that exists for this test alone."""

from datetime import UTC, datetime

import pytest
from django.urls import path
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.response import Response

from diagnosis.access import Capability
from diagnosis.api import schema
from diagnosis.api.deprecation import deprecated
from diagnosis.api.serializers.models import BundlePageSerializer
from diagnosis.api.views.base import ApiView
from tests.api.client import assert_problem

PAGE = "https://portal.example.org/versions"


class RetiringView(ApiView):
    """Reading is deprecated, writing is not."""

    serializer_class = BundlePageSerializer
    pagination_class = None
    capabilities = {"GET": Capability.READ_MODELS, "POST": Capability.READ_MODELS}

    @deprecated(since="2027-01-01", sunset="2028-01-02", page=PAGE, instead="use `GET /api/v2/models/`.")
    @extend_schema(operation_id="old", responses={200: BundlePageSerializer, **schema.problems(410)})
    def get(self, request):
        """Read the old way."""
        return Response({"read": True})

    @extend_schema(operation_id="current", responses={200: BundlePageSerializer})
    def post(self, request):
        """Do something that stays."""
        return {}

    def answer(self, record):
        """Tell what was done."""
        return Response(record)


urlpatterns = [path("api/v1/retiring/", RetiringView.as_view())]


@pytest.fixture
def at(monkeypatch, settings):
    """Set the clock, with the view in its place."""
    settings.ROOT_URLCONF = __name__

    def set_clock(*day):
        monkeypatch.setattr(timezone, "now", lambda: datetime(*day, tzinfo=UTC))

    return set_clock


def test_it_works_until_its_end_and_every_answer_says_when_that_is(ehr, client, at):
    at(2028, 1, 1)

    answers = [ehr.get("/api/v1/retiring/"), client.get("/api/v1/retiring/")]

    assert [answer.status_code for answer in answers] == [200, 401]
    for answer in answers:
        assert answer["Deprecation"] == "@1798761600"
        assert answer["Sunset"] == "Sun, 02 Jan 2028 00:00:00 GMT"
        assert answer["Link"] == f'<{PAGE}>; rel="deprecation"; type="text/html"'


def test_after_its_end_it_is_410_retired(ehr, at):
    at(2028, 1, 2)

    answer = ehr.get("/api/v1/retiring/")

    assert_problem(answer, 410, "retired")
    assert answer["Sunset"] == "Sun, 02 Jan 2028 00:00:00 GMT"


def test_the_other_methods_of_the_view_carry_nothing(ehr, at):
    at(2028, 1, 2)

    answer = ehr.post("/api/v1/retiring/", {})

    assert answer.status_code == 200
    assert {"Deprecation", "Sunset", "Link"}.isdisjoint(answer.headers)


def test_an_end_that_is_not_known_is_not_named():
    marked = deprecated(since="2027-01-01", page=PAGE, instead="nothing.")(lambda _view, _request: None)

    assert marked.deprecation.headers().keys() == {"Deprecation", "Link"}
    marked.deprecation.refuse_after_sunset()


def test_less_than_twelve_months_of_notice_cannot_be_written():
    with pytest.raises(ValueError, match="twelve months"):
        deprecated(since="2027-01-01", sunset="2027-12-31", page=PAGE, instead="nothing.")


def test_the_openapi_document_says_so():
    document = SchemaGenerator(patterns=urlpatterns).get_schema(request=None, public=True)

    old, current = (document["paths"]["/api/v1/retiring/"][method] for method in ("get", "post"))
    assert old["deprecated"] is True
    assert old["operationId"] == "old"
    assert "Read the old way." in old["description"]
    assert "use `GET /api/v2/models/`" in old["description"]
    assert old["responses"]["200"]["headers"].keys() == {"Deprecation", "Sunset", "Link"}
    assert "410" in old["responses"]
    assert "deprecated" not in current
