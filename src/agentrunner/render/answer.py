"""The answer on standard output: laid out as Markdown on a terminal, exactly its text anywhere else."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import Markdown
from rich.padding import Padding
from rich.segment import Segment
from rich.theme import Theme

from agentrunner.render.outcome import result_text
from agentrunner.render.stdout import is_utf8, write_text
from agentrunner.sanitise import clean
from agentrunner.types import Event

MAX_MARKDOWN_CHARS = 50_000
"""Longer answers are printed as they are: laying them out would take seconds."""


def print_answer(finished: Event, stdout: TextIO, *, styled: bool) -> None:
    """Print the answer; JSON, very long answers and `styled=False` as plain text."""
    answer = result_text(finished)
    if not styled or not is_utf8(stdout) or len(answer) > MAX_MARKDOWN_CHARS or answer.lstrip()[:1] in ("{", "["):
        write_text(stdout, answer)
        return
    # Rich puts code on black, which is a stain on a light terminal.
    theme = Theme({"markdown.code": "bold", "markdown.code_block": "none", "markdown.item.number": "dim"})
    console = Console(file=stdout, theme=theme, markup=False, highlight=False, emoji=False, legacy_windows=False)
    console.print(Padding(answer_markdown(answer), (0, 2)))


def answer_markdown(answer: str) -> RenderableType:
    """Cleaned text as Markdown whose line breaks stay and whose links are text."""
    return _CleanSegments(Markdown(_hard_breaks(clean(answer)), hyperlinks=False, code_theme="ansi_dark"))


def _hard_breaks(text: str) -> str:
    lines: list[str] = []
    fenced = False
    for line in text.split("\n"):
        fence = line.lstrip().startswith(("```", "~~~"))
        lines.append(line if fenced or fence or not line.strip() else f"{line}  ")
        fenced ^= fence
    return "\n".join(lines)


class _CleanSegments:
    """A renderable, cleaned once more after layout: Markdown turns `&#x202e;` into the character itself."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            if segment.control is None:
                yield Segment(clean(segment.text), segment.style)
