"""``docs/api.md`` names what the API has."""

import re

from tests.api.test_access_api import MATRIX
from tests.api.test_submissions_api import STATUS
from tests.support import REPOSITORY

TEXT = (REPOSITORY / "docs" / "api.md").read_text()


def test_every_operation_is_listed_with_its_scope():
    listed = set(re.findall(r"^\| `(\w+) /api/([^`?]*)[^`]*` \| `([\w:]+)` \|$", TEXT, re.MULTILINE))

    real = {
        (method, re.sub(r"<uuid:\w+>", "{id}", route).replace("<str:name>", "{name}"), str(capability))
        for route, methods in MATRIX.items()
        for method, capability in methods.items()
    }
    assert listed == real


def test_every_code_of_a_refused_file_stands_beside_its_status():
    rows = dict(re.findall(r"^\| (\d{3}) \| (.*) \|$", TEXT, re.MULTILINE))

    assert [code for code, status in STATUS.items() if f"`{code}`" not in rows[str(status)]] == []
