"""Keys of patients that are stored already: folded anew, and what is now one MRN is listed and kept."""

import io

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

BEFORE, AFTER = ("diagnosis", "0007_indexes"), ("diagnosis", "0008_identity_and_search_keys")


@pytest.fixture
def migrated_back(transactional_db):
    """Go back before the migration, and in the end forward to the newest."""
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    executor.migrate([BEFORE])
    yield executor.loader.project_state([BEFORE]).apps
    MigrationExecutor(connection).migrate(newest)


def forward():
    executor = MigrationExecutor(connection)
    executor.migrate([AFTER])
    return executor.loader.project_state([AFTER]).apps


def stored(apps, clinic, mrn, *, family="Example"):
    """Store a patient with the keys of the release before."""
    key = " ".join(mrn.casefold().split())
    return apps.get_model("diagnosis", "Patient").objects.create(
        clinic=clinic,
        mrn=mrn,
        mrn_key=key,
        family_name=family,
        given_name="Ada",
        search_key=f"{family.casefold()} ada {key}",
    )


def test_stored_patients_get_new_keys_and_split_records_are_kept_and_listed(migrated_back, capsys):
    clinics = migrated_back.get_model("diagnosis", "Clinic").objects
    here, elsewhere = clinics.create(name="Here"), clinics.create(name="Elsewhere")
    first = stored(migrated_back, here, "RC-1", family="Müller")
    second = stored(migrated_back, here, "RC-1\u200b")
    third = stored(migrated_back, here, "RC\u20111")
    other = stored(migrated_back, elsewhere, "\ufeffRC-1")
    blank = stored(migrated_back, here, "\u200b")

    patients = forward().get_model("diagnosis", "Patient").objects

    printed = capsys.readouterr().out
    assert {str(row.pk) for row in (first, second, third)} <= set(printed.split())
    assert not {str(other.pk), str(blank.pk)} & set(printed.split())
    assert "RC" not in printed
    assert "ller" not in printed
    twins = patients.filter(clinic_id=here.pk, mrn_key="rc-1").order_by("mrn_twin")
    assert list(twins.values_list("pk", "mrn", "mrn_twin")) == [
        (first.pk, "RC-1", 0),
        (second.pk, "RC-1\u200b", 1),
        (third.pk, "RC\u20111", 2),
    ]
    assert patients.get(pk=first.pk).search_key == "muller ada rc-1"
    assert patients.get(pk=other.pk).mrn_twin == 0


def test_the_way_back_restores_the_keys_that_the_release_before_knows(migrated_back):
    clinic = migrated_back.get_model("diagnosis", "Clinic").objects.create(name="Here")
    rows = [stored(migrated_back, clinic, "RC-1"), stored(migrated_back, clinic, "RC-1\u200b", family="Müller")]
    forward()

    MigrationExecutor(connection).migrate([BEFORE])

    patients = migrated_back.get_model("diagnosis", "Patient").objects
    for row in rows:
        again = patients.get(pk=row.pk)
        assert (again.mrn_key, again.search_key) == (row.mrn_key, row.search_key)


def test_the_command_lists_collisions_by_id(migrated_back):
    clinic = migrated_back.get_model("diagnosis", "Clinic").objects.create(name="Here")
    ids = [str(stored(migrated_back, clinic, mrn).pk) for mrn in ("RC-1", "RC-1\u200b", "RC-2")]
    MigrationExecutor(connection).migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())
    out = io.StringIO()

    call_command("list_mrn_collisions", stdout=out)

    assert out.getvalue() == (f"clinic {clinic.pk}: patients {ids[0]} {ids[1]}\n1 MRNs with more than one record.\n")
