"""From the bytes of a web page to text that is worth reading. It fetches nothing and trusts nothing in the page."""

from __future__ import annotations

import logging
import re
from importlib import import_module
from typing import Any, NamedTuple

from agentrunner.tools.net import Page

SHORT = 200  # characters: less than this from a page of some size means that the extractor found no article
_AS_IT_IS = ("text/plain", "text/markdown", "text/csv", "text/x-", "application/json", "application/xml", "text/xml",
             "application/yaml", "application/javascript", "text/javascript", "application/x-ndjson")  # fmt: skip
_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.I)


class Text(NamedTuple):
    title: str
    body: str


def readable(page: Page) -> Text | None:
    """Title and text of the page; None for a type that has no text to read."""
    kind = page.content_type.partition(";")[0].strip().lower()
    if not kind:
        kind = "text/html" if page.body.lstrip()[:1] == b"<" else "text/plain"
    if kind in ("text/html", "application/xhtml+xml"):
        return _from_html(page)
    if kind.startswith(_AS_IT_IS) or kind.endswith(("+json", "+xml")):
        return Text("", _decoded(page))
    return None


def _decoded(page: Page, sample: str = "") -> str:
    """The text of the body; `sample` is where else its charset may be declared."""
    declared = _CHARSET.search(page.content_type) or _CHARSET.search(sample)
    for encoding in (declared[1] if declared else "utf-8", "utf-8", "cp1252"):
        try:
            return page.body.decode(encoding)
        except (LookupError, UnicodeDecodeError):
            continue
    return page.body.decode("utf-8", "replace")


def _from_html(page: Page) -> Text:
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it warns of every page that is no article
    source = _decoded(page, page.body[:2_048].decode("latin-1"))  # where HTML wants its meta charset to stand
    tree = _parsed(source)
    if tree is None:
        return Text("", source)
    title = " ".join((tree.findtext(".//title") or "").split())
    body = trafilatura.extract(
        tree, url=str(page.url), output_format="markdown", include_links=True, include_tables=True, fast=True
    )
    if body is None or len(body) < SHORT:
        whole = _visible(_parsed(source), str(page.url))
        body = whole if len(whole) > len(body or "") else body
    return Text(title, body or "")


def _parsed(source: str) -> Any:
    """The page as a tree, None when there is nothing in it that is a page."""
    etree: Any = import_module("lxml.etree")
    html: Any = import_module("lxml.html")
    try:
        return html.document_fromstring(source.encode("utf-8", "replace"), parser=html.HTMLParser(encoding="utf-8"))
    except (ValueError, etree.LxmlError):
        return None


def _visible(tree: Any, url: str) -> str:
    """All text that a browser would show, one line per block, with the targets of links."""
    etree: Any = import_module("lxml.etree")
    etree.strip_elements(tree, "script", "style", "noscript", "template", "svg", "head", etree.Comment, with_tail=False)
    tree.make_links_absolute(url, handle_failures="ignore")
    for link in tree.iter("a"):
        target = link.get("href", "")
        if target.startswith(("http://", "https://")) and (words := " ".join(link.text_content().split())):
            for child in list(link):
                link.remove(child)
            link.text = f"[{words}]({target})"
    for block in tree.iter("p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article"):
        block.tail = "\n" + (block.tail or "")
    lines = (" ".join(line.split()) for line in str(tree.text_content()).split("\n"))
    return "\n".join(line for line in lines if line)
