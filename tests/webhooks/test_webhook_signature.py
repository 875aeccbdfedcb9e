"""Signatures, and the receiver's side of them as the documentation has it."""

import base64
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from diagnosis.webhooks import signature
from tests import factories
from tests.support import REPOSITORY

# The example of the Standard Webhooks specification.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def valid(**changes):
    asked = {
        "secret": SECRET,
        "message_id": MESSAGE_ID,
        "timestamp": str(TIMESTAMP),
        "signatures": SIGNATURE,
        "body": BODY,
        "now": TIMESTAMP + 10,
    }
    return signature.is_valid(**{**asked, **changes})


@pytest.fixture(scope="module")
def documented():
    """Return the function ``verified`` that docs/webhooks.md shows."""
    text = (REPOSITORY / "docs" / "webhooks.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def verified" in block)
    names = {}
    exec(compile(code, "docs/webhooks.md", "exec"), names)
    assert len([line for line in code.splitlines() if line.strip()]) <= 14
    return names["verified"]


def test_the_example_of_the_standard():
    assert signature.sign(SECRET, message_id=MESSAGE_ID, timestamp=TIMESTAMP, body=BODY) == SIGNATURE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"signatures": f"v1,AAAA {SIGNATURE}"}, True),
        ({"now": TIMESTAMP + 300}, True),
        ({"now": TIMESTAMP - 300}, True),
        ({"now": TIMESTAMP + 301}, False),
        ({"now": TIMESTAMP - 301}, False),
        ({"body": BODY + b" "}, False),
        ({"message_id": "msg_other"}, False),
        ({"timestamp": str(TIMESTAMP + 1)}, False),
        ({"timestamp": ""}, False),
        ({"timestamp": "now"}, False),
        ({"timestamp": "9" * 40}, False),
        ({"timestamp": "²"}, False),
        ({"signatures": ""}, False),
        ({"signatures": SIGNATURE.replace("v1,", "v1a,")}, False),
        ({"signatures": "v1,é"}, False),
        ({"secret": "whsec_" + base64.b64encode(b"other").decode()}, False),
    ],
)
def test_what_is_valid(changes, expected):
    assert valid(**changes) is expected


def test_the_secret_hangs_on_seed_and_secret_key():
    seeds = [signature.secret_of("a" * 64), signature.secret_of("b" * 64)]
    other_key = signature.secret_of("a" * 64, secret_key="other")

    assert len({*seeds, other_key}) == 3
    assert len(base64.b64decode(seeds[0].removeprefix("whsec_"))) == 32


def test_a_replaced_secret_signs_along_until_its_time_is_over():
    now = timezone.now()
    webhook = factories.WebhookFactory.build(
        clinic=None, seed="b" * 64, previous_seed="a" * 64, previous_seed_until=now
    )
    old, new = signature.secret_of("a" * 64), signature.secret_of("b" * 64)

    assert signature.secrets_in_force(webhook, now=now - timedelta(seconds=1)) == [new, old]
    assert signature.secrets_in_force(webhook, now=now) == [new]


def test_a_replaced_secret_key_of_the_portal_signs_along(settings):
    webhook = factories.WebhookFactory.build(clinic=None, seed="a" * 64)
    before = signature.secret_of(webhook.seed)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10

    assert signature.secrets_in_force(webhook) == [signature.secret_of(webhook.seed), before]


class TestDocumentedReceiver:
    """The Python of docs/webhooks.md."""

    @pytest.fixture
    def message(self):
        webhook = factories.WebhookFactory.build(
            clinic=None,
            previous_seed="e" * 64,
            previous_seed_until=timezone.now() + timedelta(hours=1),
        )
        timestamp = int(timezone.now().timestamp())
        headers = signature.headers(webhook, message_id=MESSAGE_ID, timestamp=timestamp, body=BODY)
        return webhook, headers

    def test_it_takes_what_the_portal_signs_with_the_new_and_with_the_old_secret(self, documented, message):
        webhook, headers = message

        assert documented(signature.secret_of(webhook.seed), headers, BODY)
        assert documented(signature.secret_of("e" * 64), headers, BODY)

    def test_it_refuses_everything_else(self, documented, message):
        webhook, headers = message
        secret = signature.secret_of(webhook.seed)
        old = {**headers, "Webhook-Timestamp": str(int(headers["Webhook-Timestamp"]) - 301)}

        assert not documented(secret, headers, BODY + b" ")
        assert not documented(signature.secret_of("f" * 64), headers, BODY)
        assert not documented(secret, old, BODY)
        assert not documented(secret, {**headers, "Webhook-Signature": ""}, BODY)
