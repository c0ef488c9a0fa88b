"""What the parts of a session look like in a terminal: values in, Rich renderables out. Prints nothing, keeps no state.

Foreign text goes in as `Text`, cleaned; it is never read as markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from agentrunner.render.common import (
    clip_lines,
    compact_json,
    duration,
    limits_text,
    listing,
    mapping,
    more_lines,
    one_line,
    safe,
    size,
)
from agentrunner.render.layout import Heading, clipped, facts_table, indented, nested
from agentrunner.render.outcome import ArtifactLine, artifact_lines, numbers_text, outcome_words, resume_commands
from agentrunner.render.progress import Call, Plan, PlanItem, PlanNews, Progress

GOAL_LINES = 6
CODE_LINES = 8
RESULT_LINES = 8
ANSWER_PREVIEW_LINES = 3
QUESTION_LINES = 40
APPROVAL_LINES = 400
"""A person must see what is approved: only what no one would read to its end is cut, and the cut is shown loudly."""
MAX_FACT_CHARS = 300
TONE_STYLES = {"good": "bold green", "bad": "bold red", "waiting": "bold yellow"}
SANDBOX_STYLES = {"FULL": "green", "PARTIAL": "bold yellow", "NONE": "bold red"}
LIST_LABELS = ("criteria", "create", "prioritise", "verify")
"""Requests whose answer is a change of the list of tasks."""
CODE_ARGUMENTS = {"python": ("code", "python"), "shell": ("command", "bash")}


def header(progress: Progress) -> RenderableType:
    """Goal and limits, once at the top."""
    facts = progress.facts
    clip = clip_lines(safe(facts.get("goal")), GOAL_LINES)
    goal = Text("\n".join(clip.head), style="bold")
    if clip.hidden:
        goal.append(f"\n{more_lines(clip.hidden)}", style="dim")
    model = Text(one_line(facts.get("model"), 80)).append(f" · {one_line(facts.get('strategy'), 40)}", style="dim")
    if facts.get("dry_run"):
        model.append(" · dry run: no model is asked, nothing is spent", style="yellow")
    rows: list[tuple[str, RenderableType]] = [("model", model), ("limits", Text(limits_text(progress.budget)))]
    rows.append(("workspace", Text(home_relative(safe(facts.get("workspace"))))))
    if files := [one_line(name, 80) for name in listing(facts.get("files"))]:
        rows.append(("files", Text(", ".join(files))))
    rows += sandbox_rows(facts)
    rows.append(("session", Text(one_line(progress.session_id, 80))))
    return Group(Heading(Text("agent", style="bold")), Padding(goal, (0, 0, 1, 2)), facts_table(rows))


def sandbox_rows(facts: Mapping[str, Any]) -> list[tuple[str, RenderableType]]:
    sandbox = facts.get("sandbox")
    level = one_line(mapping(sandbox).get("level") or sandbox, MAX_FACT_CHARS)
    words = level.split(maxsplit=1)
    style = SANDBOX_STYLES.get(words[0].strip(":,").upper() if words else "", "")
    rows: list[tuple[str, RenderableType]] = [("sandbox", Text(level, style=style))]
    rows += [("", Text(one_line(note, MAX_FACT_CHARS), style="dim")) for note in listing(facts.get("notes"))]
    return rows


def step_heading(step: int | None, total: int | None, label: str, branch: str) -> RenderableType:
    title = Text()
    if step is None:
        title.append("wrapping up", style="bold")
    else:
        title.append(f"step {step}", style="bold").append("" if total is None else f"/{total}", style="dim")
    if label not in ("", "step", "wrap_up"):
        title.append(f" · {one_line(label, 40)}", style="dim")
    if step is not None and branch.strip("/"):
        title.append(f" · {one_line(branch.strip('/'), 40)}", style="dim")
    return Group(Text(""), Heading(title))


def deliberation(data: Mapping[str, Any], plan: Plan, news: PlanNews) -> RenderableType | None:
    """Thought, reasoning, plan and criticism of one answer; None when it has none."""
    thoughts = mapping(data.get("thoughts"))
    rows: list[tuple[str, RenderableType]] = []
    for name, key, style in (("thought", "text", ""), ("reasoning", "reasoning", "dim")):
        if text := clipped(thoughts.get(key), RESULT_LINES, style):
            rows.append((name, text))
    if news.shown_differently:
        rows.append(("plan", checklist(plan.items)))
    if news.reply is not None:
        words = "the plan was changed as asked" if news.reply else "the plan was not changed, though asked for"
        rows.append(("", Text(words, style="green" if news.reply else "yellow")))
    if criticism := clipped(thoughts.get("criticism"), RESULT_LINES):
        if thoughts.get("revise"):
            criticism.append(" → revises the plan", style="yellow")
        rows.append(("criticism", criticism))
    rows += _said(data)
    return facts_table(rows) if rows else None


def _said(data: Mapping[str, Any]) -> list[tuple[str, RenderableType]]:
    """Text beside the calls; without calls its beginning, since it comes again as the answer. Not the wire's JSON, nor
    that of a list, whose changes are told apart."""
    calls = listing(data.get("tool_calls"))
    text = clipped(data.get("text"), RESULT_LINES if calls else ANSWER_PREVIEW_LINES)
    wire = (calls or data.get("label") in LIST_LABELS) and text.plain.startswith(("{", "```"))
    return [("says", text)] if text and not wire else []


def checklist(items: Sequence[PlanItem]) -> Text:
    text = Text()
    for number, item in enumerate(items):
        text.append("\n" if number else "")
        text.append("✓ " if item.done else "○ ", style="green" if item.done else "dim")
        text.append(one_line(item.text, MAX_FACT_CHARS), style="dim" if item.done else "")
    return text


def call_block(call: Call) -> RenderableType:
    """A command as it starts: its name, and the first lines of its code or its arguments."""
    title = Text().append("▸ ", style="cyan").append(one_line(call.name, 60), style="bold")
    if call.name in CODE_ARGUMENTS:
        argument, language = CODE_ARGUMENTS[call.name]
        return Group(indented(title), nested(_code(safe(call.arguments.get(argument)), language, CODE_LINES)))
    title.append("  ").append(arguments_line(call), style="dim")
    title.no_wrap, title.overflow = True, "ellipsis"
    return indented(title)


def _code(text: str, language: str, lines: int, *, numbered: bool = False) -> RenderableType:
    from agentrunner.render.code import code  # brings pygments, which no session needs before its first command

    return code(text, language, lines, numbered=numbered)


def arguments_line(call: Call) -> str:
    """The arguments on one line. The answer of `finish` is left out: it is shown as the result."""
    shown = {key: value for key, value in call.arguments.items() if (call.name, key) != ("finish", "answer")}
    parts = [f"{key}={value if isinstance(value, str) else compact_json(value)}" for key, value in shown.items()]
    return ", ".join(one_line(part, 120) for part in parts)


def approval(question: str, call: Call | None) -> RenderableType:
    """What a person is asked to allow: the question, and the whole call."""
    asked = clipped(question, QUESTION_LINES, "bold")
    parts: list[RenderableType] = [Text("")]
    parts.append(indented(Text().append("? ", style="bold yellow").append_text(asked)))
    if call is None:
        return Group(*parts)
    parts.append(indented(Text().append("▸ ", style="cyan").append(one_line(call.name, 60), style="bold")))
    for key, value in call.arguments.items():
        text = safe(value if isinstance(value, str) else compact_json(value))
        name = Text(overflow="fold").append(one_line(key, 60), style="dim")
        argument, language = CODE_ARGUMENTS.get(call.name, ("", "text"))
        if key != argument and "\n" not in text:
            parts.append(nested(name.append("  ").append(text)))
            continue
        parts.append(nested(name))
        parts.append(nested(_code(text, language if key == argument else "text", APPROVAL_LINES, numbered=True)))
    return Group(*parts)


def result_block(data: Mapping[str, Any], *, named: bool) -> RenderableType:
    """How a command came out, the first lines of what it said, and the files it made. Errors show their end."""
    outcome = str(data.get("outcome"))
    mark, style = {"ok": ("✓", "green"), "denied": ("⊘", "yellow"), "unknown": ("?", "bold yellow")}.get(
        outcome, ("✗", "red")
    )
    title = Text(no_wrap=True, overflow="ellipsis").append(f"{mark} ", style=style)
    if named:
        title.append(f"{one_line(data.get('name'), 60)} ", style="bold")
    if outcome != "ok":
        title.append(f"{one_line(outcome, 20)} ", style=style)
    title.append(duration(float(data.get("seconds") or 0.0)), style="dim")
    head, tail = (RESULT_LINES, 0) if outcome != "error" else (2, RESULT_LINES - 2)
    clip = clip_lines(safe(data.get("content")), head, tail)
    lines = [*clip.head, *([more_lines(clip.hidden)] if clip.hidden else []), *clip.tail]
    if cut := int(data.get("truncated_chars") or 0):
        lines.append(f"… {cut:,} characters were cut for the model")
    text_style = "" if outcome == "error" else "dim"
    made = [nested(artifact_text(line)) for line in artifact_lines(data.get("artifacts"))]
    if len(lines) == 1:
        return Group(indented(title.append(f"  {lines[0]}", style=text_style)), *made)
    body = Text("\n".join(lines), style=text_style, no_wrap=True, overflow="ellipsis")
    return Group(indented(title), nested(body), *made)


def artifact_text(line: ArtifactLine) -> Text:
    text = Text().append("+ ", style="green").append(line.path, style="bold")
    return text if line.bytes is None else text.append(f"  {size(line.bytes)}", style="dim")


def verdict_block(data: Mapping[str, Any]) -> RenderableType:
    words = {"nudge": "guard, a nudge", "replan": "guard, plan again", "stop": "guard, stop"}
    action = str(data.get("action"))
    text = Text().append(f"! {words.get(action, 'guard')}: ", style="bold yellow")
    text.append(one_line(data.get("reason"), MAX_FACT_CHARS), style="yellow")
    evidence = ", ".join(str(step) for step in listing(data.get("evidence"))[:10])
    text.append(f" ({one_line(data.get('rule'), 60)}{f'; steps {evidence}' if evidence else ''})", style="dim")
    return indented(text)


def final_heading(data: Mapping[str, Any]) -> RenderableType:
    words = outcome_words(data)
    title = Text(f"{words.mark} {words.words}", style=TONE_STYLES[words.tone])
    return Group(Text(""), Heading(title))


def final_footer(session_id: str, data: Mapping[str, Any], progress: Progress) -> RenderableType:
    """Questions left open, files, numbers, and how to go on."""
    rows: list[tuple[str, RenderableType]] = []
    if data.get("message") and data.get("reason") != "goal_met":
        rows.append(("why", clipped(data["message"], RESULT_LINES)))
    for item in map(mapping, listing(data.get("pending"))):
        rows.append(("pending", Text(one_line(item.get("question"), MAX_FACT_CHARS), style="yellow")))
    made = artifact_lines(data.get("artifacts"), str(progress.facts.get("workspace") or ""))
    for number, line in enumerate(made):
        value = Text(line.path).append("" if line.bytes is None else f"  {size(line.bytes)}", style="dim")
        rows.append(("" if number else "files", value))
    rows.append(("cost", Text(numbers_text(data, progress.budget))))
    rows.append(("session", Text(one_line(session_id, 80))))
    for number, command in enumerate(resume_commands(session_id, data, progress.facts.get("strategy"))):
        rows.append(("" if number else "go on", Text(command, style="cyan")))
    return facts_table(rows)


def home_relative(path: str) -> str:
    """A path as it is, or with `~` for the home directory."""
    home = str(Path.home())
    return f"~{path[len(home) :]}" if home != "/" and path.startswith(f"{home}/") else path
