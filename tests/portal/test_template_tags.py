import pytest

from diagnosis.templatetags.model_cards import model_card
from diagnosis.templatetags.portal import percent


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (None, ""),
        (0.0, "0 %"),
        (0.0049, "< 1 %"),
        (0.005, "1 %"),
        (0.0092, "1 %"),
        (0.134, "13 %"),
        (0.135, "14 %"),
        (0.816, "82 %"),
        (0.994, "99 %"),
        (0.995, "> 99 %"),
        (1.0, "100 %"),
    ],
)
def test_a_probability_is_rounded_to_whole_percent(probability: float | None, words: str) -> None:
    assert percent(probability) == words


def test_a_list_entry_of_a_card_goes_on_in_the_next_line() -> None:
    html = model_card("* Loss: Dice and\n  cross-entropy\n* Seed `3`\n\nTrained twice.\n")

    assert html == "<ul><li>Loss: Dice and cross-entropy</li><li>Seed <code>3</code></li></ul><p>Trained twice.</p>"
