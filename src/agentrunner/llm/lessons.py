"""What an endpoint's refusal teaches about it: which fields of a request it wants otherwise. Pure.

A refused request is not billed, so it may be sent again at once in another form. Each lesson is learned once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentrunner.errors import ModelError

Learned = dict[str, str]
"""protocol: "json". cap: the field of the output cap, and cap_max: its largest value. stream: "plain" without
stream_options, "off" without streaming. schema: "object" or "none". include: "none" where reasoning cannot be had.
roles: "merged" where they must alternate. Safe to store and to give back later."""

MIN_OUTPUT_TOKENS = 256
"""An answer shorter than this is of no use; below it, the prompt is too long and has to be compacted."""
ROOM_MARGIN_TOKENS = 32
"""Kept free beside prompt and answer: endpoints count their own template differently."""

_NO_TOOLS = re.compile(
    r"(?:tools?\b|tool[_ ](?:choice|use|calls?|calling)|functions?\b|function[_ ]call(?:s|ing)?)", re.IGNORECASE
)
_REFUSAL = re.compile(
    r"not support|unsupported|not allowed|not permitted|not available|not enabled|unknown|unrecogni[sz]ed|unexpected"
    r"|extra (?:fields|inputs)|requires|invalid (?:parameter|argument|field)|additional propert|no endpoints found"
    r"|cannot be used|isn't supported|must not|disabled",
    re.IGNORECASE,
)
_ALTERNATE = re.compile(r"roles?\b.{0,40}\balternat|unexpected role 'user'|after role '?tool|expected last role", re.I)
_CAP_MAX = re.compile(r"(?:at most|maximum (?:value )?(?:is|of)|less than or equal to|<=)\s*`?(\d{2,9})", re.IGNORECASE)
_WINDOW = re.compile(r"maximum context length (?:is|of) (\d+)", re.IGNORECASE)
_PROMPT = re.compile(
    r"(?:has|with|contains?) (?:at least )?(\d+) (?:input|prompt) tokens|\((\d+) in the messages", re.IGNORECASE
)
_REQUESTED = re.compile(r"requested (\d+) tokens.*?(\d+) in the completion", re.IGNORECASE)


def lesson(error: ModelError, sent: Mapping[str, str], learned: Mapping[str, str]) -> Learned | None:
    """What to change before it is sent again, None when the refusal stands. `sent` names the optional parts of the
    refused request: cap (the field), protocol (if it may still change), stream, schema."""
    said = error.message
    no_tools = sent.get("protocol") == "auto" and _NO_TOOLS.search(said) and _REFUSAL.search(said)
    if error.status in (400, 422, 500) and "roles" not in learned and _ALTERNATE.search(said):
        return {"roles": "merged"}
    if error.status in (500, 501) and no_tools:
        # llama.cpp without its template engine; it refuses before it generates anything.
        return {"protocol": "json"}
    if error.status not in (400, 404, 422) or error.kind not in ("refused", "overflow"):
        return None
    other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}.get(sent["cap"], sent["cap"])
    if error.kind == "refused":
        named = re.search(rf"\b{sent['cap']}\b", said) and (other in said or _REFUSAL.search(said))
        if named and other != sent["cap"] and "cap" not in learned and not _CAP_MAX.search(said):
            return {"cap": other}
        if "stream_options" in said and sent.get("stream") == "options":
            return {"stream": "plain"}
        if re.search(r"(?i)encrypted[ _]content|'include'", said) and "include" not in learned:
            return {"include": "none"}
        if re.search(r"response_format|json_schema|json_object|structured output|text\.format", said, re.IGNORECASE):
            narrower = {"schema": "object", "object": "none"}.get(sent.get("schema", ""))
            return {"schema": narrower} if narrower else None
        if re.search(r"\bstream(?:ing)?\b", said, re.IGNORECASE) and sent.get("stream") and _REFUSAL.search(said):
            return {"stream": "off"}
        if no_tools:
            return {"protocol": "json"}
    largest = _CAP_MAX.search(said) if re.search(r"max_\w*tokens|completion tokens|output tokens", said) else None
    if largest and "cap_max" not in learned and int(largest[1]) >= MIN_OUTPUT_TOKENS:
        return {"cap_max": largest[1]}
    return None


def room(error: ModelError, cap: int) -> int | None:
    """The cap that would still fit beside this prompt, for endpoints that refuse prompt and cap together being longer
    than their window. None when it is not about that, or too little is left."""
    window = _WINDOW.search(error.message)
    if error.kind != "overflow" or window is None:
        return None
    if requested := _REQUESTED.search(error.message):
        prompt = int(requested[1]) - int(requested[2])
    elif counted := _PROMPT.search(error.message):
        prompt = int(counted[1] or counted[2])
    else:
        return None
    left = int(window[1]) - prompt - ROOM_MARGIN_TOKENS
    return left if MIN_OUTPUT_TOKENS <= left < cap else None
