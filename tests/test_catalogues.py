"""The catalogues of translations: complete against the sources, compiled, and with every placeholder in its place."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

from tests.support import REPOSITORY, require

LANGUAGES = ["ar", "fr", "uk"]
PARTS = ["diagnosis", "retina_portal", "templates"]
# As in CONTRIBUTING.md; a test compares.
EXTRACT = [
    "makemessages", "-a", "--no-location", "--no-wrap", "--no-obsolete",
    *(word for part in ["diagnosis/api", "var", "runs", "ml", "tests", "benchmarks", "deploy", "docs"] for word in ("-i", part)),
]  # fmt: skip
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sd]\b|%%[a-z]+\b|\{\w*\}|</?[a-z]+[^>]*>")


def catalogue(language: str, ending: str = "po", *, root: Path = REPOSITORY) -> Catalog:
    path = root / "locale" / language / "LC_MESSAGES" / f"django.{ending}"
    with path.open("rb") as file:
        return read_po(file) if ending == "po" else read_mo(file)


def forms(text: str | tuple[str, ...] | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


def translated(language: str) -> list[Message]:
    return [each for each in catalogue(language) if each.id and all(forms(each.string))]


def misplaced(message: Message) -> list[str]:
    """Return the forms whose placeholders or tags differ from those of the English text."""
    singular, plural = forms(message.id)[0], forms(message.id)[-1]
    wanted = sorted(PLACEHOLDER.findall(plural))
    found = forms(message.string)
    if len(found) == 1:
        return [text for text in found if sorted(PLACEHOLDER.findall(text)) != sorted(PLACEHOLDER.findall(singular))]
    # "One" and "two" may be a word; the form for any other number says the number.
    wrong = [text for text in found if set(PLACEHOLDER.findall(text)) - set(wanted)]
    return wrong + [text for text in found[-1:] if sorted(PLACEHOLDER.findall(text)) != wanted]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_says_what_the_source_says(language: str) -> None:
    written = {(each.context, forms(each.id)[0]): forms(each.string) for each in translated(language)}
    compiled = {(e.context, forms(e.id)[0]): forms(e.string) for e in catalogue(language, "mo") if e.id}

    assert compiled == written


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources whose catalogues were brought up to date."""
    require(shutil.which("xgettext") and shutil.which("msgmerge"), "gettext is not installed")
    root = tmp_path_factory.mktemp("sources")
    for part in [*PARTS, "locale"]:
        shutil.copytree(REPOSITORY / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "manage.py", root)
    (root / "ml").symlink_to(REPOSITORY / "ml")
    subprocess.run([sys.executable, "manage.py", *EXTRACT], cwd=root, check=True, capture_output=True, timeout=240)
    return root


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogue_has_the_texts_of_the_sources(extracted: Path, language: str) -> None:
    fresh = {each.id for each in catalogue(language, root=extracted)}

    assert {each.id for each in catalogue(language)} == fresh
    assert len(fresh) > 1000


def test_contributors_are_told_the_command_of_this_test() -> None:
    assert f"manage.py {' '.join(EXTRACT)}\n" in (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_entry_is_a_guess(language: str) -> None:
    assert [each.id for each in catalogue(language) if each.id and each.fuzzy] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_and_tags_are_those_of_the_english_text(language: str) -> None:
    assert [text for each in translated(language) for text in misplaced(each)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_that_python_fills_in_can_be_filled_in(language: str) -> None:
    for message in translated(language):
        # Babel takes "% o" in a plain sentence for a placeholder, even where the catalogue says that it is none.
        if "python-format" not in message.flags or "no-python-format" in message.flags:
            continue
        for text in forms(message.string):
            number = len(re.findall(r"%[sd]", text.replace("%%", "")))
            assert text % (defaultdict(int) if "%(" in text else (1,) * number)


@pytest.mark.parametrize(
    ("english", "translation"),
    [
        ("%(number)s s", "%(nombre)s s"),
        ("Only <strong>%(text)s</strong>", "Seulement %(text)s"),
        ("%%passed of %%total", "%%passed"),
        (("%(n)s day", "%(n)s days"), ("un jour", "jours")),
    ],
)
def test_a_lost_placeholder_is_found(english: str | tuple[str, str], translation: str | tuple[str, str]) -> None:
    assert misplaced(Message(english, translation))


def test_a_word_for_one_is_no_lost_placeholder() -> None:
    assert misplaced(Message(("%(n)s day", "%(n)s days"), ("un jour", "%(n)s jours"))) == []
