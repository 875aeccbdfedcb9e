"""What tests of the admin site share."""

import pytest
from django.test import Client

from diagnosis.models import Role, User
from tests.factories import UserFactory


@pytest.fixture
def platform_admin(db: None) -> User:
    return UserFactory(role=Role.PLATFORM_ADMIN, clinic=None, is_staff=True, is_superuser=True)


@pytest.fixture
def administrator(client: Client, platform_admin: User) -> Client:
    client.force_login(platform_admin)
    return client
