"""What can go wrong with a call. ``code`` is the word of the native protocol and the HTTP API."""


class GatecastError(Exception):
    """A call that was not carried out; ``code`` says why."""

    code = "internal"

    def __init__(self, message="", code=None):
        super().__init__(message or code or self.code)
        if code is not None:
            self.code = code


class Forbidden(GatecastError):
    """The credentials are wrong, or do not allow this."""

    code = "forbidden"


class BadRequest(GatecastError):
    """The call itself is wrong: a name, a format, a body. Trying again does not help."""

    code = "bad_request"


class TooLarge(GatecastError):
    """The message is larger than the cluster takes."""

    code = "too_large"


class Unavailable(GatecastError):
    """The cluster cannot be reached or cannot do it now. Nothing was sent; try again later."""

    code = "unavailable"


class Timeout(GatecastError):
    """No answer in time. The message may have arrived."""

    code = "timeout"


_BY_CODE = {
    "bad_group": BadRequest,
    "bad_request": BadRequest,
    "unknown_op": BadRequest,
    "forbidden": Forbidden,
    "unauthorized": Forbidden,
    "too_large": TooLarge,
    "timeout": Timeout,
    "unavailable": Unavailable,
    "rate_limited": Unavailable,
    "limit": Unavailable,
}


def error_for(code, message=""):
    """The exception for a code of an answer; a code from a newer server is a plain GatecastError."""
    return _BY_CODE.get(code, GatecastError)(message, code)
