"""What the tasks of a session found out, found again by words. It is a view on the session's events: nothing else is
stored, and after a resume the first search indexes the past.

What one search sees does not depend on how many tasks ran at a time: searches come between rounds, and what came since
the last one is indexed in the order of its keys.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentrunner.types import JSON, Event

if TYPE_CHECKING:
    from agentrunner.retrieval.index import Index
    from agentrunner.retrieval.passages import Chunk, Hit
    from agentrunner.tools import Tool

INNER = ("tasks", "recall")
"""Tools that strategies call and no model is told of."""
SILENT = (*INNER, "finish", "ask_user")
"""Tools whose results are nothing that was found out."""
RESULTS, OUTPUTS = "results", "outputs"
"""Stores: what tasks say they found, and what tools printed."""
RESULTS_SHARE = 0.6
"""Of what may be recalled, at most, for results: a task's own words are shorter, and the printed ones are the proof."""
PIECE_CHARS = 1_200
"""About 300 tokens: some of them fit into what is recalled, and each still says what it is about."""
LIMIT = 12
SHOWN_ARGUMENT_CHARS = 80


class Memory:
    def __init__(self, past: Sequence[Event]) -> None:
        self._index: Index | None = None
        self._new: dict[tuple[str, str], tuple[str, str]] = {}
        """By store and source, what is not indexed yet: title and text."""
        self._tasks: dict[str, JSON] = {}
        self._commands: dict[str, str] = {}
        for event in past:
            self.hear(event)

    def hear(self, event: Event) -> None:
        """A listener."""
        data = event.data
        if event.type == "tool.started" and data["name"] == "tasks":
            for row in data["arguments"].get("tasks", ()):
                self._tasks[row["id"]] = row
                if row["status"] == "done":
                    self._new[RESULTS, row["id"]] = (row["title"], row["result"])
        elif event.type == "tool.started" and data["branch"] != "/":
            self._commands[event.key] = _command(data["name"], data["arguments"])
        elif event.type == "tool.finished" and data["branch"] != "/":
            command = self._commands.pop(event.key, data["name"])
            if data["outcome"] == "ok" and data["name"] not in SILENT:
                self._new[OUTPUTS, event.key] = (command, data["content"])

    def tools(self) -> "list[Tool]":
        from agentrunner.tools import tool

        @tool(effect="pure")
        def recall(query: str, max_chars: int, printed: bool = False) -> str:
            """What earlier tasks found out about this."""
            return self.recall(query, max_chars, printed)

        @tool(effect="pure")
        def tasks(tasks: list[JSON], criteria: list[JSON] | None = None) -> str:
            """Write down what changed in the list."""
            count = [row["status"] for row in self._tasks.values()].count
            return f"{count('done')} done, {count('open') + count('running')} open, {count('set_aside')} set aside"

        return [recall, tasks]

    def recall(self, query: str, max_chars: int, printed: bool = False) -> str:
        """The passages that answer the query best, first those of results, unless only what tools `printed` is wanted;
        empty when there are none."""
        from agentrunner.retrieval.index import Index
        from agentrunner.retrieval.search import search

        self._index = self._index or Index()
        new, self._new = self._new, {}
        for (store, source), (title, text) in sorted(new.items(), key=lambda item: _natural(item[0][1])):
            self._index.put(store, source, _pieces(text), version="1", title=title, attributes={"title": title})
        said: list[str] = []
        for store, share in ((RESULTS, 0.0 if printed else RESULTS_SHARE), (OUTPUTS, 1.0)):
            for hit in search(self._index, query, stores=[store], limit=LIMIT):
                passage = _passage(hit)
                if sum(map(len, said)) + len(passage) <= max_chars * share:
                    said.append(passage)
        return "\n\n".join(said)


def _passage(hit: "Hit") -> str:
    task = hit.source.strip("/").partition("/")[0].partition("-")[0]
    return f"[{task}] {hit.attributes['title']}:\n{hit.chunk.text}"


def _pieces(text: str) -> "list[Chunk]":
    """The text in passages of whole lines, where lines are not longer than that."""
    from agentrunner.retrieval.passages import Chunk

    found: list[Chunk] = []
    start = 0
    while start < len(text):
        end = start + PIECE_CHARS
        if end < len(text):
            end = max(text.rfind("\n", start, end) + 1, 0) or end
        if text[start:end].strip():
            found.append(Chunk(text[start:end], start, end, ""))
        start = end
    return found


def _command(name: str, arguments: JSON) -> str:
    said = (f"{key}={str(value)[:SHOWN_ARGUMENT_CHARS]!r}" for key, value in sorted(arguments.items()))
    return f"{name}({', '.join(said)})"


def _natural(key: str) -> list[tuple[int, str]]:
    """Numbers in keys in the order of numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", key)]
