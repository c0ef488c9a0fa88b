"""What a failed request means: status, headers and body of an answer, as a `ModelError`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import cast

from agentrunner.errors import ModelError
from agentrunner.llm.lenient import loads
from agentrunner.types import JSON

MAX_TEXT_CHARS = 500
"""Of what an endpoint said: a sentence or two; an HTML page is not of use."""
MAX_RETRY_AFTER_S = 86_400.0
"""A day. What asks for more is answered by the engine's own limits anyway."""
_OVERFLOW_CODES = ("context_length_exceeded", "exceed_context_size_error", "string_above_max_length")
_OVERFLOW = re.compile(
    r"maximum context length|context[ _-]?(?:length|window|size)|too many (?:input )?tokens|prompt is too long"
    r"|input is too long|(?:input|prompt)\b.{0,40}\bexceeds?\b.{0,40}\btokens?"
    r"|exceeds? the (?:max|limit)\w*.{0,30}\btokens"
    r"|reduce the length of (?:the|your) (?:messages|prompt|input)|request too large for model",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_KEY = re.compile(r"\b(?:sk|pk|rk|key|gsk|xai|AIza)[-_]?[A-Za-z0-9_\-*]{12,}|(?i:bearer)\s+\S{8,}")
_PAGE = re.compile(r"<!doctype html|<html", re.IGNORECASE)


def from_answer(status: int, headers: Mapping[str, str], body: str, secret: str | None = None) -> ModelError:
    """The failure that an error answer describes. `secret` is left out of its message wherever it stands."""
    code, said = _error_of(body)
    text = one_line(said, secret)
    message = f"the endpoint answered {status}" + (f": {text}" if text else "")
    if status == 429:
        if "insufficient_quota" in body:
            return ModelError(message, "refused", status)
        return ModelError(message, "busy", status, retry_after_s(headers))
    if 300 <= status < 400:
        elsewhere = (
            f"{message}, a redirect to {one_line(headers.get('location', 'nowhere'))!r}; give that as the base URL"
        )
        return ModelError(elsewhere, "refused", status)
    if status in (408, 409) or status >= 500 or status < 300:
        # Some servers report an overflow as their own fault. Nothing was generated, so believing them costs nothing.
        if (status == 500 or status < 300) and overflows(code, said):
            return ModelError(message, "overflow", status)
        return ModelError(message, "unknown", status, retry_after_s(headers))
    if status in (400, 413, 422) and overflows(code, said):
        return ModelError(message, "overflow", status)
    return ModelError(message, "refused", status)


def overflows(code: str, said: str) -> bool:
    return code in _OVERFLOW_CODES or bool(_OVERFLOW.search(said))


def not_an_answer(status: int, body: str, url: str, secret: str | None = None) -> ModelError:
    """A success that is no answer of a model: a web page, an empty body, other JSON."""
    seen = "a web page" if _PAGE.search(body[:1000]) else repr(one_line(body, secret)[:120])
    return ModelError(
        f"{url} answered {status} with {seen}, not with a model's answer; is the base URL right? It often ends in /v1",
        "refused",
        status,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What `retry-after-ms` or `retry-after` (seconds or a date) asks for; None when it is absent or makes no sense."""
    try:
        return _sane(float(headers.get("retry-after-ms", "")) / 1000)
    except ValueError:
        pass
    value = headers.get("retry-after", "")
    try:
        return _sane(float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return _sane(max(0.0, (when - datetime.now(UTC)).total_seconds()))


def one_line(text: str, secret: str | None = None) -> str:
    """Fit for a terminal and for a log: no control characters, no key, not long."""
    if secret:
        text = text.replace(secret, "***")
    text = " ".join(_CONTROL.sub(" ", _KEY.sub("***", text)).split())
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 3] + "..."


def _error_of(body: str) -> tuple[str, str]:
    """The code and the message, in the shapes that endpoints use; the body itself when it is none of them."""
    try:
        data = loads(body)
    except ValueError:
        return "", "a web page" if _PAGE.search(body[:1000]) else body[: MAX_TEXT_CHARS * 4]
    if isinstance(data, list) and data:
        data = cast("list[object]", data)[0]
    if not isinstance(data, dict):
        return "", body[: MAX_TEXT_CHARS * 4]
    whole = cast("JSON", data)
    error = whole.get("error") or whole
    if isinstance(error, str):
        return "", error
    error = cast("JSON", error) if isinstance(error, dict) else whole
    said = next((error[name] for name in ("message", "detail", "msg", "error") if error.get(name)), body)
    code = next((value for name in ("code", "type") if isinstance(value := error.get(name), str)), "")
    return code, said if isinstance(said, str) else str(said)


def _sane(seconds: float) -> float | None:
    return min(seconds, MAX_RETRY_AFTER_S) if seconds >= 0 else None
