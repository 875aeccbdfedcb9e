"""``manage.py review_demo``: what the demo's clinician has done with the results of earlier visits."""

import time
from argparse import ArgumentParser
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from diagnosis.demo.people import PATIENTS, DemoPhotograph
from diagnosis.demo.specs import Condition
from diagnosis.errors import StateConflictError
from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.management.commands.seed_demo import CLINIC_NAME
from diagnosis.models import Diagnosis, DiseaseClass, User, Verdict
from diagnosis.services import reviews

CLINICIAN = "demo-clinician"
PAUSE_SECONDS = 3
SEEN: dict[Condition, DiseaseClass] = {
    Condition.DIABETIC_RETINOPATHY: DiseaseClass.DIABETIC_RETINOPATHY,
    Condition.GLAUCOMA: DiseaseClass.GLAUCOMA,
    Condition.MYOPIA: DiseaseClass.MYOPIA,
    Condition.NORMAL: DiseaseClass.NORMAL,
}


class Command(BaseCommand):
    """Sign the results of earlier visits, amend one, and leave one to become urgent; those of last visits wait."""

    help = "Reviews the demo's results of earlier visits as its clinician. Runs twice without harm."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take how long to wait for results."""
        parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="how long to wait for results")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Wait for the results of earlier visits, then review those that nobody has reviewed."""
        clinician = User.objects.filter(username=CLINICIAN, clinic__name=CLINIC_NAME).first()
        if clinician is None:
            self.stdout.write("There is no demo to review: run seed_demo first.")
            return
        drawn = {photograph.key: photograph for photograph in earlier_photographs()}
        found = Diagnosis.objects.visible_to(clinician).filter(external_id__in=drawn, rerun_of=None)
        deadline = time.monotonic() + options["wait"]
        while found.active().exists() and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
        succeeded = found.filter(status=Status.SUCCEEDED)
        if succeeded.filter(reviews__isnull=False).exists():
            self.stdout.write(f"{CLINIC_NAME}: the earlier results were reviewed before.")
            return
        results = list(succeeded.select_related("clinic").order_by("external_id"))
        left = next((result for result in results if result.prediction not in ("", DiseaseClass.NORMAL)), None)
        if left is not None:
            _make_overdue(left)
        read = [result for result in results if result != left]
        # Whoever tries the demo meanwhile may be faster; what they signed stands.
        with suppress(StateConflictError):
            for result in read:
                _read(result, drawn[result.external_id], clinician=clinician)
            if read:
                _amend(read[-1], drawn[read[-1].external_id], clinician=clinician)
        signed = succeeded.exclude(report_status=ReportStatus.PRELIMINARY).count()
        self.stdout.write(f"{CLINIC_NAME}: {signed} results of earlier visits are signed.")


def earlier_photographs() -> list[DemoPhotograph]:
    """Return the photographs of every visit but each patient's last."""
    found = []
    for person in PATIENTS:
        photographs = person.photographs()
        last_day = max(photograph.captured_at.date() for photograph in photographs)
        found += [photograph for photograph in photographs if photograph.captured_at.date() != last_day]
    return found


def _make_overdue(diagnosis: Diagnosis) -> None:
    """Date a result back beyond the clinic's limit, so that the sweeper raises it as it would a forgotten one."""
    age = timedelta(hours=diagnosis.clinic.escalation_hours + 24)
    Diagnosis.objects.filter(pk=diagnosis.pk).update(created_at=timezone.now() - age, finished_at=Now() - age)


def _read(diagnosis: Diagnosis, photograph: DemoPhotograph, *, clinician: User) -> None:
    """Grade what was drawn, then sign: agree where the models say the same, else change."""
    is_readable = not photograph.is_meant_ungradable
    seen = SEEN[photograph.spec.condition]
    if diagnosis.clinic.blind_review and diagnosis.outcome != "ungradable":
        reviews.grade_blind(diagnosis, acting_user=clinician, grade=seen if is_readable else Verdict.UNGRADABLE)
    reviews.sign(diagnosis, acting_user=clinician, **_statement(diagnosis, photograph))


def _amend(diagnosis: Diagnosis, photograph: DemoPhotograph, *, clinician: User) -> None:
    statement = _statement(diagnosis, photograph)
    note = _("Read again beside the photograph of the next visit; no change of the assessment.")
    reviews.sign(diagnosis, acting_user=clinician, **{**statement, "note": note})


def _statement(diagnosis: Diagnosis, photograph: DemoPhotograph) -> dict[str, str]:
    if photograph.is_meant_ungradable:
        return {"verdict": Verdict.UNGRADABLE, "reason": _("The vessels at the disc cannot be followed.")}
    seen = SEEN[photograph.spec.condition]
    if diagnosis.prediction == seen:
        return {"verdict": Verdict.AGREE}
    return {"verdict": Verdict.CHANGE, "label": seen, "reason": _("Seen at the examination of the same day.")}
