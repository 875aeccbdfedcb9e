"""Search texts stay in the session: a name or an MRN never becomes part of an address or of a log."""

import secrets

from django.contrib.sessions.backends.base import SessionBase

_KEY = "searches"
_KEPT = 10
MAX_LENGTH = 200


def remember(session: SessionBase, text: str) -> str:
    """Keep a search text and return the token that stands for it in addresses."""
    kept: dict[str, str] = session.get(_KEY, {})
    token = secrets.token_urlsafe(6)
    session[_KEY] = dict([*kept.items(), (token, text[:MAX_LENGTH])][-_KEPT:])
    return token


def recall(session: SessionBase, token: str) -> str:
    """Return the text of a token, or an empty one."""
    return str(session.get(_KEY, {}).get(token, ""))
