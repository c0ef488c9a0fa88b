"""What the rules see of one command: fingerprints of call and result, and what kind of result it was. Pure.

Results are compared as they are. Volatile text is masked only in errors, for the one rule that asks whether it is the
same error again; arguments are never masked, since masked digits would make sixty pages look like one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

from agentrunner.types import Step, Thoughts, ToolCall, ToolResult

ERROR_CHARS = 600
"""How much of the head and of the tail of an error is compared: the first line says what, the last one of a traceback
why, and what lies between may be long."""
TOKENS_FROM_CHARS = 4_000
"""How much of a result is searched for names of items: a long listing holds more than is worked on before the next."""
MAX_TOKENS = 400

_VOLATILE = re.compile(
    r"0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b|/tmp/\S+|\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*|\d+(?:\.\d+)?"
)
_COMMENT = re.compile(r"^[ \t]*#.*(?:\n|\Z)", re.MULTILINE)
_WAIT = re.compile(r"\bsleep[ (]+\d*\.?\d")
_TOKEN = re.compile(r"[\w.@/:-]{3,200}")
_EMPTY = re.compile(
    r"(?:exit code [01]|\[\]|\{\}|null|none"
    r"|(?:there (?:are|were) )?no (?:lines? )?(?:match(?:es)?|results?|files?|hits?)\b.*"
    r"|(?:found )?(?:results|matches|files)?:? ?0(?: (?:results|matches|files))?(?: found)?"
    r"|nothing (?:was )?found.*)\.?",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"\b(?:error|exception|traceback|fail(?:ed|ure)|not found|no such file|unknown command|denied|refused)\b",
    re.IGNORECASE,
)
_INVALID = re.compile(
    r"\b(?:no tool|unknown (?:tool|command|function)|(?:is|are|argument) (?:missing|required)|missing (?:required )?"
    r"arguments?|not valid json|invalid (?:json|arguments?))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Look:
    """One command and what came of it. Fingerprints are compared for equality only."""

    number: int
    """The step's display number; several commands of one answer share it."""
    key: str
    tool: str
    call: bytes
    result: bytes
    error: bytes = b""
    """Fingerprint of the error, volatile text masked; empty when it was none."""
    empty: bool = False
    invalid: bool = False
    """It was not run: unknown, unreadable, or not allowed."""
    waits: bool = False
    """It says itself that it waits before it looks."""
    state: str = ""
    """Hash of the workspace afterwards, where it was taken."""
    plan: bytes = b""
    """Fingerprint of plan and criticism; empty without them, which is no evidence."""
    names: tuple[str, ...] = ()
    """Names of things in the arguments: what a batch goes through."""
    listed: tuple[str, ...] = ()
    """Names of things in the result: what a batch could go through."""


def looks_of(step: Step) -> list[Look]:
    """One per command, in order; one without a tool for an answer that could not be read."""
    if step.completion is None:
        return []
    plan = plan_of(step.completion.thoughts)
    if not step.results:
        if step.error is None or step.error.kind == "overflow":
            return []
        said = mark(step.error.kind)
        return [Look(step.number, step.key, "", mark(step.completion.text), said, said, invalid=True, plan=plan)]
    pairs = zip(step.completion.calls, step.results, strict=False)
    return [_look(step, call, result, plan) for call, result in pairs]


def _look(step: Step, call: ToolCall, result: ToolResult, plan: bytes) -> Look:
    # The name under which a long result was saved differs each time; the result does not.
    content = result.content.replace(result.saved_as, "") if result.saved_as else result.content
    empty = is_empty(content)
    failed = result.outcome != "ok" and not empty
    return Look(
        step.number,
        step.key,
        call.name,
        fingerprint(call.name, call.arguments),
        mark(result.outcome, content),
        mark(call.name, masked(content)) if failed else b"",
        empty,
        not result.ran or result.outcome == "denied",
        waits(call.arguments),
        result.workspace,
        plan,
        names_of(call.arguments),
        () if failed else tokens(content),
    )


