"""Code in colour, for previews and approvals. The text comes cleaned; nothing in it is executed or read as markup."""

from __future__ import annotations

from pygments.token import Comment, Keyword, Name, Number, Operator, String
from rich.console import Group, RenderableType
from rich.style import Style
from rich.syntax import ANSISyntaxTheme, Syntax
from rich.text import Text

from agentrunner.render.common import more_lines

MAX_COLOURED_CHARS = 20_000
"""Colouring is linear for sane code only; more than a person reads is not worth the risk."""

THEME = ANSISyntaxTheme(
    {
        Comment: Style(dim=True, italic=True),
        Keyword: Style(color="blue"),
        Name.Builtin: Style(color="cyan"),
        Number: Style(color="magenta"),
        Operator.Word: Style(color="blue"),
        String: Style(color="green"),
    }
)
"""The terminal's own colours, few of them."""


def code(text: str, language: str, lines: int, *, numbered: bool = False) -> RenderableType:
    """The first lines of code. Numbered, they wrap, so that nothing of a line is out of sight; otherwise they are
    cropped."""
    source = text.strip("\n").split("\n")
    shown, hidden = (source, 0) if len(source) <= lines + 1 else (source[:lines], len(source) - lines)
    body = "\n".join(shown)
    if len(body) > MAX_COLOURED_CHARS:
        language = "text"
    syntax = Syntax(body, language, theme=THEME, line_numbers=numbered, word_wrap=numbered)
    if not hidden:
        return syntax
    note = f"{more_lines(hidden)} are not shown" if numbered else more_lines(hidden)
    return Group(syntax, Text(note, style="bold red" if numbered else "dim"))
