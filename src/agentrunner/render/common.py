"""Words for numbers, and safe, bounded pieces of foreign text. Knows nothing of events or terminals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from agentrunner.sanitise import clean

TAB_COLUMNS = 4
MAX_LINE_CHARS = 400
"""Five rows of 80 columns: a longer line is data (a base64 blob, minified code), not something to read."""


class Clip(NamedTuple):
    """Lines cut out of a text: `head`, then `hidden` lines that are not shown, then `tail`."""

    head: list[str]
    hidden: int
    tail: list[str]


def safe(value: object) -> str:
    """Foreign text, fit for a terminal: no control, escape or direction characters; tabs are spaces."""
    return clean("" if value is None else str(value)).expandtabs(TAB_COLUMNS)


def one_line(value: object, max_chars: int) -> str:
    """Foreign text on one line: runs of white space are one space, and what is too long ends with an ellipsis."""
    text = " ".join(safe(str(value)[: 20 * max_chars] if isinstance(value, str) else value).split())
    return text if len(text) <= max_chars else text[: max(0, max_chars - 1)] + "…"


def clip_lines(text: str, head: int, tail: int = 0) -> Clip:
    """The first `head` and last `tail` lines of cleaned text. A single line is never hidden: the note takes as much."""
    lines = [clip_line(line) for line in text.strip("\n").split("\n")]
    if len(lines) <= head + tail + 1:
        return Clip(lines, 0, [])
    return Clip(lines[:head], len(lines) - head - tail, lines[len(lines) - tail :] if tail else [])


def clip_line(line: str) -> str:
    """A line of at most `MAX_LINE_CHARS` characters, which says how much is missing."""
    line = line.rstrip()
    if len(line) <= MAX_LINE_CHARS:
        return line
    return f"{line[:MAX_LINE_CHARS]}… {len(line) - MAX_LINE_CHARS:,} more characters"


def more_lines(hidden: int) -> str:
    return f"… {hidden:,} more lines"


def compact_json(value: object) -> str:
    """A JSON value on one line; anything else in Python's words."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), default=repr)


def money(usd: float) -> str:
    """US dollars: cents when that says it, four decimals below ten cents, because steps cost fractions of a cent."""
    if 0 < usd < 0.0001:
        return "<$0.0001"
    whole_cents = abs(usd * 100 - round(usd * 100)) < 0.005
    return f"${usd:.2f}" if usd >= 0.1 or whole_cents else f"${usd:.4f}"


def tokens_text(count: int) -> str:
    if count < 1000:
        return f"{count} tokens"
    if count < 1_000_000:
        return f"{count / 1000:.1f}k tokens"
    return f"{count / 1_000_000:.1f}M tokens"


def duration(seconds: float) -> str:
    """Time in words: "20 ms", "0.3 s", "41 s", "3 min 5 s", "2 h 10 min"."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def stopwatch(seconds: float) -> str:
    """Time as "0:41", "1:02:03": keeps its width while it counts."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: int) -> str:
    """Bytes in the unit a file listing would use (1 KB = 1024 bytes)."""
    if count < 1024:
        return f"{count} B"
    amount = count / 1024
    for unit in ("KB", "MB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"


def limits_text(budget: Mapping[str, Any]) -> str:
    """All limits of a session on one line: "50 steps · $1.00 · 30 min"."""
    steps, usd, tokens, seconds = (budget.get(key) for key in ("steps", "usd", "tokens", "seconds"))
    parts = ["no step limit" if steps is None else f"{steps} steps"]
    parts.append("no cost limit" if usd is None else money(usd))
    if tokens is not None:
        parts.append(tokens_text(tokens))
    parts.append("no time limit" if seconds is None else duration(seconds))
    return " · ".join(parts)


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object from an event, or an empty one where an older journal has something else."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def listing(value: object) -> Sequence[Any]:
    """A JSON array from an event, or an empty one."""
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
