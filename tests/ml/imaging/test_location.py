import numpy as np
import pytest

from ml.imaging import location, render

SIDE = 90


def spot(row: int, column: int, *, level: float = 1.0, size: int = 10) -> np.ndarray:
    """A square of heat on a cold map of 90 x 90."""
    heat = np.zeros((SIDE, SIDE), np.float32)
    heat[row : row + size, column : column + size] = level
    return heat


# In a right eye the nose is on the right side of the picture, in a left eye on the left side.
@pytest.mark.parametrize(
    ("row", "column", "right_eye", "left_eye"),
    [
        (5, 5, "superotemporal", "superonasal"),
        (5, 40, "superior", "superior"),
        (5, 75, "superonasal", "superotemporal"),
        (40, 75, "nasal", "temporal"),
        (75, 75, "inferonasal", "inferotemporal"),
        (75, 40, "inferior", "inferior"),
        (75, 5, "inferotemporal", "inferonasal"),
        (40, 5, "temporal", "nasal"),
        (40, 40, "central", "central"),
        (46, 34, "central", "central"),
    ],
)
def test_the_direction_is_that_of_the_eye(row: int, column: int, right_eye: str, left_eye: str) -> None:
    found = [location.hottest_area(spot(row, column), laterality=eye) for eye in ("R", "L")]

    assert [area.direction for area in found if area] == [right_eye, left_eye]


def test_share_and_parts_are_counted() -> None:
    two_equal = spot(5, 5) + spot(75, 75, level=0.9)
    one_warm = spot(5, 5) + spot(75, 75, level=0.7)

    both = location.hottest_area(two_equal, laterality="R")
    one = location.hottest_area(one_warm, laterality="R")

    # 10 x 10 of 90 x 90 pixels; 0.9 lies within a fifth of the peak, 0.7 does not.
    assert both == location.HotArea(direction="superotemporal", share=100 / 8100, parts=2)
    assert one == location.HotArea(direction="superotemporal", share=100 / 8100, parts=1)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_map_without_contrast_has_no_hottest_area(level: float) -> None:
    assert location.hottest_area(np.full((9, 9), level, np.float32), laterality="R") is None


def test_an_unknown_eye_is_refused() -> None:
    with pytest.raises(ValueError, match="laterality"):
        location.hottest_area(spot(5, 5), laterality="")


def test_a_stored_map_says_the_same_as_the_map_itself() -> None:
    large = np.kron(spot(75, 5), np.ones((20, 20), np.float32))

    area = location.hottest_area_of_png(render.heatmap_png(large), laterality="R")

    assert area is not None
    assert area.direction == "inferotemporal"
    assert area.share == pytest.approx(100 / 8100, rel=0.1)
