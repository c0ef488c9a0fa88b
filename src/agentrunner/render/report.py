"""A session as one self-contained HTML file: no scripts, nothing loaded. It says only what the events say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from agentrunner.render.common import compact_json, duration, limits_text, listing, mapping, money, size, tokens_text
from agentrunner.render.outcome import note_text, numbers_text, outcome_words, resume_commands
from agentrunner.render.pictures import png_data_uri
from agentrunner.render.progress import Progress
from agentrunner.render.report_style import PAGE
from agentrunner.render.tasks import TaskList, is_own
from agentrunner.sanitise import clean
from agentrunner.types import Event

BAR_HEIGHT = 90
BAR_WIDTH = 640
"""In CSS pixels, half of the page: the chart shows where the money went, not the exact amounts."""


def html_report(events: Sequence[Event], artifacts_root: Path | None = None) -> str:
    """The whole page. With `artifacts_root` (the workspace), PNG pictures that are still as recorded are embedded."""
    progress = Progress()
    for event in events:
        progress.absorb(event)
    ends = [event.data for event in events if event.type == "session.finished"]
    finished: Mapping[str, Any] = ends[-1] if ends else {}
    parts = [_summary(progress, finished)]
    if finished.get("answer"):
        parts.append(f"<h2>Answer</h2><div class=answer>{text(finished['answer'])}</div>")
    parts.append(_artifacts(finished, artifacts_root))
    parts.append(_tasks(progress.tasks))
    parts.append(_cost_chart(events))
    parts.append("<h2>Steps</h2>")
    parts += _steps(events)
    goal = str(progress.facts.get("goal") or "session")
    return PAGE.substitute(title=text(goal[:80]), body="\n".join(part for part in parts if part))


def text(value: object) -> str:
    """Foreign text as HTML: cleaned, then escaped, quotes included."""
    return escape(clean("" if value is None else str(value)), quote=True)


def _summary(progress: Progress, finished: Mapping[str, Any]) -> str:
    facts = progress.facts
    rows = {
        "session": progress.session_id,
        "model": f"{facts.get('model')}, strategy {facts.get('strategy')}",
        "limits": limits_text(progress.budget),
        "workspace": facts.get("workspace"),
        "sandbox": mapping(facts.get("sandbox")).get("level") or facts.get("sandbox"),
        "notes": "\n".join(str(note) for note in listing(facts.get("notes"))),
    }
    outcome = "<p class=waiting>not finished</p>"
    if finished:
        words = outcome_words(finished)
        outcome = f"<p class={words.tone}>{text(words.mark)} {text(words.words)}</p>"
        rows["numbers"] = numbers_text(finished, progress.budget)
        rows["open"] = "\n".join(str(mapping(item).get("question")) for item in listing(finished.get("pending")))
        rows["go on"] = "\n".join(resume_commands(progress.session_id, finished, facts.get("strategy")))
    table = "".join(f"<tr><th>{name}</th><td>{text(value)}</td></tr>" for name, value in rows.items() if value)
    return f"<h1>{text(facts.get('goal'))}</h1>{outcome}<table>{table}</table>"


def _tasks(listed: TaskList) -> str:
    """The list of tasks, each with links to its steps."""
    rows: list[str] = []
    for task in sorted(listed.tasks.values(), key=lambda task: task.number):
        works = [work for _, work in listed.work_of(task)]
        steps = " ".join(f'<a href="#step-{number}">{number}</a>' for work in works for number in work.steps)
        tone = {"done": "good", "set_aside": "bad"}.get(task.status, "waiting")
        said = f"{text(task.title)}<br><small>{text(task.outcome)}</small>"
        cells = [
            f"<span class={tone}>{text(task.word)}</span>",
            str(task.priority or ""),
            text(" ".join(task.depends_on)),
        ]
        cells += [said, steps, money(sum(work.cost_usd for work in works))]
        rows.append(f"<tr><th>{text(task.id)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("", "status", "priority", "needs", "task", "steps", "cost"))
    criteria = "".join(
        f"<li class={'good' if one.met else 'waiting'}>{text(one.text)} ({'met' if one.met else 'open'})</li>"
        for one in listed.criteria
    )
    return f"<h2>Tasks</h2><ol>{criteria}</ol><table class=tasks><tr>{head}</tr>{''.join(rows)}</table>"


def _artifacts(data: Mapping[str, Any], root: Path | None) -> str:
    items: list[str] = []
    for entry in map(mapping, listing(data.get("artifacts"))):
        path = str(entry.get("path"))
        uri = png_data_uri(root, path, str(entry.get("sha256"))) if root is not None else None
        picture = f'<br><img alt="{text(path)}" src="{uri}">' if uri else ""
        items.append(f"<li><code>{text(path)}</code> {size(int(entry.get('bytes') or 0))}{picture}</li>")
    return f"<h2>Files</h2><ul>{''.join(items)}</ul>" if items else ""


def _cost_chart(events: Sequence[Event]) -> str:
    """Bars of what each answer cost; of its tokens when nothing cost anything."""
    answers = [event.data for event in events if event.type == "completion.received"]
    costs = [float(data.get("cost_usd") or 0.0) for data in answers]
    words = [money(cost) for cost in costs]
    title = "Cost per request"
    if not any(costs):
        usages = [mapping(data.get("usage")) for data in answers]
        costs = [float((use.get("input_tokens") or 0) + (use.get("output_tokens") or 0)) for use in usages]
        words, title = [tokens_text(int(cost)) for cost in costs], "Tokens per request"
    if not any(costs):
        return ""
    width = BAR_WIDTH / len(costs)
    bars: list[str] = []
    for number, (cost, word) in enumerate(zip(costs, words, strict=True)):
        height = max(1.0, BAR_HEIGHT * cost / max(costs))
        name = text(f"step {answers[number].get('step')}: {word}")
        bars.append(
            f'<rect x="{number * width:.1f}" y="{BAR_HEIGHT - height:.1f}" width="{width * 0.8:.1f}" '
            f'height="{height:.1f}"><title>{name}</title></rect>'
        )
    chart = f'<svg viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" role="img" aria-label="{title}">{"".join(bars)}</svg>'
    return f"<h2>{title}</h2>{chart}"


def _steps(events: Sequence[Event]) -> list[str]:
    """Every answer, call and notable event in order; each answer opens the section that the rest folds into."""
    sections: list[str] = []
    inside: list[str] = []
    arguments: dict[str, Mapping[str, Any]] = {}
    for event in events:
        data = event.data
        if is_own(event):
            continue
        if event.type == "completion.received":
            sections += _section(inside)
            inside = [_answer(data)]
            arguments |= {
                str(c.get("id")): mapping(c.get("arguments")) for c in map(mapping, listing(data.get("tool_calls")))
            }
        elif event.type == "tool.finished":
            inside.append(_call(data, arguments.pop(str(data.get("call_id")), {})))
        elif event.type == "guard.verdict":
            inside.append(f"<p class=waiting>guard, {text(data.get('action'))}: {text(data.get('reason'))}</p>")
        elif event.type in ("human.asked", "human.answered"):
            who, what = ("asked", "question") if event.type == "human.asked" else ("answered", "answer")
            inside.append(f"<p class=waiting>{who}: {text(data.get(what))}</p>")
        elif note := note_text(event.type, data):
            inside.append(f"<p class=note>{text(note)}</p>")
    return sections + _section(inside)


def _section(inside: list[str]) -> list[str]:
    return [f"<section>{''.join(inside)}</section>"] if inside else []


def _answer(data: Mapping[str, Any]) -> str:
    step, label = data.get("step"), str(data.get("label") or "")
    branch = str(data.get("branch") or "").strip("/")
    name = "wrapping up" if step is None else f"step {step}"
    extra = "".join(f" · {text(word)}" for word in (label if label not in ("step", "wrap_up") else "", branch) if word)
    usage = mapping(data.get("usage"))
    tokens = tokens_text(int(usage.get("input_tokens") or 0) + int(usage.get("output_tokens") or 0))
    took = duration(float(data.get("seconds") or 0.0))
    numbers = f"{money(float(data.get('cost_usd') or 0.0))} · {tokens} · {took}"
    anchor = "" if step is None else f' id="step-{text(step)}"'
    parts = [f"<h3{anchor}>{text(name)}{extra} <small>{text(numbers)}</small></h3>"]
    thoughts = mapping(data.get("thoughts"))
    if thoughts.get("text"):
        parts.append(f"<p>{text(thoughts['text'])}</p>")
    rows = [("reasoning", text(thoughts.get("reasoning"))), ("criticism", text(thoughts.get("criticism")))]
    plan = "".join(f"<li>{text(item)}</li>" for item in listing(thoughts.get("plan")))
    details = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows if value)
    details += f"<dt>plan</dt><dd><ol>{plan}</ol></dd>" if plan else ""
    if details:
        revises = " (revises the plan)" if thoughts.get("revise") else ""
        parts.append(f"<details><summary>deliberation{revises}</summary><dl>{details}</dl></details>")
    if data.get("text"):
        parts.append(f"<pre>{text(data['text'])}</pre>")
    return "".join(parts)


def _call(data: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    outcome = str(data.get("outcome"))
    tone = {"ok": "good", "error": "bad"}.get(outcome, "waiting")
    shown = "".join(
        f"<dt>{text(key)}</dt><dd><pre>{text(value if isinstance(value, str) else compact_json(value))}</pre></dd>"
        for key, value in arguments.items()
    )
    made = _artifacts(data, None).replace("<h2>Files</h2>", "")
    is_open = "" if outcome == "ok" else " open"
    return (
        f"<details{is_open}><summary><code>{text(data.get('name'))}</code> <span class={tone}>{text(outcome)}</span> "
        f"{duration(float(data.get('seconds') or 0.0))}</summary><dl>{shown}</dl>"
        f"<pre>{text(data.get('content'))}</pre></details>{made}"
    )
