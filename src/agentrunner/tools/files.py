"""File tools: read, write, append, edit, list, move, delete. Searching is in `search_files.py`; confinement is
`Root`'s."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice

from agentrunner.sandbox.paths import Entry, Root
from agentrunner.tools.output import lines_of
from agentrunner.tools.sniff import what_it_is
from agentrunner.tools.typed import Output, Tool, ToolError, tool
from agentrunner.tools.workspace import Workspace, text_parts

READ_BYTES = 15_000  # of one read_file; with its first and last line it stays under the cap of a result
COUNT_BYTES = 16 << 20  # files up to this size are read to the end so that the number of lines can be said
WRITE_BYTES = 8 << 20  # more than any model answers with; larger files are for code
EDIT_BYTES = 8 << 20
LIST_ENTRIES = 400  # about 15 KB
NEAR_LINES = 5_000  # comparing a line costs some 20 µs
SKIPPED = frozenset({".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".pytest_cache"})
"""Folders that are named in a listing but not entered: thousands of files that nobody asked about."""


def file_tools(workspace: Workspace) -> list[Tool]:
    """The seven tools, on one workspace."""
    root = workspace.root

    @tool(effect="pure")
    def read_file(path: str, offset: int = 0, limit: int = 2_000) -> Output:
        """Read a text file."""
        if offset < 0 or limit < 1:
            raise ToolError(
                "`offset` must be 0 or more and `limit` 1 or more. Call read_file again with that corrected."
            )
        place, rel = workspace.readable(path)
        return _read(place, rel, path, offset, limit)

    @tool(effect="idempotent")
    def write_file(path: str, content: str) -> str:
        """Write a file, replacing what was there."""
        data = _encoded(content)
        rel = workspace.writable(path)
        before = f" (it was {root.size(rel):,})" if root.exists(rel) else ""
        root.write(rel, data)
        return f"wrote {path}, {len(data):,} bytes{before}"

    @tool
    def append_file(path: str, content: str) -> str:
        """Append to a file."""
        data = _encoded(content)
        rel = workspace.writable(path)
        root.append(rel, data)
        return f"appended {len(data):,} bytes to {path}, now {root.size(rel):,} bytes"

    @tool
    def edit_file(path: str, old: str, new: str) -> str:
        """Replace one piece of text in a file."""
        return _edit(root, workspace.writable(path), path, old, new)

    @tool(effect="pure")
    def list_files(path: str = ".") -> str:
        """List the files below a folder."""
        place, rel = workspace.readable(path)
        return _listing(workspace, place, rel, path)

    @tool
    def move_file(source: str, destination: str) -> str:
        """Move or rename a file."""
        target = workspace.writable(destination)
        if root.exists(target):
            raise ToolError(
                f"{destination!r} exists already; nothing was moved. Delete it first or choose another name."
            )
        root.move(workspace.writable(source), target)
        return f"moved {source} to {destination}"

    @tool
    def delete_file(path: str) -> str:
        """Delete a file or folder."""
        root.delete(workspace.writable(path))
        return f"deleted {path}"

    return [read_file, write_file, append_file, edit_file, list_files, move_file, delete_file]


def _encoded(content: str) -> bytes:
    try:
        data = content.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ToolError(f"`content` has half of a surrogate pair at character {error.start}; leave it out.") from None
    if len(data) > WRITE_BYTES:
        raise ToolError(
            f"`content` is {len(data):,} bytes, more than {WRITE_BYTES:,}. Write the file with python instead."
        )
    return data


# --- read --------------------------------------------------------------------------------------------------------


def _read(root: Root, rel: str, path: str, offset: int, limit: int) -> Output:
    size = root.size(rel)
    kind = what_it_is(root.read(rel, offset=0, max_bytes=8_192))
    if not kind.encoding:
        return Output(f"{path} is {kind.words}, {size:,} bytes; read_file shows text only. Use python to work with it.")
    if size == 0:
        return Output(f"{path} is empty (0 bytes)")
    lines = lines_of(text_parts(root, rel, kind.encoding))
    skipped = sum(1 for _ in islice(lines, offset))
    shown, more = _page(lines, limit)
    if not shown:
        raise ToolError(f"{path} has only {skipped} lines; call read_file with an `offset` under {skipped}.")
    last = offset + len(shown)
    total = last + more + sum(1 for _ in lines) if size <= COUNT_BYTES else None
    note = f", {kind.words}" if kind.words else ""
    head = f"{path}, lines {offset + 1} to {last} of {total or 'many'} ({size:,} bytes{note})"
    parts = [head, *shown]
    if more:
        left = f"{total - last:,} more lines" if total else "more lines"
        parts.append(f'[{left}; to go on call read_file with path="{path}", offset={last}]')
    return Output("\n".join(parts))


def _page(lines: Iterator[str], limit: int) -> tuple[list[str], int]:
    """Lines up to the limit and the room, and 1 if one more was taken that did not fit."""
    shown: list[str] = []
    room = READ_BYTES
    for line in lines:
        room -= len(line.encode("utf-8", "replace")) + 1
        if len(shown) == limit or room < 0:
            return shown, 1
        shown.append(line)
    return shown, 0


# --- edit --------------------------------------------------------------------------------------------------------


def _edit(root: Root, rel: str, path: str, old: str, new: str) -> str:
    if not old:
        raise ToolError("`old` is empty. Give the text to replace, or call write_file to write the whole file.")
    if old == new:
        raise ToolError("`old` and `new` are the same; nothing to do. Give in `new` the text as it should be.")
    if root.size(rel) > EDIT_BYTES:
        raise ToolError(f"{path} is larger than {EDIT_BYTES:,} bytes. Change it with python instead.")
    try:
        text = root.read(rel, offset=0, max_bytes=EDIT_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise ToolError(f"{path} is not UTF-8 text. Change it with python instead.") from None
    if "\r\n" in text and "\r\n" not in old:
        # read_file shows every line end as a line feed, so the model cannot know of the carriage returns.
        old, new = old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
    count = text.count(old)
    if count != 1:
        raise ToolError(_missed(text, path, old) if count == 0 else _several(text, path, old, count))
    start = text.index(old)
    data = _encoded(text[:start] + new + text[start + len(old) :])
    root.write(rel, data)
    return f"edited {path} at line {text.count(chr(10), 0, start) + 1}, now {len(data):,} bytes"


def _several(text: str, path: str, old: str, count: int) -> str:
    places: list[str] = []
    start = text.find(old)
    while start >= 0 and len(places) < 10:
        places.append(str(text.count("\n", 0, start) + 1))
        start = text.find(old, start + 1)
    return (
        f"`old` stands {count} times in {path} (lines {', '.join(places)}); nothing was changed. "
        "Call edit_file again with more of the text around the right one."
    )


def _missed(text: str, path: str, old: str) -> str:
    lines = text.splitlines()
    wanted = next((line for line in old.splitlines() if line.strip()), "").strip()
    stripped = [line.strip()[:200] for line in lines[:NEAR_LINES]]
    hint = "Call read_file to see what the file says now."
    if wanted and (near := get_close_matches(wanted[:200], stripped, 1, 0.6)):
        number = stripped.index(near[0])
        hint = f"The nearest is line {number + 1}: {lines[number][:200]!r}. Copy the text exactly, with its spaces."
    return f"`old` does not stand in {path}; nothing was changed. {hint}"


# --- list --------------------------------------------------------------------------------------------------------


def _listing(workspace: Workspace, root: Root, rel: str, path: str) -> str:
    lines: list[str] = []
    waiting = [rel]
    while waiting and len(lines) <= LIST_ENTRIES:
        folder = waiting.pop(0)
        for entry in root.entries(folder, max_depth=1):
            lines.append(_line(entry, workspace.shown(root, entry.path)))
            if entry.kind == "dir" and entry.path.rpartition("/")[2] not in SKIPPED:
                waiting.append(entry.path)
    if not lines:
        return f"{path} is empty"
    if len(lines) > LIST_ENTRIES or waiting:
        note = f"[only the first {LIST_ENTRIES}; call list_files on one of the folders]"
        return "\n".join([f"entries in {path}: more than {LIST_ENTRIES}", *lines[:LIST_ENTRIES], note])
    return "\n".join([f"entries in {path}: {len(lines)}", *lines])


def _line(entry: Entry, path: str) -> str:
    name = entry.path.rpartition("/")[2]
    # A line break or a hidden character in a name would forge another entry; as JSON text it is seen.
    shown = path if path.isprintable() else json.dumps(path)
    if entry.kind == "dir":
        return f"{shown}/" + (" (not listed)" if name in SKIPPED else "")
    return f"{shown}  {entry.bytes:,} bytes" + ("" if entry.kind == "file" else f" ({entry.kind})")
