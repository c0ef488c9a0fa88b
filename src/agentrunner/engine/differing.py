"""How a request differs from the one in the journal, in words for a person. It decides nothing."""

import difflib
import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentrunner.types import JSON, Ask, Event, Image, Message, Session, ToolSpec

CONTEXT_LINES = 1
"""Around a change, so that its place is found."""
MAX_LINES = 24
"""Of one diff; what is cut off is counted."""
MAX_LINE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing that is not as it was. `step` is None where no step is concerned; `details` are lines."""

    step: int | None
    label: str
    what: str
    details: tuple[str, ...] = ()


class Recorded:
    """The conversations of the journal, put together again from what each request added, stubbed or folded."""

    def __init__(self, past: Sequence[Event]) -> None:
        self._events: dict[tuple[str, str], Event] = {}
        self._changes: dict[str, list[JSON]] = defaultdict(list)
        self._talks: dict[str, list[Message]] = defaultdict(list)
        fresh: set[str] = set()
        for event in past:
            self._events[event.key, event.type] = event
            if event.type == "session.claimed":
                fresh = set()
            elif event.type == "request.sent":
                # A later attempt sends the request anew; what an earlier one had added is part of that.
                if event.key not in fresh:
                    fresh.add(event.key)
                    self._changes[event.key] = []
                self._changes[event.key] += event.data["_changes"]

    def read(self, key: str, talk: str) -> list[Message]:
        """The messages of the request at `key`. Called once for each request of a conversation, in order."""
        messages = self._talks[talk]
        for change in self._changes.get(key, ()):
            if "add" in change:
                messages.append(self._message(change["add"]))
            elif "stub" in change:
                index, text = int(change["stub"][0]), str(change["stub"][1])
                old = messages[index]
                messages[index] = Message(old.role, text, call_id=old.call_id, name=old.name)
            elif "fold" in change:
                first, last, text = int(change["fold"][0]), int(change["fold"][1]), str(change["fold"][2])
                messages[first : last + 1] = [Message("user", text)]
        return messages

    def _message(self, added: JSON) -> Message:
        reference = str(added.get("ref", ""))
        if not reference:
            images = tuple(Image(**image) for image in added.get("images", ()))
            return Message(added["role"], added["content"], raw=added.get("raw"), images=images)
        if (answer := self._events.get((reference, "completion.received"))) is not None:
            return Message("assistant", answer.data["text"], raw=answer.data["_message"])
        data = self._events[reference, "tool.finished"].data
        return Message("tool", data["content"], call_id=data["call_id"], name=data["name"])


def compare(
    sent: Event, ask: Ask, messages: Sequence[Message], then: Session, now: Session, *, other_tools: bool
) -> Difference:
    """The difference between a request of the journal, with its messages, and the one that would be made now."""
    step, label = sent.data["step"], str(sent.data["label"])
    if label != ask.label:
        return Difference(step, label, f"its label was {label!r} and is {ask.label!r} now")
    details: list[str] = []
    what: list[str] = []
    for number, (old, new) in enumerate(_pairs(messages, ask.conversation.messages), 1):
        if _same(old, new):
            continue
        total = max(len(messages), len(ask.conversation.messages))
        what.append(f"message {number} of {total} ({_who(new or old)}) {_how(old, new)}")
        details += differing_lines(_text(old), _text(new))
        break
    if other_tools:
        name, how, lines = _first_tool(then.tools, ask.tools)
        what.append(f"the tool {name!r} {how}" if name else "its tools are other ones")
        details += lines
    if not what:
        what.append("the journal does not hold what was sent, or its answer had another schema")
    prompts = changed(then.prompts, now.prompts)
    if prompts:
        details.insert(0, "prompts that read otherwise than when the session was made: " + ", ".join(prompts))
    return Difference(step, label, "; ".join(what), tuple(details))


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of prompts that were there already and read otherwise now, or are gone."""
    return [name for name in sorted(then) if then[name] != now.get(name)]


def other_tool(then: Sequence[ToolSpec], now: Sequence[ToolSpec]) -> str:
    """The first tool that is not there any more, new, or takes other arguments; empty when there is none. Descriptions
    are wording."""
    names = [spec.name for spec in now]
    for spec in then:
        if spec.name not in names:
            return f"{spec.name!r} is not there any more"
    known = {spec.name: spec for spec in then}
    for spec in now:
        if spec.name not in known:
            return f"{spec.name!r} is new"
        if _arguments(known[spec.name]) != _arguments(spec):
            return f"{spec.name!r} takes other arguments"
    return "" if names == list(known) else "they are in another order"


def _arguments(spec: ToolSpec) -> list[str]:
    return sorted(spec.parameters.get("properties", {}))


def _first_tool(then: Sequence[ToolSpec], now: Sequence[ToolSpec]) -> tuple[str, str, list[str]]:
    known = {spec.name: spec for spec in now}
    for old in then:
        new = known.pop(old.name, None)
        if new is None:
            return old.name, "is not there any more", []
        if old.description != new.description:
            return old.name, "is described otherwise", differing_lines(old.description, new.description)
        if old.parameters != new.parameters:
            return old.name, "takes other arguments", differing_lines(_pretty(old.parameters), _pretty(new.parameters))
    return (next(iter(known)), "is new", []) if known else ("", "", [])


def _pairs(old: Sequence[Message], new: Sequence[Message]) -> list[tuple[Message | None, Message | None]]:
    longest = max(len(old), len(new))
    return [(old[i] if i < len(old) else None, new[i] if i < len(new) else None) for i in range(longest)]


def _same(old: Message | None, new: Message | None) -> bool:
    return (
        old is not None
        and new is not None
        and (old.role, old.content, old.raw, old.call_id, old.name)
        == (new.role, new.content, new.raw, new.call_id, new.name)
    )


def _who(message: Message | None) -> str:
    return "" if message is None else f"{message.role} {message.name}".strip()


def _how(old: Message | None, new: Message | None) -> str:
    if old is None:
        return "is new"
    return "is not there any more" if new is None else "reads otherwise"


def _text(message: Message | None) -> str:
    if message is None:
        return ""
    return message.content if message.raw is None else _pretty(message.raw)


def _pretty(value: JSON) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def differing_lines(old: str, new: str) -> list[str]:
    """A short diff of two texts; long lines are cut around the place where they part."""
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=CONTEXT_LINES))[2:]
    shown = [_cut(line, _parts_at(lines, number)) for number, line in enumerate(lines[:MAX_LINES])]
    return shown + ([f"… {len(lines) - MAX_LINES} more lines"] if len(lines) > MAX_LINES else [])


def _parts_at(lines: Sequence[str], number: int) -> int:
    """Where this line of a diff parts from the one that it replaces, or is replaced by."""
    line = lines[number]
    if line[0] == "-":
        near = [other for other in lines[number + 1 :] if other[0] == "+"]
    else:
        near = [other for other in lines[:number][::-1] if other[0] == "-"]
    other = near[0] if near else ""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(line[1:], other[1:], strict=False))
    return sum(1 for _ in same)


def _cut(line: str, parts_at: int) -> str:
    if len(line) <= MAX_LINE_CHARS:
        return line
    start = max(1, 1 + parts_at - MAX_LINE_CHARS // 4)  # the same in both lines, so that they can be compared
    end = start + MAX_LINE_CHARS
    return line[0] + ("…" if start > 1 else "") + line[start:end] + ("…" if end < len(line) else "")
