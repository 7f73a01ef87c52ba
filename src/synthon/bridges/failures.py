"""What another library raised, as an error of our tree; ours pass through it unharmed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from synthon.bridges.identities import secrets_of
from synthon.core.errors import (
    ContextTooLong,
    OutputError,
    ProviderError,
    ProviderTimeout,
    SynthonError,
    TooManyRequests,
)

_SHOWN = 400
_TIMEOUTS = {408, 504}
_WORTH_ANOTHER_TRY = {408, 409, 425, 429}
_TOO_MANY = 429
#: Exceptions that bear no status, by the name of a class of theirs: langchain-core's own, httpx's and the SDKs'.
_STATUS = {
    "ModelAuthenticationError": 401,
    "ModelPermissionDeniedError": 403,
    "ModelInvalidRequestError": 400,
    "ModelNotFoundError": 404,
    "ModelRateLimitError": 429,
    "ModelAPIError": 500,
}
_TIMED_OUT = {
    "TimeoutError",
    "TimeoutException",
    "APITimeoutError",
    "ModelTimeoutError",
    "ConnectTimeout",
    "ReadTimeout",
}
_UNREACHED = {"ConnectionError", "ConnectError", "APIConnectionError", "ModelConnectionError", "TransportError"}


@contextmanager
def as_ours(where: str, part: object = None, *, attempts: int = 1) -> Iterator[None]:
    """Raise what fails inside as an error of our tree.

    Args:
        where: the part, for the message.
        part: the part itself, whose keys the message does not show.
        attempts: requests that the part may have sent before it gave up.
    """
    try:
        yield
    except SynthonError:
        raise
    except Exception as error:
        raise failure(where, error, attempts, part) from error


def failure(where: str, error: Exception, attempts: int = 1, part: object = None) -> SynthonError:
    """The error that an exception of another library stands for, without the keys that the part holds."""
    for inner in _chain(error):
        if isinstance(inner, SynthonError):
            return inner
    kinds = {kind.__name__ for inner in _chain(error) for kind in type(inner).__mro__}
    said = f"{type(error).__name__}: {error}"
    for secret in secrets_of(part):
        said = said.replace(secret, "***")
    said = " ".join(said.split())[:_SHOWN]  # cut last, for half a key is not known for one
    if "OutputParserException" in kinds:
        text = str(getattr(error, "llm_output", None) or "")
        return OutputError(f"{where} could not read an answer: {said!r}. Loosen its parser.", text=text, reason=said)
    status = next((status for inner in _chain(error) if (status := _status(inner))), None)
    status = status or next((_STATUS[kind] for kind in _STATUS if kind in kinds), None)
    if "ContextOverflowError" in kinds:
        too_long = ContextTooLong(f"The request to {where} is longer than the model's context: {said!r}. Send less.")
        too_long.status = status
        return too_long
    late = status in _TIMEOUTS or (status is None and bool(kinds & _TIMED_OUT))
    retryable = late or bool(kinds & _UNREACHED)
    if status is not None:
        retryable = status >= 500 or status in _WORTH_ANOTHER_TRY  # noqa: PLR2004 - the class of a server's failures
    kind = TooManyRequests if status == _TOO_MANY else ProviderTimeout if late else ProviderError
    headers = _headers(error)
    return kind(
        f"{where} failed: {said!r}. {'Try again later.' if retryable else 'Correct the request or the part.'}",
        status=status,
        retry_after_s=_seconds(headers.get("retry-after", "")),
        request_id=headers.get("x-request-id") or headers.get("request-id"),
        attempts=attempts,
        retryable=retryable,
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it was raised from; not what was merely being handled."""
    seen: set[int] = set()
    inner: BaseException | None = error
    while inner is not None and id(inner) not in seen:
        seen.add(id(inner))
        yield inner
        inner = inner.__cause__


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    for value in (
        getattr(error, "status_code", None),
        getattr(error, "status", None),
        getattr(response, "status_code", None),
        getattr(error, "code", None),
    ):
        if isinstance(value, int) and 400 <= value <= 599:  # noqa: PLR2004 - the statuses that are failures
            return value
    return None


def _headers(error: BaseException) -> Mapping[str, str]:
    for inner in _chain(error):
        headers = getattr(getattr(inner, "response", None), "headers", None)
        if isinstance(headers, Mapping):
            return {str(name).lower(): str(value) for name, value in headers.items()}
    return {}


def _seconds(text: str) -> float | None:
    try:
        return max(0.0, float(text))
    except ValueError:
        return None
