"""What portal tests share."""

import pytest
from django.test import Client

from diagnosis.models import Clinic, Role, User
from tests.factories import ClinicFactory, UserFactory


@pytest.fixture
def clinic(db: None) -> Clinic:
    return ClinicFactory()


@pytest.fixture
def technician(clinic: Clinic) -> User:
    return UserFactory(clinic=clinic, role=Role.TECHNICIAN)


@pytest.fixture
def clinician(clinic: Clinic) -> User:
    return UserFactory(clinic=clinic, role=Role.CLINICIAN)


@pytest.fixture
def signed_in(client: Client, technician: User) -> Client:
    client.force_login(technician)
    return client


@pytest.fixture
def reader(client: Client, clinician: User) -> Client:
    client.force_login(clinician)
    return client
