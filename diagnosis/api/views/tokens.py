"""API tokens of the clinic's users: list, issue, revoke."""

from typing import ClassVar

from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis.access import Capability
from diagnosis.api import schema
from diagnosis.api.serializers.tokens import TokenRequestSerializer, TokenSerializer, TokenWithSecretSerializer
from diagnosis.api.views.base import ApiView, found
from diagnosis.errors import InvalidInputError, SecretShownOnceError
from diagnosis.models import ApiToken, User
from diagnosis.services import tokens


class TokenListView(ApiView):
    """Issue and list tokens."""

    queryset = ApiToken.objects.none()
    serializer_class = TokenSerializer
    filter_backends: ClassVar[list[type]] = []
    capabilities: ClassVar[dict[str, Capability]] = {
        "GET": Capability.MANAGE_USERS,
        "POST": Capability.MANAGE_USERS,
    }

    @extend_schema(
        operation_id="list_tokens",
        summary="List tokens",
        tags=["tokens"],
        responses={**schema.page_of(TokenSerializer), **schema.problems(400)},
    )
    def get(self, request: Request) -> Response:
        """Tokens of your clinic's users, newest first, with their end and last use; never with their secrets."""
        return self.page(ApiToken.objects.visible_to(request.user).select_related("user"))

    @schema.unsafe(
        operation_id="issue_token",
        summary="Issue a token",
        tags=["tokens"],
        request=TokenRequestSerializer,
        responses={
            201: TokenWithSecretSerializer,
            **schema.problems(400, 409, 413, 415, examples={409: ["secret_shown_once"]}),
        },
    )
    def post(self, request: Request) -> ApiToken:
        """Make a token for a user of your clinic. A token cannot give scopes that it does not have itself."""
        serializer = TokenRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = dict(serializer.validated_data)
        token, secret = tokens.issue(
            _holder(request.user, fields.pop("username")),
            acting_user=request.user,
            within=request.auth.scopes if isinstance(request.auth, ApiToken) else None,
            **fields,
        )
        token.secret = secret  # type: ignore[attr-defined]
        return token

    def answer(self, token: ApiToken) -> Response:
        """201 with the token and, this once, its secret."""
        if not hasattr(token, "secret"):
            raise SecretShownOnceError
        return Response(TokenWithSecretSerializer(token).data, status=201)


class TokenDetailView(ApiView):
    """One token."""

    http_method_names: ClassVar[list[str]] = ["delete"]
    takes_no_body = frozenset({"DELETE"})
    serializer_class = TokenSerializer
    capabilities: ClassVar[dict[str, Capability]] = {"DELETE": Capability.MANAGE_USERS}
    token: ApiToken

    def find_subject(self) -> None:
        """Find the token."""
        visible = ApiToken.objects.visible_to(self.request.user).select_related("user__clinic")
        self.token = found(visible.filter(pk=self.kwargs["token_id"]))

    @schema.unsafe(
        operation_id="revoke_token",
        summary="Revoke a token",
        tags=["tokens"],
        request=None,
        responses={204: OpenApiResponse(description="Revoked; it stops at once."), **schema.problems(404)},
    )
    def delete(self, request: Request, token_id: str) -> None:
        """End a token at once. It stays in the list with `revoked_at`."""
        tokens.revoke(self.token, acting_user=request.user)


def _holder(acting_user: User, username: str) -> User:
    user = User.objects.managed_by(acting_user).filter(username=username, is_active=True).first()
    if user is None:
        raise InvalidInputError([("username", "unknown", _("Your clinic has no active user of this name."))])
    return user
