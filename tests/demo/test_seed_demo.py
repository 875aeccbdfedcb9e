"""The demo command: complete, idempotent, and through the same services as everybody."""

import io
import re
from collections import Counter

import pytest
from django.core.management import CommandError, call_command

from diagnosis import inference, sandbox
from diagnosis.demo.people import NEIGHBOUR_PATIENT_ID, PATIENTS
from diagnosis.demo.samples import SAMPLES
from diagnosis.errors import QueueFullError
from diagnosis.lifecycle import Status
from diagnosis.management.commands import seed_demo
from diagnosis.models import AuditEvent, Clinic, Diagnosis, FundusImage, Patient, Role, User
from diagnosis.services import intake
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("accepted_photograph")]


@pytest.fixture(autouse=True)
def quick_drawing(monkeypatch, settings, tmp_path):
    """Replace drawing and model files: this is about records."""
    settings.SANDBOX_DIR = tmp_path / "sandbox"
    monkeypatch.setattr(sandbox, "make", lambda sample: sample.slug.encode())
    monkeypatch.setattr(seed_demo, "fundus_jpeg", lambda spec: factories.jpeg() + repr(spec).encode())
    monkeypatch.setattr(inference, "bundles", list)


def seeded(*arguments):
    out = io.StringIO()
    call_command("seed_demo", *arguments, stdout=out)
    return out.getvalue()


def counts():
    """Records of the demo; its neighbour clinic has one patient and nobody else."""
    patients = Patient.objects.exclude(pk=NEIGHBOUR_PATIENT_ID)
    return [
        Clinic.objects.count(),
        User.objects.count(),
        patients.count(),
        FundusImage.objects.count(),
        Diagnosis.objects.count(),
    ]


def test_default_demo_queues_every_photograph_of_four_patients(rung):
    seeded()

    expected = sum(len(person.photographs()) for person in PATIENTS[:4])
    assert counts() == [2, 4, 4, expected, expected]
    assert set(Diagnosis.objects.values_list("status", flat=True)) == {Status.QUEUED}
    assert len(set(rung)) == expected


def test_second_run_adds_nothing_and_prints_no_password(rung):
    seeded("--patients", "2")
    before = counts()

    output = seeded("--patients", "2")

    assert counts() == before
    assert len(rung) == before[-1]
    assert "shown once" not in output


def test_a_larger_second_run_adds_only_the_new_patients(rung):
    seeded("--patients", "1")

    seeded("--patients", "3")

    demo = Patient.objects.exclude(pk=NEIGHBOUR_PATIENT_ID)
    assert list(demo.order_by("mrn").values_list("mrn", flat=True)) == [
        "DEMO-0001",
        "DEMO-0002",
        "DEMO-0003",
    ]
    assert Diagnosis.objects.count() == len(rung) == 12


def test_an_interrupted_run_is_continued(rung, monkeypatch):
    submit, left = intake.submit, [3]

    def submit_three(*args, **kwargs):
        if left[0] == 0:
            raise QueueFullError(retry_after=60)
        left[0] -= 1
        return submit(*args, **kwargs)

    monkeypatch.setattr(intake, "submit", submit_three)
    with pytest.raises(CommandError, match="3 photographs were queued"):
        seeded("--patients", "1")
    monkeypatch.setattr(intake, "submit", submit)

    seeded("--patients", "1")

    assert Diagnosis.objects.count() == len(set(rung)) == 4


def test_people_have_the_three_roles_and_the_printed_passwords(rung):
    output = seeded("--patients", "1")

    shown = dict(re.findall(r"shown once: (\S+) / (\S+)", output))
    users = {user.username: user for user in User.objects.exclude(role=Role.EHR_CLIENT)}
    assert Counter(user.role for user in users.values()) == Counter(
        [Role.TECHNICIAN, Role.CLINICIAN, Role.CLINIC_ADMIN]
    )
    assert shown.keys() == users.keys()
    assert all(users[name].check_password(password) for name, password in shown.items())
    assert len(set(shown.values())) == 3


def test_visits_keep_their_day_eye_and_camera(rung):
    seeded("--patients", "1")

    photographs = {photograph.key: photograph for photograph in PATIENTS[0].photographs()}
    for diagnosis in Diagnosis.objects.select_related("image"):
        drawn = photographs.pop(diagnosis.external_id)
        assert diagnosis.image.captured_at == drawn.captured_at
        assert diagnosis.image.laterality == drawn.spec.laterality
        assert drawn.spec.camera.value in diagnosis.image.device
    assert not photographs


def test_everything_is_audited_without_a_name(rung):
    seeded("--patients", "1")

    actions = Counter(AuditEvent.objects.values_list("action", flat=True))
    assert actions["clinic.created"] == 2
    assert actions["user.created"] == 4
    assert actions["patient.registered"] == 2
    assert actions["diagnosis.submitted"] == 4
    assert not any(PATIENTS[0].family_name in str(event.details) for event in AuditEvent.objects.all())


def test_an_integrator_finds_an_account_without_password_a_stranger_and_sample_files(rung, settings):
    seeded("--patients", "1")
    seeded("--patients", "1")

    program = User.objects.get(role=Role.EHR_CLIENT)
    stranger = Patient.objects.get(pk=NEIGHBOUR_PATIENT_ID)
    assert program.clinic.name == seed_demo.CLINIC_NAME
    assert not program.has_usable_password()
    assert stranger not in Patient.objects.visible_to(program)
    assert {path.name for path in settings.SANDBOX_DIR.iterdir()} == {sample.file_name for sample in SAMPLES}


def test_a_foreign_user_with_a_demo_name_stops_the_command():
    factories.UserFactory(username="demo-clinician")

    with pytest.raises(CommandError, match="demo-clinician is taken"):
        seeded()


@pytest.mark.parametrize("number", ["0", str(len(PATIENTS) + 1)])
def test_number_of_patients_has_limits(number):
    with pytest.raises(CommandError, match="invalid choice"):
        seeded("--patients", number)
