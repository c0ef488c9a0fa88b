"""Shapes that every part of the screen is made of: headings, two columns, indents, clipped text. No events."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from agentrunner.render.common import clip_lines, more_lines, safe

INDENT = (0, 0, 0, 2)
NESTED = (0, 0, 0, 4)


class Heading:
    """A title with a line through the whole width."""

    def __init__(self, title: Text) -> None:
        self._title = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text(no_wrap=True, overflow="ellipsis").append("── ", style="dim").append_text(self._title)
        line.truncate(options.max_width, overflow="ellipsis")
        yield line.append(f" {'─' * (options.max_width - line.cell_len - 1)}", style="dim")


class Trimmed:
    """A renderable without the blanks that fill its lines: a window made narrower would wrap them into empty rows."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._renderable, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                yield from line[:-1]
                yield Segment(line[-1].text.rstrip(), line[-1].style)
            yield Segment.line()


def facts_table(rows: Iterable[tuple[str, RenderableType]]) -> RenderableType:
    """Two columns: dim names, and values that wrap under themselves."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", width=9, no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), value)
    return Padding(table, INDENT)


def clipped(value: object, lines: int, style: str = "") -> Text:
    """Cleaned text of at most `lines` lines; empty (and false) when there is none."""
    text = safe(value).strip()
    if not text:
        return Text()
    clip = clip_lines(text, lines)
    shown = Text("\n".join(clip.head), style=style)
    if clip.hidden:
        shown.append(f"\n{more_lines(clip.hidden)}", style="dim")
    return shown


def indented(renderable: RenderableType) -> RenderableType:
    return Padding(renderable, INDENT)


def nested(renderable: RenderableType) -> RenderableType:
    return Padding(renderable, NESTED)
