"""Reading requests and writing answers: JSON bodies of bounded size, replies that every client can read."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, cast

from starlette.responses import Response

from agentrunner.journal.encoding import encode
from agentrunner.server.faults import ApiError, bad
from agentrunner.server.services import owner_of, services_of
from agentrunner.server.wire.checks import Check
from agentrunner.server.wire.limits import JSON_BYTES
from agentrunner.types import JSON

if TYPE_CHECKING:
    from starlette.requests import Request

POLL_AFTER_MS = 100
"""How soon a client should ask again for what is being indexed: most files take less."""


async def thread_of(request: Request) -> str:
    """The id of the thread that a request names; its rows say all that was told of its runs."""
    thread_id: str = request.path_params["thread_id"]
    await services_of(request).worker.write_out(owner_of(request), thread_id)
    return thread_id


async def json_body(request: Request, check: Check) -> Any:
    """The body, checked. No body is an empty object."""
    content = await read_body(request, JSON_BYTES)
    if not content.strip():
        return check({}, "")
    try:
        value: object = json.loads(content, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ApiError(
            400,
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP"
            f" library correctly. The API expects a JSON payload, but what was sent was not valid JSON: {error})",
        ) from None
    if not isinstance(value, dict):
        raise bad("Invalid body: expected a JSON object.", None, "invalid_type")
    return check(cast(JSON, value), "")


async def read_body(request: Request, max_bytes: int) -> bytes:
    check_length(request, max_bytes)
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > max_bytes:
            raise too_large(max_bytes)
        pieces.append(piece)
    return b"".join(pieces)


def check_length(request: Request, max_bytes: int) -> None:
    """Refuse at once what says that it is too long."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > max_bytes:
        raise too_large(max_bytes)


def too_large(max_bytes: int) -> ApiError:
    return ApiError(413, f"Maximum content size limit ({max_bytes}) exceeded.", code="content_too_large")


def reply(data: JSON, status: int = 200, *, poll_after_ms: int | None = None) -> Response:
    headers = {} if poll_after_ms is None else {"openai-poll-after-ms": str(poll_after_ms)}
    return Response(encode(data)[0].encode(), status, headers, "application/json")


def failure(error: ApiError) -> Response:
    answer = reply(error.envelope, error.status)
    if error.retry_after_s is not None:
        answer.headers["retry-after"] = str(max(1, round(error.retry_after_s)))
        answer.headers["retry-after-ms"] = str(max(1, round(error.retry_after_s * 1000)))
    if not error.retry:
        answer.headers["x-should-retry"] = "false"
    return answer


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number[:40]} is larger than numbers can be")
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
