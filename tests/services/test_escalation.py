"""Suspected findings that wait too long."""

from datetime import timedelta

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.utils import timezone

from diagnosis.models import AuditEvent, Clinic, Diagnosis, Escalation, Outcome, Role
from diagnosis.services import escalation, reviews
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def clinic():
    return factories.ClinicFactory()


@pytest.fixture
def reader(clinic):
    return factories.UserFactory(role=Role.CLINICIAN, clinic=clinic, email="reader@example.org")


def waiting(clinic, hours, **fields):
    made = factories.finished_diagnosis(image__patient=factories.PatientFactory(clinic=clinic), **fields)
    Diagnosis.objects.filter(pk=made.pk).update(finished_at=timezone.now() - timedelta(hours=hours))
    return made


def test_only_suspected_findings_that_nobody_signed_in_time_are_overdue(clinic, reader):
    late = waiting(clinic, 49)
    unsure = waiting(clinic, 49, outcome=Outcome.INDETERMINATE, prediction="")
    waiting(clinic, 47)
    waiting(clinic, 49, prediction="Normal")
    waiting(clinic, 49, outcome=Outcome.UNGRADABLE, prediction="", probabilities=None)
    reviews.sign(waiting(clinic, 49), acting_user=reader, verdict="agree")
    half_read = waiting(clinic, 49)
    reviews.sign(half_read, acting_user=reader, verdict="agree", asks_second=True)

    assert set(Diagnosis.objects.overdue()) == {late, unsure, half_read}


def test_each_clinic_has_its_own_hours(clinic):
    hasty = factories.ClinicFactory(escalation_hours=2)
    late = waiting(hasty, 3)
    waiting(clinic, 3)

    assert set(Diagnosis.objects.overdue()) == {late}


@pytest.mark.usefixtures("reader")
def test_readers_are_mailed_once_with_a_count_and_a_link_and_nothing_personal(clinic, settings):
    settings.PORTAL_URL = "https://portal.example.org"
    factories.UserFactory(role=Role.TECHNICIAN, clinic=clinic, email="technician@example.org")
    factories.UserFactory(role=Role.CLINICIAN, clinic=clinic, email="gone@example.org", is_active=False)
    factories.UserFactory(role=Role.CLINICIAN, email="elsewhere@example.org")
    diagnoses = [waiting(clinic, 50), waiting(clinic, 60)]

    counts = [escalation.escalate(), escalation.escalate()]

    assert counts == [2, 0]
    [sent] = mail.outbox
    assert (sent.to, sent.bcc) == ([], ["reader@example.org"])
    assert "2 results wait" in sent.subject
    assert "https://portal.example.org/?filter=urgent" in sent.body
    for diagnosis in diagnoses:
        for personal in (diagnosis.patient.family_name, diagnosis.patient.mrn, str(diagnosis.pk), "Glaucoma"):
            assert personal not in sent.subject + sent.body
    assert AuditEvent.objects.filter(action="diagnosis.escalated").count() == 2
    assert AuditEvent.objects.get(action="escalation.mailed").details == {"count": 2, "recipients": 1}


@pytest.mark.usefixtures("reader")
def test_what_becomes_overdue_later_is_mailed_then(clinic):
    waiting(clinic, 50)
    escalation.escalate()
    waiting(clinic, 50)

    escalation.escalate()

    assert ["1 result waits" in sent.subject for sent in mail.outbox] == [True, True]


@pytest.mark.usefixtures("reader")
def test_a_mail_server_that_is_away_is_tried_again(clinic, monkeypatch):
    waiting(clinic, 50)

    def refuse(*_args):
        raise ConnectionRefusedError

    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", refuse)
        escalation.escalate()
    untold = Escalation.objects.get().mailed_at
    escalation.escalate()

    assert (untold, len(mail.outbox)) == (None, 1)
    assert AuditEvent.objects.filter(action="diagnosis.escalated").count() == 1


def test_a_clinic_without_addresses_is_escalated_all_the_same(clinic):
    waiting(clinic, 50)

    escalation.escalate()

    assert mail.outbox == []
    assert Escalation.objects.get().mailed_at is not None
    assert Clinic.objects.count() == 1
