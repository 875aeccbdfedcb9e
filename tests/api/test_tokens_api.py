"""API tokens over REST: issued within role and scopes, shown once, revoked at once."""

from datetime import timedelta

import pytest
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from diagnosis.models import ApiToken, AuditEvent, Role
from tests import factories
from tests.api.client import ApiUser, assert_problem
from tests.api.test_schema_api import validate

TOKENS = "/api/v1/tokens/"


@pytest.fixture
def administrator(api_user):
    return api_user(Role.CLINIC_ADMIN)


@pytest.fixture
def holder(clinic):
    return factories.UserFactory(clinic=clinic, role=Role.EHR_CLIENT)


def body(holder, **changes):
    return {"username": holder.username, "name": "EHR", "scopes": ["patients:read"], "days": 30} | changes


def test_a_new_token_works_shows_its_secret_once_and_is_audited(administrator, holder):
    document = SchemaGenerator().get_schema(request=None, public=True)

    answer = administrator.post(TOKENS, body(holder))
    listed = administrator.get(TOKENS)

    shown, secret = answer.json(), answer.json()["token"]
    assert answer.status_code == 201
    validate(document, TOKENS, "post", answer)
    validate(document, TOKENS, "get", listed)
    assert (shown["username"], shown["role"], shown["scopes"]) == (holder.username, "ehr_client", ["patients:read"])
    end = ApiToken.objects.get(pk=shown["id"]).expires_at
    assert timedelta(days=29) < end - timezone.now() <= timedelta(days=30)
    assert secret not in listed.content.decode()
    row = next(row for row in listed.json()["results"] if row["id"] == shown["id"])
    assert row == {name: value for name, value in shown.items() if name != "token"}
    program = administrator.client.get("/api/v1/patients/", headers={"Authorization": f"Bearer {secret}"})
    assert program.status_code == 200
    assert administrator.get(TOKENS).json()["results"][0]["last_used_at"] is not None
    event = AuditEvent.objects.get(action="token.issued", actor=administrator.user)
    assert (event.object_id, event.clinic_id) == (shown["id"], holder.clinic_id)


def test_a_revoked_token_stops_at_once_and_stays_listed(administrator, holder):
    victim = ApiUser(holder)
    path = f"{TOKENS}{victim.token.pk}/"

    answers = [administrator.client.delete(path) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [204, 204]
    assert_problem(victim.get("/api/v1/patients/"), 401, "authentication_failed")
    row = next(row for row in administrator.get(TOKENS).json()["results"] if row["id"] == str(victim.token.pk))
    assert row["revoked_at"] is not None
    assert AuditEvent.objects.filter(action="token.revoked", actor=administrator.user).count() == 1


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"scopes": ["reviews:write"]}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"scopes": []}, "/scopes"),
        ({"days": 0}, "/days"),
        ({"days": 3651}, "/days"),
        ({"name": " "}, "/name"),
        ({"username": "nobody"}, "/username"),
    ],
)
def test_what_cannot_be_issued_is_400_and_makes_nothing(administrator, holder, change, pointer):
    before = ApiToken.objects.count()

    document = assert_problem(administrator.post(TOKENS, body(holder, **change)), 400, "validation_error")

    assert [error["pointer"] for error in document["errors"]] == [pointer]
    assert ApiToken.objects.count() == before


def test_a_token_gives_no_scope_that_it_lacks(api_user, holder):
    narrow = api_user(Role.CLINIC_ADMIN, scopes=["users:manage", "patients:read"])
    asked = body(holder)
    del asked["scopes"]

    beyond = narrow.post(TOKENS, body(holder, scopes=["diagnoses:read"]))
    default = narrow.post(TOKENS, asked)

    assert_problem(beyond, 400, "validation_error")
    assert default.json()["scopes"] == ["patients:read"]


@pytest.mark.parametrize("kind", ["another clinic's", "platform administrator", "inactive"])
def test_nobody_gets_a_token_for_whom_they_do_not_look_after(administrator, clinic, kind):
    fields = {
        "another clinic's": {"clinic": factories.ClinicFactory()},
        "platform administrator": {"clinic": clinic, "role": Role.PLATFORM_ADMIN},
        "inactive": {"clinic": clinic, "is_active": False},
    }[kind]
    user = factories.UserFactory(**fields)

    document = assert_problem(administrator.post(TOKENS, body(user)), 400, "validation_error")

    assert document["errors"][0]["pointer"] == "/username"
    assert not ApiToken.objects.filter(user=user).exists()


def test_the_list_is_the_clinics_own(administrator, stranger, clinic, django_assert_max_num_queries):
    superior = ApiUser(factories.UserFactory(clinic=clinic, role=Role.PLATFORM_ADMIN))
    for _ in range(3):
        ApiUser(factories.UserFactory(clinic=clinic))

    with django_assert_max_num_queries(14):
        ids = {row["id"] for row in administrator.get(TOKENS).json()["results"]}

    assert len(ids) == 4
    assert not ids & {str(stranger.token.pk), str(superior.token.pk)}
    assert_problem(administrator.client.delete(f"{TOKENS}{superior.token.pk}/"), 404, "not_found")
    assert len(superior.get(TOKENS).json()["results"]) == ApiToken.objects.count()
