"""The mutation gate in short: every mutant fits its source, and one of them turns its soak red."""

import pytest
from django.utils import timezone

from tests.soak import mutants, page, service_faults
from tests.soak.mutants import ALL
from tests.soak.surroundings import is_root
from tests.soak.verdict import WRONGS
from tests.support import REPOSITORY, require


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_source_and_names_what_there_is(mutant):
    source = (REPOSITORY / mutant.path).read_text()
    kinds = {fault.name for fault in service_faults.possible(mutant.setup, can_mount=True)}

    assert source.count(mutant.old) == 1
    assert mutant.old != mutant.new
    assert set(mutant.faults) <= kinds
    assert set(mutant.wrong) <= set(WRONGS)


def test_a_mutant_that_no_longer_fits_is_refused(tmp_path):
    mutant = ALL[0]
    path = tmp_path / mutant.path
    path.parent.mkdir(parents=True)
    path.write_text("something else")

    with pytest.raises(ValueError, match="0 times"):
        mutants.apply(mutant, tmp_path)


def test_a_copy_has_the_sources_and_links_what_is_large(tmp_path):
    tree = tmp_path / "tree"

    mutants.copied(tree)

    assert (tree / "manage.py").is_file()
    assert not (tree / "diagnosis" / "models").is_symlink()
    assert (tree / "ml" / "bundles").resolve() == REPOSITORY / "ml" / "bundles"
    assert not (tree / ".git").exists()


@pytest.mark.timeout(600)
def test_the_soak_turns_red_when_a_rule_is_broken():
    mutant = ALL[timezone.now().toordinal() % len(ALL)]
    mounts = {fault.name for fault in service_faults.FAULTS if fault.needs_mount}
    require(is_root() or not mounts & set(mutant.faults), "mounting needs root")

    found = mutants.tried(mutant)

    assert found["is_seen"], found


def test_the_page_says_what_the_reports_say():
    report = {
        "sound": False,
        "setup": "embedded",
        "seed": 7,
        "jobs": 10,
        "accepted": 11,
        "workers": 2,
        "real": 1,
        "poison": 2,
        "wrong": dict.fromkeys(WRONGS, 0) | {"swapped": 4},
        "given_up": 1,
        "pictures": {"stored": 50, "shown": 5},
        "leftovers": {"photographs": 1, "pictures": 2},
        "faults": 9,
        "faults_met": 3,
        "faults_missed": 1,
        "jobs_met": 3,
        "by_kind": {"worker killed": {"done": 3, "met": 2, "missed": 0}},
        "answers": {"202": 11},
        "acceptance_s": {"p50": 0.1, "p95": 2.0, "longest": 3.0},
        "seconds": {"running": 120.0, "settling": 4.5},
        "commit": "abc",
        "machine": "2 cores",
    }
    mutant = {"name": ALL[0].name, "is_seen": True, "wrong": {"stuck": 2, "lost": 0}}

    text = page.written([report], [mutant])

    assert "| sound | **no** |" in text
    assert "| swapped | 4 |" in text
    assert "| worker killed | 3 (2) |" in text
    assert f"| {ALL[0].name} | embedded | 2 stuck |" in text
    assert f"| {ALL[1].name} | embedded | not tried yet |" in text
    assert "**not seen**" in page.written([], [mutant | {"is_seen": False}])
