"""API tokens of the clinic's users: list, issue, revoke."""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from diagnosis import access
from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError
from diagnosis.models import ApiToken, User
from diagnosis.portal.forms import ServiceForm
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.services import tokens

SHOWN = 200


class TokenForm(ServiceForm):
    """A token to be made."""

    user = forms.ModelChoiceField(
        label=gettext_lazy("For whom"),
        queryset=User.objects.none(),
        empty_label=gettext_lazy("Choose"),
        help_text=gettext_lazy("The token does what this user's role may do, never more."),
    )
    name = forms.CharField(
        label=gettext_lazy("Label"), max_length=100, help_text=gettext_lazy("To recognise the program that uses it.")
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Scopes"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Choose none for everything that the role may do."),
    )
    days = forms.IntegerField(
        label=gettext_lazy("Days until it ends"),
        required=False,
        min_value=1,
        max_value=tokens.MAX_DAYS,
        initial=365,
        help_text=gettext_lazy("Leave empty for a token without an end."),
    )

    def __init__(self, *args: Any, acting_user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user"].queryset = User.objects.managed_by(acting_user).filter(is_active=True).order_by("username")
        self.fields["scopes"].choices = [(scope, scope) for scope in access.scopes_for(acting_user.role)]


class TokenListView(PortalView):
    """The tokens, and the form for a new one."""

    capability = Capability.MANAGE_USERS

    def get(self, request: PortalRequest) -> HttpResponse:
        """Tokens, newest first."""
        return self._page(request, TokenForm(acting_user=request.user))

    def post(self, request: PortalRequest) -> HttpResponse:
        """Issue a token; the answer is the only page that ever shows its secret."""
        form = TokenForm(request.POST, acting_user=request.user)
        if not form.is_valid():
            return self._page(request, form, status=422)
        fields = form.cleaned_data
        try:
            token, secret = tokens.issue(
                fields["user"],
                acting_user=request.user,
                name=fields["name"],
                scopes=fields["scopes"] or None,
                days=fields["days"],
            )
        except DiagnosisError as error:
            form.add_refusal(error)
            return self._page(request, form, status=error.status)
        return self._page(request, TokenForm(acting_user=request.user), status=201, new=token, secret=secret)

    def _page(self, request: PortalRequest, form: TokenForm, *, status: int = 200, **more: Any) -> HttpResponse:
        shown = ApiToken.objects.visible_to(request.user).select_related("user")[:SHOWN]
        usable = set(
            ApiToken.objects.usable().filter(pk__in=[token.pk for token in shown]).values_list("pk", flat=True)
        )
        context = {"form": form, "tokens": shown, "usable": usable, **more}
        return render(request, "portal/tokens.html", context, status=status)


class TokenRevokeView(PortalView):
    """End a token."""

    capability = Capability.MANAGE_USERS

    def post(self, request: PortalRequest, token_id: uuid.UUID) -> HttpResponse:
        """Revoke it, and go back to the list."""
        visible = ApiToken.objects.visible_to(request.user).select_related("user__clinic")
        tokens.revoke(get_object_or_404(visible, pk=token_id), acting_user=request.user)
        messages.success(request, _("The token was revoked. Programs that use it are refused from now on."))
        return redirect("portal:tokens")
