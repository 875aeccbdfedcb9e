"""API tokens."""

from datetime import timedelta

import pytest
from django.utils import timezone

from diagnosis import errors
from diagnosis.models import ApiToken, Role
from diagnosis.services import tokens
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def client_user():
    return factories.UserFactory(role=Role.EHR_CLIENT)


def test_a_token_is_found_by_its_secret_which_is_not_stored(client_user):
    token, secret = tokens.issue(client_user, acting_user=None, name="EHR")

    assert tokens.find(secret) == token
    assert secret not in str(ApiToken.objects.values().get())


def test_an_unknown_secret_finds_nothing():
    assert tokens.find("rp_unknown") is None
    assert tokens.find("\ud800") is None


def test_a_revoked_token_stops_at_once(client_user):
    token, secret = tokens.issue(client_user, acting_user=None, name="EHR")

    tokens.revoke(token, acting_user=None)

    assert tokens.find(secret) is None


def test_an_expired_token_stops(client_user):
    token, secret = tokens.issue(client_user, acting_user=None, name="EHR", days=1)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert tokens.find(secret) is None


def test_a_disabled_users_tokens_stop(client_user):
    _token, secret = tokens.issue(client_user, acting_user=None, name="EHR")
    client_user.is_active = False
    client_user.save()

    assert tokens.find(secret) is None


def test_scopes_never_exceed_the_role(client_user):
    with pytest.raises(errors.InvalidInputError):
        tokens.issue(client_user, acting_user=None, name="EHR", scopes=["reviews:write"])


def test_use_is_noted_at_most_once_a_minute(client_user, django_assert_num_queries):
    _token, secret = tokens.issue(client_user, acting_user=None, name="EHR")
    tokens.find(secret)

    with django_assert_num_queries(1):
        tokens.find(secret)
