"""The approval table as one pure function. It asks nobody and runs nothing.

It sees canonical names and checked arguments only, and compares URLs in their canonical form, never as typed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agentrunner.addresses import why_not_public
from agentrunner.sanitise import clean
from agentrunner.tools.urls import Url, UrlError, parse_url
from agentrunner.types import Decision, Effect

Mode = Literal["auto", "each", "deny", "yes"]

RUN = Decision("run")
NOBODY = (
    "Nobody is here to answer. Decide yourself: take the most sensible reading of the goal, go on, and say in your "
    "answer what you assumed."
)
_LONGEST_SHOWN = 4_000  # characters of one argument in a question: what is approved must be seen


@dataclass(frozen=True, slots=True)
class Policy:
    """`mode` is how `--approve` or `--yes` was given; `allow_net` lists hosts ("name" or "name:port")."""

    mode: Mode = "auto"
    allow_net: tuple[str, ...] = ()

    def decide(self, name: str, arguments: Mapping[str, Any], effect: Effect, known_urls: Collection[str]) -> Decision:
        """`known_urls` are the canonical URLs of the goal, of search results and of fetched pages."""
        alone = self.mode in ("yes", "deny")
        if name == "finish":
            return RUN
        if name == "ask_user":
            return Decision("answer", NOBODY) if alone else Decision("ask", str(arguments.get("question", "")), "input")
        if name == "web_fetch":
            return self._fetch(arguments, known_urls)
        if name == "web_search" and self.mode == "deny":
            return _no_web()
        if name.startswith("mcp__") and effect != "pure":
            return self._outside(name, arguments)
        return self._ask(name, arguments) if self.mode == "each" else RUN

    def _fetch(self, arguments: Mapping[str, Any], known_urls: Collection[str]) -> Decision:
        try:
            url = parse_url(str(arguments.get("url", "")))
        except UrlError as error:
            return Decision("reject", str(error))
        if url.address is not None and (why := why_not_public(url.address)):
            return Decision("reject", f"The URL's address is {why}; only public addresses can be fetched.")
        if str(url) in known_urls or self._named(url):
            if self.mode == "deny":
                return _no_web()
            return self._ask("web_fetch", {"url": str(url)}) if self.mode == "each" else RUN
        if self.mode in ("yes", "deny"):
            # The URL itself is not repeated: text that a model reads must not turn a composed URL into a known one.
            return Decision(
                "refuse",
                "web_fetch takes only URLs that stand word for word in the goal, in a search result or in a fetched "
                "page. This one does not, and nobody is here to allow it. Call web_search and fetch one of its hits.",
            )
        return Decision("ask", f"The agent composed this URL itself. Fetch {clean(str(url), keep='')} ?")

    def _named(self, url: Url) -> bool:
        return any(host.lower().rstrip(".") in (url.host, f"{url.host}:{url.port}") for host in self.allow_net)

    def _outside(self, name: str, arguments: Mapping[str, Any]) -> Decision:
        if self.mode == "yes":
            return RUN
        if self.mode == "deny":
            return Decision(
                "refuse", f"{name} may change something outside the workspace and is not allowed in this run."
            )
        return self._ask(name, arguments)

    def _ask(self, name: str, arguments: Mapping[str, Any]) -> Decision:
        return Decision("ask", f"Run {name}({described(arguments)}) ?")


def _no_web() -> Decision:
    return Decision("refuse", "The web is not allowed in this run. Work with the files of the workspace.")


def described(arguments: Mapping[str, Any]) -> str:
    """The arguments on one line for a person: nothing in them can command a terminal, long ones say how long they
    are."""
    shown: list[str] = []
    for name, value in arguments.items():
        text = clean(str(value), keep="") if not isinstance(value, str) else repr(clean(value))
        if len(text) > _LONGEST_SHOWN:
            text = f"{text[:_LONGEST_SHOWN]}... ({len(text)} characters)"
        shown.append(f"{name}={text}")
    return ", ".join(shown)
