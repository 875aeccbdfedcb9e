"""Each known mistake of the prototype has a test, and the table that says so is true."""

import re

import pytest

from tests.support import REPOSITORY

ROW = re.compile(r"^\| (D\d+) \| .* \| `(?P<path>tests/\S+\.py)::(?P<test>test_\w+)` \|$", re.MULTILINE)
ROWS = ROW.findall((REPOSITORY / "docs" / "prototype-mistakes.md").read_text(encoding="utf-8"))


def test_every_mistake_has_a_row():
    assert [number for number, _path, _test in ROWS] == [f"D{number}" for number in range(1, 14)]


@pytest.mark.parametrize(("number", "path", "test"), ROWS, ids=[row[0] for row in ROWS])
def test_the_named_test_exists(number, path, test):
    assert f"def {test}(" in (REPOSITORY / path).read_text(encoding="utf-8"), number
