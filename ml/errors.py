"""Errors of the machine-learning package, each with a stable code."""


class MLError(Exception):
    """Base of every error that ``ml`` raises on purpose.

    Attributes:
        code: Stable machine-readable name, part of the REST contract.
        message: One sentence a clinician can act on; holds nothing personal.
    """

    default_code = "internal"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code


class UnreadableImageError(MLError):
    """The bytes are not a picture that may be analysed (format, size, decode)."""

    default_code = "image_undecodable"


class BusyError(MLError):
    """There is no free place to look at the file now; nothing is known of it."""

    default_code = "busy"

    def __init__(self, message: str = "Too many photographs are being taken in. Try again in a moment.") -> None:
        super().__init__(message)


class UngradableImageError(MLError):
    """The picture decodes but no field of view can be read from it."""

    default_code = "image_ungradable"


class BundleError(MLError):
    """A model bundle is missing, incomplete, or its files do not match their hashes."""

    default_code = "model_unavailable"
