"""Request bodies without a declared length (chunked), which Django would take for empty ones."""

import tempfile
from collections.abc import Callable, Iterable
from typing import Any

# The largest body of any operation, a batch of photographs, and one byte more: that is refused by its length.
LONGEST_BODY = 102 * 1024 * 1024 + 1
IN_MEMORY = 1024 * 1024
_PIECE = 64 * 1024

Environment = dict[str, Any]
Application = Callable[[Environment, Callable[..., Any]], Iterable[bytes]]


class WholeBodies:
    """Reads a chunked body to its end and passes it on with its length.

    Requests without any credentials are left as they are: whatever they say, the answer asks for a sign-in, and nobody
    unknown fills the disk.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(self, environ: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        is_known_length = bool(environ.get("CONTENT_LENGTH"))
        has_credentials = "HTTP_AUTHORIZATION" in environ or "HTTP_COOKIE" in environ
        if is_known_length or not environ.get("wsgi.input_terminated") or not has_credentials:
            return self.application(environ, start_response)
        # It lives as long as the request, and has no name that could stay behind.
        body = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        _copy(environ["wsgi.input"], body)
        environ["CONTENT_LENGTH"] = str(body.tell())
        body.seek(0)
        environ["wsgi.input"] = body
        return self.application(environ, start_response)


def _copy(source: Any, target: Any) -> None:
    """Copy a stream up to its end, or up to ``LONGEST_BODY`` bytes."""
    left = LONGEST_BODY
    while piece := source.read(min(_PIECE, left)):
        target.write(piece)
        left -= len(piece)
