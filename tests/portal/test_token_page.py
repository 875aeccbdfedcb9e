"""The page of API tokens."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from diagnosis.models import ApiToken, AuditEvent, Clinic, Role, User
from diagnosis.services import tokens
from tests.factories import UserFactory


@pytest.fixture
def administrator(clinic: Clinic) -> User:
    return UserFactory(clinic=clinic, role=Role.CLINIC_ADMIN)


@pytest.fixture
def office(client: Client, administrator: User) -> Client:
    client.force_login(administrator)
    return client


@pytest.fixture
def holder(clinic: Clinic) -> User:
    return UserFactory(clinic=clinic, role=Role.EHR_CLIENT, username="records-system")


def test_a_token_is_issued_and_its_secret_shown_this_once(office: Client, holder: User) -> None:
    page = reverse("portal:tokens")

    answer = office.post(page, {"user": str(holder.pk), "name": "EHR", "scopes": ["patients:read"], "days": "30"})

    secret = re.search(r"rp_[\w-]{43}", answer.content.decode())
    assert answer.status_code == 201
    assert "no-store" in answer["Cache-Control"]
    assert secret is not None
    token = tokens.find(secret.group())
    assert token is not None
    assert (token.user, token.name, token.scopes) == (holder, "EHR", ["patients:read"])
    assert secret.group() not in office.get(page).content.decode()
    assert AuditEvent.objects.get(action="token.issued").object_id == str(token.pk)


def test_a_scope_beyond_the_role_is_refused_in_words(office: Client, holder: User) -> None:
    data = {"user": str(holder.pk), "name": "EHR", "scopes": ["reviews:write"]}

    answer = office.post(reverse("portal:tokens"), data)

    assert answer.status_code == 400
    assert "Not yours to give for this role: reviews:write" in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_another_clinics_user_cannot_be_chosen(office: Client, db: None) -> None:
    stranger = UserFactory()

    answer = office.post(reverse("portal:tokens"), {"user": str(stranger.pk), "name": "EHR"})

    assert answer.status_code == 422
    assert stranger.username not in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_revoking_ends_a_token_and_says_so(office: Client, administrator: User, holder: User) -> None:
    token, secret = tokens.issue(holder, acting_user=None, name="EHR")

    answer = office.post(reverse("portal:token_revoke", args=[token.pk]), follow=True)

    assert "The token was revoked." in answer.content.decode()
    assert tokens.find(secret) is None
    assert AuditEvent.objects.get(action="token.revoked").actor == administrator


def test_only_who_looks_after_users_sees_the_page_in_the_menu(office: Client, clinic: Clinic) -> None:
    link = f'href="{reverse("portal:tokens")}"'
    other = Client()
    other.force_login(UserFactory(clinic=clinic, role=Role.CLINICIAN))

    assert link in office.get("/help/").content.decode()
    assert link not in other.get("/help/").content.decode()
