"""What ``manage.py check --deploy`` says of a portal that should not serve patients."""

import pytest

from diagnosis.checks import production_is_no_sandbox


@pytest.mark.parametrize(("is_sandbox", "ids"), [(True, ["diagnosis.W003"]), (False, [])])
def test_a_sandbox_is_reported(settings, is_sandbox, ids):
    settings.SANDBOX = is_sandbox

    assert [message.id for message in production_is_no_sandbox()] == ids
