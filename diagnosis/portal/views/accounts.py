"""Sign in, change the password."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.http import HttpResponse
from django.urls import reverse_lazy
from django.utils.translation import gettext as _

from diagnosis.portal.forms import PortalPasswordForm, SignInForm


class SignInView(LoginView):
    """Sign in; django-axes locks an account and address after repeated failures."""

    template_name = "portal/accounts/login.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True


class PasswordEditView(PasswordChangeView):
    """Change the own password."""

    template_name = "portal/accounts/password.html"
    form_class = PortalPasswordForm
    success_url = reverse_lazy("portal:home")

    def form_valid(self, form: Any) -> HttpResponse:
        """Say that it worked."""
        messages.success(self.request, _("Your password was changed."))
        return super().form_valid(form)
