"""The text of a PowerPoint presentation: slide by slide in the order in which they are shown, each with its notes."""

from __future__ import annotations

from agentrunner.retrieval.documents import Document, Limits, Unreadable

from .building import Builder
from .package import Attributes, Package


def parse(data: bytes, limits: Limits) -> Document:
    package = Package(data, limits)
    main = package.main()
    slides = _slides(package, main)
    if not slides:
        raise Unreadable("has no slides, or is not a presentation; look at it and give it its own ending")
    if len(slides) > limits.max_pages:
        raise Unreadable(f"has {len(slides):,} slides, more than the {limits.max_pages:,} that are read; split it")
    builder = Builder(limits.max_chars)
    for number, part in enumerate(slides, 1):
        lines = _lines(package, part)
        for relation in package.relations(part):
            if relation.type == "notesSlide" and (notes := _lines(package, relation.target, notes=True)):
                lines += ["", "Notes:", *notes]
        builder.block("\n".join(lines), "slide", number)
    return builder.document("pptx")


def _slides(package: Package, main: str) -> list[str]:
    targets = {relation.id: relation.target for relation in package.relations(main) if relation.type == "slide"}
    shown: list[str] = []

    def start(tag: str, attributes: Attributes) -> None:
        if tag == "sldId" and (target := targets.get(attributes.get("r:id", ""))):
            shown.append(target)

    package.walk(main, start)
    return shown


def _lines(package: Package, part: str, *, notes: bool = False) -> list[str]:
    """The paragraphs of a slide, a row of a table being one. Of a page of notes not the number of the slide."""
    lines: list[str] = []
    words: list[str] = []
    cells: list[str] = []
    inside = field = rows = 0

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal inside, field, rows
        inside += tag == "t"
        field += tag == "fld"
        rows += tag == "tr"
        if tag == "tc":
            cells.append("")
        elif tag == "br":
            words.append(" ")

    def end(tag: str) -> None:
        nonlocal inside, field, rows
        inside -= tag == "t"
        field -= tag == "fld"
        rows -= tag == "tr"
        if tag == "p":
            line = " ".join("".join(words).split())
            words.clear()
            if rows and cells:
                cells[-1] = f"{cells[-1]} {line}".strip()
            elif line:
                lines.append(line)
        elif tag == "tr":
            lines.append(" | ".join(filter(None, cells)))
            cells.clear()

    def text(piece: str) -> None:
        if inside and not (notes and field):
            words.append(piece)

    package.walk(part, start, end, text)
    return lines
