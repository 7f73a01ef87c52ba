"""What an endpoint's refusal means: every status, error object and page becomes one error of the tree."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from synthon.core.errors import ContextTooLong, ProviderError, ProviderTimeout, TooManyRequests
from synthon.models._json import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN = 400
_TOO_LONG = re.compile(
    r"context[ _](?:length|window|size|limit)|maximum model length|prompt is too long|input is too long", re.IGNORECASE
)
_LIMIT = re.compile(
    r"(?:maximum (?:context|model) length(?: is| of)?|context length \(|available context size \(|> ?) ?(\d+)"
)
_TOKENS = re.compile(
    r"(?:requested(?: a total of)?|resulted in|too long:|input \(|request \(|prompt \(length|request has) (\d+)"
    r"|(?:input|request) \((\d+)"
)
_SUM = re.compile(r"(\d+) \+ (\d+) > ?(\d+)")
_STATUS = {
    "api_error": 500,
    "authentication_error": 401,
    "billing_error": 402,
    "invalid_request_error": 400,
    "not_found_error": 404,
    "overloaded_error": 529,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "request_too_large": 413,
    "timeout_error": 504,
}
_TIMEOUTS = {408, 504}
_WORTH_ANOTHER_TRY = {408, 409, 425, 429}
_ADVICE = {
    401: "Check the API key.",
    402: "Check the account's balance.",
    403: "Check what the API key may do.",
    404: "Check `base_url` and the model's name.",
    413: "Send less.",
    429: "Wait, or wrap the model in sy.RateLimited or sy.Retrying.",
}


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait an endpoint asks for, in seconds and never negative: `retry-after-ms`, seconds or an HTTP date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            wait = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if math.isfinite(wait):
            return max(0.0, wait)
    try:
        when = parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def failure(
    where: str, payload: object, *, status: int | None, headers: Mapping[str, str] | None = None
) -> ProviderError:
    """The error that an endpoint's answer stands for.

    Args:
        where: the endpoint's URL, for the message.
        payload: the decoded JSON, or text where it was none; secrets already taken out.
        status: HTTP status; None or 200 where the error came in the body or in the middle of a stream.
    """
    headers = headers or {}
    error = _error_object(payload)
    said = _words(payload, error)
    status = _status(error, status)
    request_id = headers.get("x-request-id") or headers.get("request-id") or text_of(payload, "request_id")
    if _is_too_long(error, said, status):
        return _too_long(where, error, said, status, request_id)
    kind = TooManyRequests if status == 429 else ProviderTimeout if status in _TIMEOUTS else ProviderError  # noqa: PLR2004
    no_funds = text_of(error, "code") == "insufficient_quota" or text_of(error, "type") == "insufficient_quota"
    retryable = not no_funds and (status is None or status >= 500 or status in _WORTH_ANOTHER_TRY)  # noqa: PLR2004
    advice = _ADVICE.get(status or 0, "Try again later." if retryable else "Correct the request.")
    answered = "failed in mid-answer" if status is None else f"answered {status}"
    return kind(
        f"{where} {answered}: {said!r}. {'Check the account and its plan.' if no_funds else advice}",
        status=status,
        retry_after_s=retry_after_s(headers),
        request_id=request_id or None,
        retryable=retryable,
    )


def _is_too_long(error: object, said: str, status: int | None) -> bool:
    if status is not None and status not in {400, 413, 422, 500}:
        return False
    codes = {text_of(error, "code"), text_of(error, "type")}
    return bool(codes & {"context_length_exceeded", "exceed_context_size_error"} or _TOO_LONG.search(said))


def _too_long(where: str, error: object, said: str, status: int | None, request_id: str) -> ContextTooLong:
    tokens, limit = _number(error, "n_prompt_tokens"), _number(error, "n_ctx")
    if both := _SUM.search(said):
        tokens, limit = int(both[1]) + int(both[2]), int(both[3])
    if limit is None and (found := _LIMIT.search(said)):
        limit = int(found[1])
    if tokens is None and (found := _TOKENS.search(said)):
        tokens = int(found[1] or found[2])
    too_long = ContextTooLong(
        f"The request to {where} is longer than the model's context: {said!r}. Send less, or lower `max_tokens`.",
        tokens=tokens,
        limit=limit,
    )
    too_long.status, too_long.request_id = status, request_id or None
    return too_long


def _error_object(payload: object) -> object:
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if isinstance(payload, dict):
        for name in ("error", "detail"):
            if payload.get(name):
                return payload[name]
    return payload


def _status(error: object, status: int | None) -> int | None:
    if status not in {None, 200}:
        return status
    if (code := _number(error, "code")) is not None and 400 <= code <= 599:  # noqa: PLR2004
        return code
    return _STATUS.get(text_of(error, "type")) or _STATUS.get(text_of(error, "code"))


def _words(payload: object, error: object) -> str:
    said = text_of(error, "message") or (error if isinstance(error, str) else "") or text_of(payload, "message")
    if "<html" in said.lower() or "<!doctype" in said.lower():
        title = re.search(r"<title[^>]*>(.*?)</title>", said, re.IGNORECASE | re.DOTALL)
        said = "a web page: " + (title[1] if title else re.sub(r"<[^>]*>", " ", said))
    said = " ".join((said or str(payload)).split())
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."


def _number(value: object, name: str) -> int | None:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
