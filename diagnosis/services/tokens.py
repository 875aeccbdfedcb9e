"""API tokens: issue, look up, revoke. The token itself is shown once and never stored."""

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from diagnosis import access, audit
from diagnosis.access import Capability
from diagnosis.errors import InvalidInputError, NotFoundError
from diagnosis.models import ApiToken, User

PREFIX = "rp_"
MAX_DAYS = 3650


def digest(secret: str) -> str:
    """Return the SHA-256 that a token is stored and found by."""
    return hashlib.sha256(secret.encode("utf-8", errors="replace")).hexdigest()


def issue(
    user: User,
    *,
    acting_user: User | None,
    name: str,
    scopes: list[str] | None = None,
    days: int | None = None,
    within: list[str] | None = None,
) -> tuple[ApiToken, str]:
    """Create a token.

    Args:
        user: Whom it speaks for; it never allows more than the user's role does.
        acting_user: Who creates it, with ``users:manage`` and looking after the user; None on the
            command line.
        name: A label to recognise it by.
        scopes: Capabilities it carries; None for all of the role.
        days: Life time; None for no end.
        within: Scopes of the token that asks, beyond which it cannot give any; None for a person.

    Returns:
        The stored row, and the secret, which cannot be shown again.

    Raises:
        NotAllowedError: The acting user's role does not include it.
        NotFoundError: The user is not the acting user's to look after.
        InvalidInputError: A scope is unknown, beyond the role or beyond ``within``.
    """
    if acting_user is not None:
        _require_managed(user, acting_user)
    possible = [scope for scope in access.scopes_for(user.role) if within is None or scope in within]
    wanted = sorted(set(scopes)) if scopes is not None else possible
    beyond = [scope for scope in wanted if scope not in possible]
    if beyond:
        raise InvalidInputError([("scopes", "invalid_choice", f"Not yours to give for this role: {', '.join(beyond)}")])
    secret = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.create(
            user=user,
            name=name[:100],
            prefix=secret[:10],
            digest=digest(secret),
            scopes=wanted,
            expires_at=timezone.now() + timedelta(days=days) if days else None,
        )
        audit.record("token.issued", acting_user=acting_user, subject=token, clinic=user.clinic, user=str(user.pk))
    return token, secret


def find(secret: str) -> ApiToken | None:
    """Return the usable token with this secret, noting its use (at most one write a minute)."""
    token = ApiToken.objects.usable().select_related("user", "user__clinic").filter(digest=digest(secret)).first()
    if token is None:
        return None
    now = timezone.now()
    if token.needs_touch(now):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def revoke(token: ApiToken, *, acting_user: User | None) -> None:
    """End a token at once; nothing happens to one that was revoked before.

    Raises:
        NotAllowedError: The acting user's role does not include it.
        NotFoundError: The token's user is not the acting user's to look after.
    """
    if acting_user is not None:
        _require_managed(token.user, acting_user)
    with transaction.atomic():
        if ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=timezone.now()):
            audit.record("token.revoked", acting_user=acting_user, subject=token, clinic=token.user.clinic)


def _require_managed(user: User, acting_user: User) -> None:
    access.require(acting_user, Capability.MANAGE_USERS)
    if not User.objects.managed_by(acting_user).filter(pk=user.pk).exists():
        raise NotFoundError