def look_of_trace(number: int, step: Mapping[str, Any]) -> Look:
    """The same of a recorded command, whose keys have been checked. What a recording does not say is read from the
    beginning of the observation."""
    text, tool, args = str(step["observation"]), str(step["tool"]), step["args"]
    empty = is_empty(text) and int(step.get("obs_len") or len(text)) <= len(text)
    known: bool | None = step.get("error")
    if known is None and step.get("exit_code") is not None:
        known = step["exit_code"] != 0
    failed = (bool(_FAILED.search(text[:160])) if known is None else known) and not empty
    whole: Any = step.get("args_sha") or args  # a hash stands for arguments that were cut in the recording
    thought: Any = step.get("thought")
    return Look(
        number,
        "",
        tool,
        fingerprint(tool, whole),
        mark(str(step.get("obs_sha") or text)),
        mark(tool, str(step.get("error_sha") or masked(text))) if failed else b"",
        empty,
        (failed and bool(_INVALID.search(text[:160]))) if step.get("ran") is None else not step["ran"],
        step.get("class") == "poll" or waits(args),
        str(step.get("workspace_sha") or ""),
        mark(" ".join(thought.lower().split())) if isinstance(thought, str) and thought.strip() else b"",
        names_of(args),
        () if failed else tuple(map(str, step.get("listed") or tokens(text))),
    )


def fingerprint(tool: str, arguments: object) -> bytes:
    """Of a call. The order of keys does not matter, nor do lines of code that are only a comment."""
    if isinstance(arguments, Mapping):
        fields = cast(Mapping[str, object], arguments)
        arguments = {key: _code(value) if key in ("code", "command") else value for key, value in fields.items()}
    return mark(tool, json.dumps(arguments, sort_keys=True, default=str))


def plan_of(thoughts: Thoughts | None) -> bytes:
    if thoughts is None or not (thoughts.plan or thoughts.criticism.strip()):
        return b""
    return mark(*(" ".join(text.lower().split()) for text in (*thoughts.plan, thoughts.criticism)))


def masked(text: str) -> str:
    """An error without what differs each time it happens: numbers, addresses, hashes, times, temporary paths."""
    if len(text) > 2 * ERROR_CHARS:
        text = text[:ERROR_CHARS] + text[-ERROR_CHARS:]
    return " ".join(_VOLATILE.sub("#", text).split())


def is_empty(text: str) -> bool:
    """Whether a result says nothing but that there is nothing."""
    text = text.strip()
    return not text or (len(text) <= 120 and _EMPTY.fullmatch(text) is not None)


def waits(arguments: object) -> bool:
    """Whether a command line or code waits by itself before it looks again."""
    if isinstance(arguments, Mapping):
        values = cast(Mapping[str, object], arguments).values()
        return any(isinstance(value, str) and _WAIT.search(value) for value in values)
    return isinstance(arguments, str) and _WAIT.search(arguments) is not None


def names_of(arguments: object) -> tuple[str, ...]:
    """Names in arguments: values that are one, and those in a command line. What an edit or a program quotes is not
    what it is about."""
    if not isinstance(arguments, Mapping):
        return tokens(arguments) if isinstance(arguments, str) else ()
    found: list[str] = []
    for key, value in cast(Mapping[str, object], arguments).items():
        if isinstance(value, str) and (key == "command" or _TOKEN.fullmatch(value)):
            found += tokens(value)
    return tuple(found)


def tokens(text: str) -> tuple[str, ...]:
    """Names of things: words with a dot, slash or digit in them, such as paths, hosts and numbered items."""
    found: list[str] = _TOKEN.findall(text[:TOKENS_FROM_CHARS])
    return tuple(word for word in found[:MAX_TOKENS] if not word.isalpha())


def mark(*parts: str) -> bytes:
    """A short fingerprint of some texts."""
    digest = blake2b(digest_size=12)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.digest()


def _code(value: object) -> object:
    return _COMMENT.sub("", value).strip() if isinstance(value, str) and "#" in value else value
