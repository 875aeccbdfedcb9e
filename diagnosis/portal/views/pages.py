"""Pages that need no sign-in: help, about, contact, privacy, terms."""

import hashlib
import smtplib
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views import View
from django.views.generic import TemplateView

from diagnosis import retake
from diagnosis.portal import advice, model_figures, wording, worth
from diagnosis.portal.forms import ContactForm
from diagnosis.portal.views.models import bundles_in_use, image_metrics

HOURLY_MESSAGES = 5
HTTP_SENT = 200

TOPICS: dict[str, tuple[str | Promise, str | Promise, tuple[advice.Source, ...]]] = {
    "diabetic-retinopathy": (
        gettext_lazy("Diabetic retinopathy"),
        gettext_lazy("Damage to the small vessels of the retina by diabetes."),
        (advice.NICE_DIABETIC, advice.ICO_DIABETIC, advice.WHO_SCREENING),
    ),
    "glaucoma": (
        gettext_lazy("Glaucoma"),
        gettext_lazy("Loss of optic nerve fibres, often with raised eye pressure."),
        (advice.NICE_GLAUCOMA, advice.EGS_GLAUCOMA),
    ),
    "myopia": (
        gettext_lazy("Pathological myopia"),
        gettext_lazy("Stretching of a long eye that thins and tears the retina."),
        (advice.META_PM, advice.IMI_MYOPIA),
    ),
}


class HelpIndexView(TemplateView):
    """How to use the portal, and the diseases it looks for."""

    template_name = "portal/help/index.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With the topics and the retake tips."""
        tips = wording.quality_reasons({"reasons": list(retake.QUALITY_REASONS)})
        return super().get_context_data(topics=TOPICS, tips=tips, **kwargs)


class HelpTopicView(View):
    """One disease: stages, signs, prevention, sources."""

    def get(self, request: HttpRequest, topic: str) -> HttpResponse:
        """Show it."""
        if topic not in TOPICS:
            raise Http404
        title, summary, sources = TOPICS[topic]
        context = {"title": title, "summary": summary, "sources": sources, "topic": topic, "topics": TOPICS}
        return render(request, f"portal/help/{topic}.html", context)


class AboutView(TemplateView):
    """Method, origin, models."""

    template_name = "portal/about.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With the models in use."""
        bundles = bundles_in_use()
        return super().get_context_data(
            bundles=bundles,
            worth=worth.table(),
            prevalence=worth.published_prevalence(),
            figures=[figure for bundle in bundles for figure in model_figures.of_statements(bundle)],
            image_metrics=image_metrics(bundles),
            **kwargs,
        )


class PrivacyView(TemplateView):
    """What is stored, and who sees it."""

    template_name = "portal/privacy.html"


class TermsView(TemplateView):
    """Terms of use."""

    template_name = "portal/terms.html"


class FaviconView(View):
    """The icon under the address that browsers try by themselves."""

    def get(self, _request: HttpRequest) -> HttpResponse:
        """Lead to the drawn one."""
        return redirect(static("portal/img/favicon.svg"))


class ContactView(View):
    """A form that sends e-mail, a few times an hour per sender."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """The form; who is signed in need not type the name again."""
        initial = {}
        if request.user.is_authenticated:
            initial = {"name": str(request.user), "email": request.user.email}
        return render(request, "portal/contact.html", {"form": ContactForm(initial=initial)})

    def post(self, request: HttpRequest) -> HttpResponse:
        """Send the message, or say why not."""
        form = ContactForm(request.POST)
        status = 422
        if form.is_valid():
            status = _send(request, form)
        if status == HTTP_SENT:
            messages.success(request, _("Your message was sent. The answer comes by e-mail."))
            return redirect("portal:contact")
        return render(request, "portal/contact.html", {"form": form}, status=status)


def _send(request: HttpRequest, form: ContactForm) -> int:
    if not _may_send(request):
        form.add_error(None, _("Too many messages in the last hour. Nothing was sent. Try again later."))
        return 429
    fields = form.cleaned_data
    # Who answers speaks the language of the portal, not that of each visitor.
    with translation.override(settings.LANGUAGE_CODE):
        subject = _("Message through the Retina Portal")
    mail = EmailMessage(
        subject=subject,
        body=f"{fields['name']} <{fields['email']}>\n\n{fields['message']}",
        to=[settings.CONTACT_EMAIL],
        reply_to=[fields["email"]],
    )
    try:
        mail.send()
    except (smtplib.SMTPException, OSError):
        form.add_error(None, _("The mail server did not take the message. Nothing was sent. Try again later."))
        return 503
    return HTTP_SENT


def _may_send(request: HttpRequest) -> bool:
    sender = str(request.user.pk) if request.user.is_authenticated else request.META.get("REMOTE_ADDR", "")
    key = "contact:" + hashlib.sha256(sender.encode()).hexdigest()
    cache.add(key, 0, timeout=3600)
    return cache.incr(key) <= HOURLY_MESSAGES
