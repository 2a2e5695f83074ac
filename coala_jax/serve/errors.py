"""Why a request gets no answer; the sentence is for the person who asked."""


class RequestError(ValueError):
    """A request that cannot be answered.

    Attributes:
        status: the HTTP status that says the same.
    """

    status = 400


class NotFoundError(RequestError):
    """There is no such thing."""

    status = 404


class ForbiddenError(RequestError):
    """It is there, but not for this request."""

    status = 403


class TimedOutError(RequestError):
    """The request came too slowly."""

    status = 408


class ChangedError(RequestError):
    """The index is no longer what the request is about."""

    status = 409


class TooLargeError(RequestError):
    """The request has more bytes than are taken."""

    status = 413


class UnreadableSoundError(RequestError):
    """Bytes that cannot become a waveform."""

    status = 422


class BusyError(RequestError):
    """It could be answered later."""

    status = 503
