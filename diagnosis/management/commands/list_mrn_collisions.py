"""List records that share an MRN: perhaps one person's record that was split."""

from itertools import groupby
from typing import Any

from django.core.management.base import BaseCommand

from diagnosis.models import Patient


class Command(BaseCommand):
    """``manage.py list_mrn_collisions``: ids only; the portal shows names to those who may see them."""

    help = "List patients of one clinic whose MRNs look the same, which older releases took for different ones."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Print a line for each MRN that several records have, then how many there are."""
        rows = Patient.objects.sharing_an_mrn().order_by("clinic_id", "mrn_key", "mrn_twin")
        groups = 0
        for (clinic_id, _key), same in groupby(rows.values_list("clinic_id", "mrn_key", "pk"), key=lambda row: row[:2]):
            groups += 1
            self.stdout.write(f"clinic {clinic_id}: patients {' '.join(str(pk) for *_rest, pk in same)}")
        self.stdout.write(f"{groups} MRNs with more than one record.")
