"""Whether this process answers; apart from readiness, because it must need nothing."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe


@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """Whether this process answers."""
    answer = JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})
    answer.headers["Content-Length"] = str(len(answer.content))
    return answer
