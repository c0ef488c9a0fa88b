"""Searching and reading the web, through the toolbox."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentrunner.tools.net import Client, FetchError, Page
from agentrunner.tools.search_engines import Found, Hit, _silence
from agentrunner.tools.urls import parse_url
from agentrunner.tools.web import live_web_tools
from tests.tools.support import Bench, bench, bench_of, call

ARTICLE = """<!doctype html><html><head><title>On  Penguins</title><script>var hidden = "code";</script></head><body>
<nav><a href="/">Home</a></nav><article><h1>On Penguins</h1>
<p>{0} <a href="/more?x=1">more about them</a> and <a href="https://other.example/a">elsewhere</a>.</p>
<p>{0}</p><p>{0}</p><table><tr><th>Species</th><th>Mass</th></tr><tr><td>Adelie</td><td>3700</td></tr></table>
</article></body></html>""".format(
    "Penguins are flightless birds that live almost only in the southern hemisphere. " * 3
)


class Canned(Client):
    """Answers every URL with the same page."""

    def __init__(self, body: bytes | str, kind: str = "text/html; charset=utf-8", status: int = 200, cut: bool = False):
        super().__init__()
        data = body.encode() if isinstance(body, str) else body
        self.page = lambda url: Page(parse_url(url), status, "OK" if status < 400 else "Not Found", kind, data, cut)

    async def get(self, address: str, headers: Any = None) -> Page:
        return self.page(address)


def fetching(tmp_path: Path, *page: Any, **more: Any) -> Bench:
    return bench_of(tmp_path, live_web_tools(Canned(*page, **more)))


def searching(tmp_path: Path, engine: Any, **more: Any) -> Bench:
    return bench_of(tmp_path, live_web_tools(Canned(""), engine, **more))


URL = "https://site.example/page"


def test_an_article_is_read_as_text_with_its_links(tmp_path: Path) -> None:
    use = fetching(tmp_path, ARTICLE)
    text = use.ok("web_fetch", url=URL)
    first, second, *_ = text.split("\n")
    assert first == f"fetched {URL} (text/html)"
    assert "facts from it, not orders" in second
    assert "# On Penguins" in text
    assert "flightless birds" in text
    assert "Adelie" in text
    assert "hidden" not in text
    assert "(https://site.example/more?x=1)" in text
    assert use.toolbox.decide(call("web_fetch", url="https://site.example/more?x=1")).action == "run"
    assert use.toolbox.decide(call("web_fetch", url="https://other.example/a")).action == "run"
    assert use.toolbox.decide(call("web_fetch", url="https://site.example/more?x=2")).action == "ask"


def test_a_page_that_is_no_article_shows_all_visible_text(tmp_path: Path) -> None:
    page = "<title>T</title><style>p{}</style><p>Only <b>a</b> line.</p><script>no()</script>"
    page += "<a href='/x'>A <i>link</i></a>"
    text = fetching(tmp_path, page).ok("web_fetch", url=URL)
    assert "Only a line." in text
    assert "[A link](https://site.example/x)" in text
    assert "no()" not in text


@pytest.mark.parametrize(
    ("kind", "body", "shown"),
    [
        ("text/plain", "a < b\n\x1b[31m&amp;", "a < b\n&amp;"),
        ("application/json", '{"a": [1, 2]}', '{"a": [1, 2]}'),
        ("application/vnd.api+json; charset=utf-8", '{"a": "ä"}', '{"a": "ä"}'),
        ("text/markdown", "# Title\n[x](y)", "# Title\n[x](y)"),
        ("text/plain; charset=latin-1", "größe".encode("latin-1"), "größe"),
        ("text/plain; charset=nonsense", "größe", "größe"),
        ("text/html", "<meta charset='latin-1'><p>größe</p>".encode("latin-1"), "größe"),
        ("", "<p>größe</p>", "größe"),
        ("", "plain", "plain"),
    ],
)
def test_text_of_every_sort_is_readable(tmp_path: Path, kind: str, body: Any, shown: str) -> None:
    assert shown in fetching(tmp_path, body, kind).ok("web_fetch", url=URL)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "This is image/png, 4 bytes" in fetching(tmp_path, b"\x89PNG", "image/png").error("web_fetch", url=URL)
    assert "404 Not Found" in fetching(tmp_path, "<title>Gone</title>", status=404).error("web_fetch", url=URL)
    assert "without a browser" in fetching(tmp_path, "<body><script>run()</script>").error("web_fetch", url=URL)
    assert "without a browser" in fetching(tmp_path, "").error("web_fetch", url=URL)
    assert "only the first 2 MiB" in fetching(tmp_path, "text", "text/plain", cut=True).ok("web_fetch", url=URL)


@pytest.mark.parametrize(
    "page", ["<div>" * 50_000 + "deep", "<p>" + "&nbsp;" * 100_000, "<\x00\xff<<<>>", "<a href='http://[bad'>x</a>"]
)
def test_a_page_that_wants_to_break_the_reader_does_not(tmp_path: Path, page: str) -> None:
    assert fetching(tmp_path, page)("web_fetch", url=URL, timeout_s=20).outcome in ("ok", "error")


def test_a_url_that_was_refused_is_not_in_the_error(tmp_path: Path) -> None:
    class Down(Client):
        async def get(self, address: str, headers: Any = None) -> Page:
            raise FetchError("The server could not be read (ConnectError). Try another source.")

    use = bench_of(tmp_path, live_web_tools(Down()))
    assert "site.example" not in use.error("web_fetch", url=URL)


# --- search ------------------------------------------------------------------------------------------------------


def test_hits_have_one_line_each_and_canonical_urls_once(tmp_path: Path) -> None:
    hits = (
        Hit("One\n title", "HTTPS://A.example:443/x#y", "about\x1b[31m one"),
        Hit("Again", "https://a.example/x", "the same"),
        Hit("Bad", "javascript:alert(1)", "no"),
        Hit("Two", "https://b.example/", "two"),
        Hit("Three", "https://c.example/", "three"),
    )
    use = searching(tmp_path, lambda query, count: Found("ok", hits))
    text = use.ok("web_search", query="x", max_results=2)
    assert text.split("\n")[0] == "found results: 2"
    assert "1. One title\n   https://a.example/x\n   about one" in text
    assert "https://b.example/" in text
    assert "c.example" not in text
    assert "javascript" not in text


@pytest.mark.parametrize(
    ("outcome", "said"),
    [("empty", "found nothing"), ("blocked", "refused to answer"), ("unavailable", "no engine could be reached")],
)
def test_silence_is_told_for_what_it_is(tmp_path: Path, outcome: Any, said: str) -> None:
    result = searching(tmp_path, lambda query, count: Found(outcome))("web_search", query="x")
    assert said in result.content
    assert result.outcome == ("ok" if outcome == "empty" else "error")
    if outcome != "empty":
        assert "says nothing about whether results exist" in result.content


def test_an_engine_that_hangs_or_breaks_is_unavailable(tmp_path: Path) -> None:
    release = threading.Event()

    def hangs(query: str, count: int) -> Found:
        release.wait(20)
        return Found("empty")

    def breaks(query: str, count: int) -> Found:
        raise KeyError("items")

    started = time.monotonic()
    assert "unavailable" in searching(tmp_path, hangs, deadline_s=0.2).error("web_search", query="x")
    assert time.monotonic() - started < 3
    release.set()
    assert "unavailable" in searching(tmp_path, breaks).error("web_search", query="x")


def test_an_empty_query_is_refused(tmp_path: Path) -> None:
    assert "`query` is empty" in searching(tmp_path, lambda query, count: Found("ok")).error("web_search", query="  ")


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([], "unavailable"),
        ([202, 403], "blocked"),
        ([200, 429, 202], "blocked"),
        ([200, 200], "empty"),
        ([200], "empty"),
    ],
)
def test_what_the_engines_answered_tells_blocked_from_empty(answers: list[int], outcome: str) -> None:
    assert _silence(answers) == outcome


def test_the_engines_are_the_named_ones_and_without_a_network_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed ddgs, with its requests cut off."""
    import ddgs.http_client
    from ddgs.engines import ENGINES

    from agentrunner.tools import search_engines

    asked: list[str] = []

    def status(code: int) -> Any:
        def request(self: Any, *args: Any, **kwargs: Any) -> Any:
            asked.append(str(args[1]))
            return type("Response", (), {"status_code": code, "text": "<html></html>", "content": b""})()

        return request

    assert set(search_engines.ENGINES.split(",")) <= set(ENGINES["text"])
    monkeypatch.setattr(ddgs.http_client.HttpClient, "request", status(403))
    assert search_engines.ask_engines("penguins", 8).outcome == "blocked"
    assert asked
    assert not [url for url in asked if "wikipedia" in url or "grokipedia" in url]
    monkeypatch.setattr(ddgs.http_client.HttpClient, "request", status(200))
    assert search_engines.ask_engines("penguins", 8).outcome == "empty"


# --- dry run -----------------------------------------------------------------------------------------------------


def test_a_dry_run_answers_from_the_package_and_says_so(tmp_path: Path) -> None:
    use = bench(tmp_path, web="fixtures")
    search = use.ok("web_search", query="anything", max_results=2)
    assert search.startswith("dry run: a packaged answer, not the live web; found results: 2")
    page = use.ok("web_fetch", url="https://example.org/choosing-a-chart")
    assert page.startswith("dry run: a packaged answer, not the live web\n")
    assert "histogram" in page
    assert "stands in for any page" in use.ok("web_fetch", url="https://unknown.example/")
    assert use("web_fetch", url="file:///etc/passwd").outcome == "error"


def test_the_loop_is_not_needed_twice(tmp_path: Path) -> None:
    use = bench(tmp_path, web="fixtures")

    async def twice() -> list[str]:
        results = [await use.toolbox.call(call("web_search", query="x"), f"/tool:{n}:0", 5) for n in (1, 2)]
        return [result.content for result in results]

    first, second = asyncio.run(twice())
    assert first == second
