"""The README's commands are a contract: a newcomer copies them, continuous integration runs them."""

import io
import json
import re

import pytest
from django.core.management import call_command

from ml import bundle as bundles
from tests.support import REPOSITORY

SET_UP = (
    "(python3 -c 'import ensurepip' || apt-get install -y python3-venv) && python3 -m venv .venv"
    " && .venv/bin/pip install -r requirements.txt && "
)
RUN = SET_UP + ".venv/bin/python manage.py portal --demo"
TEST = SET_UP + ".venv/bin/python -m pytest"
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
RELATIVE_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
ENVIRONMENT_NAME = re.compile(r"""(?:env\.\w+|environ\.get|_number)\(\s*"([A-Z_]+)\"""")


def lines(relative):
    return [line.strip() for line in (REPOSITORY / relative).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("command", [RUN, TEST], ids=["run", "test"])
def test_the_readme_has_the_command_on_a_line_of_its_own(command):
    assert lines("README.md").count(command) == 1


def test_continuous_integration_runs_the_readmes_test_command_word_for_word():
    assert lines(".ci/run").count(TEST) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_relative_link_of_a_page_leads_somewhere(page):
    targets = RELATIVE_LINK.findall(page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_readme_says_of_the_statements_what_the_bundle_says():
    figures = (REPOSITORY / "ml/bundles/fundus_disease_classification/statements.json").read_text(encoding="utf-8")
    row = json.loads(figures)["points"]["balanced"]["one_eye"]
    manifest = bundles.read_bundle(REPOSITORY / "ml/bundles/fundus_disease_classification").manifest
    readme = " ".join((REPOSITORY / "README.md").read_text(encoding="utf-8").split())
    n = sum(count for name, count in row["n"].items() if name != "mild")
    low, high = row["npv_ci95"]

    for said in (
        f"on {n:,} eyes of {manifest['metrics']['headline_source']}, at the {manifest['statements']['default']} operating",
        f"where {row['prevalence']:.0%} of the eyes have one".replace("%", " %"),
        f"{row['no_sign'] + row['suspected']:.0%} of the eyes keep a statement".replace("%", " %"),
        f"{row['no_sign']:.0%} are called “no sign”".replace("%", " %"),
        f"right in {100 * row['npv']:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f})",
        f"and {row['suspected']:.0%} are suspected".replace("%", " %"),
        (
            "Of 100 eyes with moderate or worse diabetic retinopathy "
            f"{100 * row['conditions']['DiabeticRetinopathy']['named_no_sign']:.0f} are called “no sign”"
        ),
        f"96.58 % where ours is {manifest['metrics']['macro_auc']:.3f} within",
    ):
        assert said in readme


def test_the_figures_of_the_documents_are_those_of_the_bundles(tmp_path):
    call_command("draw_figures", out=tmp_path, stdout=io.StringIO())

    drawn, kept = (
        {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.svg")}
        for folder in (tmp_path, REPOSITORY / "docs" / "figures")
    )
    assert drawn == kept


def test_the_readme_names_every_variable_that_the_settings_read():
    sources = ("retina_portal/settings.py", "retina_portal/environment.py", "diagnosis/management/commands/portal.py")
    read = {name for source in sources for name in ENVIRONMENT_NAME.findall((REPOSITORY / source).read_text())}
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", readme)) | {
        f"DJANGO_SUPERUSER{rest}" for rest in re.findall(r"`…(_[A-Z]+)`", readme)
    }

    assert len(read) > 15
    assert read - named == set()
