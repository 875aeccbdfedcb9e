"""Running past diagnoses again, many at once and not too many."""

import pytest
from django.test import Client
from django.urls import reverse

from diagnosis import inference
from diagnosis.admin import diagnoses
from diagnosis.errors import QueueFullError
from diagnosis.lifecycle import Status
from diagnosis.models import AuditEvent, Diagnosis, User
from diagnosis.services import intake
from tests.factories import DiagnosisFactory, finished_diagnosis

LIST = reverse("admin:diagnosis_diagnosis_changelist")


@pytest.fixture(autouse=True)
def quiet_queue(monkeypatch: pytest.MonkeyPatch, rung: list[str]) -> None:
    monkeypatch.setattr(inference, "bundles", list)


def run_again(client: Client, *chosen: Diagnosis, **more: str) -> str:
    fields = {"action": "run_again", "_selected_action": [str(row.pk) for row in chosen], **more}
    return client.post(LIST, fields, follow=True).content.decode()


def test_each_selected_diagnosis_is_queued_once_and_audited(administrator: Client, platform_admin: User) -> None:
    first, second, other = finished_diagnosis(), finished_diagnosis(), finished_diagnosis()

    page = run_again(administrator, first, second)

    again = Diagnosis.objects.filter(rerun_of__isnull=False)
    assert {row.rerun_of_id for row in again} == {first.pk, second.pk}
    assert {row.status for row in again} == {Status.QUEUED}
    assert AuditEvent.objects.filter(action="diagnosis.rerun", actor=platform_admin).count() == 2
    assert "2 diagnoses were queued again." in page
    assert not other.reruns.exists()


def test_what_has_not_finished_is_left_as_it_is(administrator: Client) -> None:
    finished, waiting = finished_diagnosis(), DiagnosisFactory()

    page = run_again(administrator, finished, waiting)

    assert "1 selected diagnosis has not finished and was left as it is." in page
    assert "1 diagnosis was queued again." in page
    assert not waiting.reruns.exists()


@pytest.mark.parametrize("across", ["0", "1"])
def test_too_many_at_once_queue_nothing(administrator: Client, monkeypatch: pytest.MonkeyPatch, across: str) -> None:
    monkeypatch.setattr(diagnoses, "MAX_RERUNS", 2)
    rows = [finished_diagnosis() for _ in range(3)]

    page = run_again(administrator, *(rows[:1] if across == "1" else rows), select_across=across)

    assert "At most 2 diagnoses are run again at a time. None was queued: select fewer." in page
    assert not Diagnosis.objects.filter(rerun_of__isnull=False).exists()


def test_a_full_queue_ends_the_run_and_is_said_once(administrator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [finished_diagnosis() for _ in range(3)]
    rerun = intake.rerun

    def full_after_one(diagnosis: Diagnosis, *, acting_user: User, is_batch: bool) -> Diagnosis:
        if Diagnosis.objects.filter(rerun_of__isnull=False).exists():
            raise QueueFullError(retry_after=60)
        return rerun(diagnosis, acting_user=acting_user, is_batch=is_batch)

    monkeypatch.setattr(intake, "rerun", full_after_one)
    page = run_again(administrator, *rows)

    assert Diagnosis.objects.get(rerun_of__isnull=False).is_batch
    assert "1 diagnosis was queued again." in page
    assert page.count(str(QueueFullError(retry_after=60).message)) == 1
