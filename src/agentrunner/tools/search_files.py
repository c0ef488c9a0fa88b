"""Searching the text of files by regular expression, in a child process that is killed when the expression takes too
long: Python's `re` cannot be stopped from inside, and `(a+)+$` would run for years."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentrunner.sandbox.paths import MAX_DEPTH, PathError, Root
from agentrunner.tools.files import SKIPPED
from agentrunner.tools.sniff import what_it_is
from agentrunner.tools.typed import Context, Tool, ToolError, tool
from agentrunner.tools.workspace import Workspace

DEADLINE_S = 8.0
MAX_PATTERN = 1_000  # characters
MAX_FILES = 2_000
FILE_BYTES = 4 << 20
TOTAL_BYTES = 64 << 20
MAX_HITS = 200  # some 15 KB of lines
_CHILD = Path(__file__).with_name("_search_child.py")


def search_tool(workspace: Workspace) -> Tool:
    """The tool, on one workspace."""

    @tool(effect="pure")
    def search_files(pattern: str, context: Context, path: str = ".") -> str:
        """Search files for a regular expression."""
        if not pattern or len(pattern) > MAX_PATTERN:
            raise ToolError(
                f"`pattern` must have 1 to {MAX_PATTERN} characters. Call search_files again with a shorter one."
            )
        root, rel = workspace.readable(path)
        found = _search(pattern, root, list(_files(root, rel)), min(DEADLINE_S, context.timeout_s))
        hits: list[tuple[str, int, str]] = found["hits"]  # path, line number, line
        skipped = f" (files not searched, too large or too many: {found['left']})" if found["left"] else ""
        if not hits:
            return f"no line matches in {path} (files searched: {found['files']}){skipped}"
        more = f"; only the first {MAX_HITS} are shown" if found["more"] else ""
        lines = [f"{workspace.shown(root, name)}:{number}: {line}" for name, number, line in hits]
        return "\n".join([f"matching lines in {path}: {len(hits)}{more}{skipped}", *lines])

    return search_files


def _files(root: Root, rel: str) -> Iterator[str]:
    """The files below a folder, or the one that is named."""
    with suppress(PathError):  # a folder, or nothing: the listing says which
        root.size(rel)
        yield rel
        return
    waiting = [rel]
    while waiting:
        for entry in root.entries(waiting.pop(0), max_depth=1):
            if entry.kind == "file":
                yield entry.path
            elif entry.kind == "dir" and _is_entered(entry.path):
                waiting.append(entry.path)


def _is_entered(folder: str) -> bool:
    """Not those that are no work of the user's, nor deeper than a listing goes."""
    return folder.rpartition("/")[2] not in SKIPPED and folder.count("/") < MAX_DEPTH


def _search(pattern: str, root: Root, files: list[str], timeout_s: float) -> dict[str, Any]:
    """What the child found: {"hits", "more", "files", "left"}. Raises `ToolError`."""
    texts: list[tuple[str, bytes]] = []
    room, left = TOTAL_BYTES, max(len(files) - MAX_FILES, 0)
    for name in files[:MAX_FILES]:
        try:
            if root.size(name) > min(FILE_BYTES, room):
                left += 1
                continue
            data = root.read(name)
        except PathError:  # gone meanwhile, or kept from models
            continue
        if what_it_is(data[:8_192]).encoding:
            texts.append((name, data))
            room -= len(data)
    header = {"pattern": pattern, "max_hits": MAX_HITS, "files": [[name, len(data)] for name, data in texts]}
    sent = b"\n".join([json.dumps(header).encode(), b"".join(data for _, data in texts)])
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_CHILD)], input=sent, capture_output=True, timeout=timeout_s, env={}
        )
    except subprocess.TimeoutExpired:
        raise ToolError(
            f"The expression took longer than {timeout_s:g} s. Use a simpler one, without a repetition in a repetition."
        ) from None
    if done.returncode:
        raise ToolError("The search failed. Use a simpler expression, or fewer files with `path`.")
    answer = json.loads(done.stdout)
    if "problem" in answer:
        raise ToolError(
            f"`pattern` is not a regular expression: {answer['problem']}. To find a character like ( [ * as it is, "
            "put a backslash before it."
        )
    return {**answer, "files": len(texts), "left": left}
