"""The README's commands are a contract: a newcomer copies them, continuous integration runs them."""

import re

import pytest

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


def test_the_readme_names_every_variable_that_the_settings_read():
    sources = ("retina_portal/settings.py", "retina_portal/environment.py", "diagnosis/management/commands/portal.py")
    read = {name for source in sources for name in ENVIRONMENT_NAME.findall((REPOSITORY / source).read_text())}
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", readme)) | {
        f"DJANGO_SUPERUSER{rest}" for rest in re.findall(r"`…(_[A-Z]+)`", readme)
    }

    assert len(read) > 15
    assert read - named == set()
