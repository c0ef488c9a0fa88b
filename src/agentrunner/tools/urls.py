"""URLs as values: one strict reading for policy, search and fetch alike. It resolves and fetches nothing.

A URL that two programs could read differently (backslashes, user names, odd spellings of an address) is refused
rather than guessed, because the check and the connection must mean the same host."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from itertools import islice
from urllib.parse import quote, urlsplit

LONGEST_URL = 2_000  # characters; what common servers and browsers take
MOST_URLS = 5_000  # per text: a page of links has hundreds; the rest would only cost time
_TRAILING = ".,;:!?*_~"
_SAFE = "/%:@!$&'()*+,;=~-._?"
_LABELS = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_IN_TEXT = re.compile(r"https?://[^\s<>\"'`\\{}|^]{1,2000}", re.I)
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa")
_PORTS = {"http": 80, "https": 443}


class UrlError(Exception):
    """Not a URL that may be fetched. The text is an instruction to the model, and never repeats the URL as such."""


@dataclass(frozen=True, slots=True)
class Url:
    """A checked http(s) URL. `host` is lower-case ASCII (IPv6 without brackets); `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def authority(self) -> str:
        """As in the Host header: without the scheme's own port."""
        return self.netloc(self.host)

    def netloc(self, host: str) -> str:
        shown = f"[{host}]" if ":" in host else host
        return shown if self.port == _PORTS[self.scheme] else f"{shown}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The address, when the host is one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def parse_url(text: str) -> Url:
    """The URL, canonical: scheme and host in lower case, no fragment, no default port, at least "/" as path.
    Raises `UrlError`."""
    text = text.strip(" \t\r\n")
    if len(text) > LONGEST_URL:
        raise UrlError(f"The URL is {len(text)} characters long; use one of at most {LONGEST_URL}.")
    if "\\" in text or not text.isprintable() or any(character.isspace() for character in text):
        raise UrlError("The URL contains a backslash, a space or a control character; give it without.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UrlError("The URL cannot be read; give one like https://host/path.") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.netloc:
        raise UrlError("Only http:// and https:// URLs can be fetched; give the whole URL, like https://host/path.")
    if "@" in parts.netloc:
        raise UrlError("The URL has a user name in it; give it without what stands before the '@'.")
    if port == 0:
        raise UrlError("The URL's port must be 1 to 65535.")
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return Url(scheme, _host(parts.netloc, parts.hostname or ""), port or _PORTS[scheme], target)


def _host(netloc: str, host: str) -> str:
    if netloc.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host)) if "%" not in host else _refuse_host("an IPv6 address with a zone")
        except ValueError:
            return _refuse_host("not an IPv6 address")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return _refuse_host("not a name")
    host = host.lower().rstrip(".")
    if not _LABELS.fullmatch(host):
        return _refuse_host("not a name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))  # takes four decimal numbers only: no hex, octal, short forms
        except ValueError:
            return _refuse_host("a number in an unusual form")
    if any(host == name or host.endswith("." + name) for name in _LOCAL_NAMES):
        return _refuse_host("a name of this machine or its network")
    return host


def _refuse_host(why: str) -> str:
    raise UrlError(f"The URL's host is {why}; only public hosts can be fetched, by name or in the usual form.")


def urls_in(text: str) -> set[str]:
    """Canonical form of every URL that stands in a text, with and without the punctuation that may follow it there."""
    found: set[str] = set()
    for match in islice(_IN_TEXT.finditer(text), MOST_URLS):
        raw = match.group()
        closings = [index for index, character in enumerate(raw) if character in ")]"]
        # The first brackets may close Markdown's [text](url); a URL with more of them is known by its full form only.
        for candidate in {
            raw,
            raw.rstrip(_TRAILING),
            raw.rstrip(_TRAILING + ")]"),
            *(raw[:end] for end in closings[:2]),
        }:
            try:
                found.add(str(parse_url(candidate)))
            except UrlError:
                continue
    return found
