import unicodedata

from django.db import migrations, models
from django.db.models import Count

from diagnosis.keys import identity_key, patient_search_key

ROWS = 2000


def recompute(apps, schema_editor):
    """Fold identity and search keys as ``diagnosis.keys`` does, and mark records that now share an MRN.

    Nothing is merged and nothing fails: both records stay, are listed here by their ids and by
    ``manage.py list_mrn_collisions``, and warn on their pages.
    """
    _rewrite(apps, schema_editor, mrn_key=_identity, search_key=_search)
    patients = apps.get_model("diagnosis", "Patient").objects.using(schema_editor.connection.alias)
    shared = patients.order_by().values("clinic_id", "mrn_key").annotate(records=Count("id")).filter(records__gt=1)
    for group in list(shared):
        same = patients.filter(clinic_id=group["clinic_id"], mrn_key=group["mrn_key"]).order_by("created_at", "id")
        ids = list(same.values_list("pk", flat=True))
        for twin, pk in enumerate(ids):
            patients.filter(pk=pk).update(mrn_twin=twin)
        print(f"\n  Clinic {group['clinic_id']}: these patients have the same MRN: {' '.join(map(str, ids))}", end="")
    if shared:
        print("\n  Look at both of each (manage.py list_mrn_collisions) ...", end="")
    _settle(schema_editor)


def restore(apps, schema_editor):
    """Fold width and case only, as before; by that no two records of a clinic share an MRN."""
    _rewrite(apps, schema_editor, mrn_key=lambda patient: _folded(patient.mrn), search_key=_former_search)
    _settle(schema_editor)


def _settle(schema_editor):
    """Check the references of the changed rows now: PostgreSQL alters no table while that is left for the commit."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _rewrite(apps, schema_editor, **makers):
    """Store what ``makers`` make of each patient, where it differs from what is there."""
    patients = apps.get_model("diagnosis", "Patient").objects.using(schema_editor.connection.alias)
    rows = patients.only("mrn", "family_name", "given_name", "mrn_key", "search_key").order_by("pk")
    page = list(rows[:ROWS])
    while page:
        changed = []
        for patient in page:
            made = {name: make(patient) for name, make in makers.items()}
            if any(getattr(patient, name) != value for name, value in made.items()):
                vars(patient).update(made)
                changed.append(patient)
        patients.bulk_update(changed, list(makers), batch_size=200)
        page = list(rows.filter(pk__gt=page[-1].pk)[:ROWS])


def _identity(patient):
    return identity_key(patient.mrn)


def _search(patient):
    return patient_search_key(patient.family_name, patient.given_name, mrn=patient.mrn)


def _former_search(patient):
    return _folded(f"{patient.family_name} {patient.given_name} {patient.mrn}")


def _folded(text):
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Migration(migrations.Migration):
    dependencies = [("diagnosis", "0007_indexes")]

    operations = [
        migrations.RemoveConstraint(model_name="patient", name="patient_mrn_unique_per_clinic"),
        migrations.AddField(
            model_name="patient",
            name="mrn_twin",
            field=models.PositiveSmallIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AlterField(
            model_name="patient",
            name="search_key",
            field=models.CharField(editable=False, max_length=900),
        ),
        migrations.RunPython(recompute, restore),
        migrations.AddConstraint(
            model_name="patient",
            constraint=models.UniqueConstraint(
                fields=("clinic", "mrn_key", "mrn_twin"), name="patient_mrn_unique_per_clinic"
            ),
        ),
    ]
