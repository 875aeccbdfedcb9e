"""No page mixes languages: every text of every catalogue is translated."""

import pytest

from tests.test_catalogues import LANGUAGES, catalogue, forms


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_in_every_plural_form(language: str) -> None:
    source = catalogue(language)

    missing = [
        each.id
        for each in source
        if each.id
        and (not all(forms(each.string)) or (each.pluralizable and len(forms(each.string)) != source.num_plurals))
    ]

    assert missing == []
