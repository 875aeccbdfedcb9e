import pytest

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
