"""``manage.py seed_demo``: a demo clinic with made-up patients, drawn photographs and sample files."""

import secrets
import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from diagnosis import audit, sandbox
from diagnosis.demo.drawing import fundus_jpeg
from diagnosis.demo.people import NEIGHBOUR_PATIENT_ID, PATIENTS, DemoPatient, DemoPhotograph
from diagnosis.errors import DiagnosisError
from diagnosis.models import Clinic, Diagnosis, Mode, Patient, Role, User
from diagnosis.services import intake, patients

CLINIC_NAME = "Demo Eye Clinic"
# Nobody of the demo works there: its patient answers like one who does not exist.
NEIGHBOUR_NAME = "Neighbour Eye Clinic (demo)"
USERS = (
    ("demo-technician", Role.TECHNICIAN, "Terry", "Technician (demo)"),
    ("demo-clinician", Role.CLINICIAN, "Clara", "Clinician (demo)"),
    ("demo-admin", Role.CLINIC_ADMIN, "Adam", "Administrator (demo)"),
)
PROGRAM = "demo-ehr"
DEFAULT_PATIENTS = 4


class Command(BaseCommand):
    """Create what is missing of the demo; a second run adds nothing."""

    help = "Loads made-up patients, draws their photographs and queues the diagnoses. Runs twice without harm."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the number of patients."""
        parser.add_argument(
            "--patients",
            type=int,
            default=DEFAULT_PATIENTS,
            choices=range(1, len(PATIENTS) + 1),
            metavar="N",
            help=f"how many patients, 1 to {len(PATIENTS)} (default {DEFAULT_PATIENTS}, sixteen photographs)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Create clinic, users and patients, then submit what was not submitted yet."""
        clinic = _clinic(CLINIC_NAME)
        technician, *_readers = [self._user(clinic, *fields) for fields in USERS]
        _program(clinic)
        _neighbour()
        queued = present = 0
        try:
            for person in PATIENTS[: options["patients"]]:
                patient = _patient(person, acting_user=technician)
                for photograph in person.photographs():
                    if _is_submitted(photograph, clinic=clinic):
                        present += 1
                        continue
                    _submit(photograph, patient=patient, acting_user=technician)
                    queued += 1
        except DiagnosisError as error:
            raise CommandError(f"{error.message} ({error.code}; {queued} photographs were queued before)") from error
        self.stdout.write(f"{CLINIC_NAME}: {queued} photographs queued, {present} were there already.")
        sandbox.write_missing()

    def _user(self, clinic: Clinic, username: str, role: str, first_name: str, last_name: str) -> User:
        user = _known_user(clinic, username)
        if user is not None:
            return user
        password = secrets.token_urlsafe(12)
        with transaction.atomic():
            user = User.objects.create_user(
                username, password=password, role=role, clinic=clinic, first_name=first_name, last_name=last_name
            )
            audit.record("user.created", acting_user=None, subject=user, role=str(role), demo=True)
        self.stdout.write(f"Demo sign-in, shown once: {username} / {password}")
        return user


def _clinic(name: str) -> Clinic:
    with transaction.atomic():
        clinic, is_new = Clinic.objects.get_or_create(name=name)
        if is_new:
            audit.record("clinic.created", acting_user=None, subject=clinic, clinic=clinic, demo=True)
    return clinic


def _known_user(clinic: Clinic, username: str) -> User | None:
    user = User.objects.filter(username=username).first()
    if user is not None and user.clinic_id != clinic.pk:
        raise CommandError(f"The user name {username} is taken by somebody outside {clinic.name}.")
    return user


def _program(clinic: Clinic) -> None:
    """Create the account of a records system. It has no password: the administrator issues its tokens."""
    if _known_user(clinic, PROGRAM) is not None:
        return
    with transaction.atomic():
        user = User.objects.create_user(PROGRAM, role=Role.EHR_CLIENT, clinic=clinic, last_name="Records system (demo)")
        audit.record("user.created", acting_user=None, subject=user, role=str(Role.EHR_CLIENT), demo=True)


def _neighbour() -> None:
    """Create a patient of another clinic, to see that the demo's clinic cannot know about them."""
    with transaction.atomic():
        patient, is_new = Patient.objects.get_or_create(
            pk=uuid.UUID(NEIGHBOUR_PATIENT_ID),
            defaults={
                "clinic": _clinic(NEIGHBOUR_NAME),
                "mrn": "NEIGHBOUR-0001",
                "given_name": "Made-up",
                "family_name": "Neighbour",
            },
        )
        if is_new:
            audit.record("patient.registered", acting_user=None, subject=patient, clinic=patient.clinic, demo=True)


def _patient(person: DemoPatient, *, acting_user: User) -> Patient:
    known = Patient.objects.visible_to(acting_user).with_mrn(person.mrn).first()
    return known or patients.register(
        acting_user=acting_user,
        mrn=person.mrn,
        given_name=person.given_name,
        family_name=person.family_name,
        birth_date=person.birth_date,
        sex=person.sex,
    )


def _is_submitted(photograph: DemoPhotograph, *, clinic: Clinic) -> bool:
    return Diagnosis.objects.filter(clinic=clinic, external_id=photograph.key).exists()


def _submit(photograph: DemoPhotograph, *, patient: Patient, acting_user: User) -> None:
    upload = intake.Upload(
        data=fundus_jpeg(photograph.spec), file_name=f"{photograph.key}.jpg", content_type="image/jpeg"
    )
    intake.submit(
        upload,
        acting_user=acting_user,
        patient=patient,
        laterality=photograph.spec.laterality,
        mode=Mode.SEGMENT_CLASSIFY,
        captured_at=photograph.captured_at,
        device=f"Synthetic camera ({photograph.spec.camera.value.replace('_', ' ')})",
        external_id=photograph.key,
        # Two runs at the same moment still submit each photograph once.
        idempotency_key=photograph.key,
        # A visitor's own photograph goes before these.
        is_batch=True,
    )
