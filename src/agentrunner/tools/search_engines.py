"""One question to several web search engines through ddgs, with a deadline and an outcome that says what happened.

ddgs reports a blocked request, a changed page and no hits with the same words, so the answers of the engines are
watched while it works: silence about being refused must not be told to a model as "nothing exists"."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any, Literal, NamedTuple

ENGINES = "duckduckgo,brave,mojeek,startpage,yahoo"
"""Named, because ddgs' own choice begins with encyclopedias, one of them written by a model."""
DEADLINE_S = 30.0  # in all; an engine's own timeout counts per request and they run in several rounds
REQUEST_S = 8


class Hit(NamedTuple):
    title: str
    url: str
    snippet: str


class Found(NamedTuple):
    """`outcome` "empty" means that engines answered and had nothing; the other two that nothing is known."""

    outcome: Literal["ok", "empty", "blocked", "unavailable"]
    hits: tuple[Hit, ...] = ()


def ask_engines(query: str, max_results: int) -> Found:
    """Blocks for up to a minute; call it in a thread."""
    ddgs: Any = import_module("ddgs")
    exceptions: Any = import_module("ddgs.exceptions")

    logging.getLogger("ddgs").setLevel(logging.CRITICAL)  # what it has to say is said by the outcome
    answered: list[int] = []
    search = ddgs.DDGS(timeout=REQUEST_S)
    _watch(search, answered)
    try:
        found = search.text(query, max_results=max_results, backend=ENGINES)
    except exceptions.DDGSException:
        return Found(_silence(answered))
    return Found("ok", tuple(Hit(str(hit["title"]), str(hit["href"]), str(hit["body"])) for hit in found))


def _watch(search: Any, answered: list[int]) -> None:
    """Note the HTTP status of every answer. ddgs keeps it nowhere; without its engines' client this notes nothing, and
    silence then counts as unavailable."""
    engines = getattr(search, "_get_engines", None)
    for engine in engines("text", ENGINES) if engines else ():  # kept by the search object, so they are the ones used
        client = engine.http_client
        send = client.request

        def request(*args: Any, send: Any = send, **kwargs: Any) -> Any:
            response = send(*args, **kwargs)
            answered.append(response.status_code)
            return response

        client.request = request


def _silence(answered: list[int]) -> Literal["empty", "blocked", "unavailable"]:
    if not answered:
        return "unavailable"
    # A 200 with no hits may still be a page that asks for a proof of being human; two of them agree on "nothing".
    return "empty" if answered.count(200) >= 2 or set(answered) == {200} else "blocked"
