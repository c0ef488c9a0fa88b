"""The connection to one endpoint: bytes out, JSON or a stream of JSON back, every failure a `ModelError`.

Plain HTTP with a body that is serialised already; an SDK would validate every message again on every call, and takes
longer to import than everything else together. One call is one request; retries are the engine's business.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
import threading
import urllib.request
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from agentrunner import __version__
from agentrunner.errors import ModelError, UsageError
from agentrunner.llm import failures
from agentrunner.llm.lenient import loads
from agentrunner.llm.streams import StreamError, events
from agentrunner.types import JSON

if TYPE_CHECKING:
    import httpx2

OPENAI_URL = "https://api.openai.com/v1"
Stream = AsyncIterator[JSON | None] | JSON
AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
MAX_CONNECTIONS = 1000
"""At once; as many as branches of a session may ask side by side."""
CONNECT_TIMEOUT_S = 15.0
"""A listening endpoint accepts within a second; this leaves room for a slow network, and for DNS."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go. `azure`: a path with the deployment in it, and the key in a header of its own."""

    base_url: str
    azure: bool
    api_version: str = ""

    @property
    def openai(self) -> bool:
        """OpenAI itself, or Azure under either kind of path: these take the newer names of fields."""
        host = urlsplit(self.base_url).hostname or ""
        return self.azure or host == "api.openai.com" or host.endswith((".api.openai.com", *AZURE_HOSTS))


def target_of(
    base_url: str | None, azure: bool | None, api_version: str | None, deployment: str, default_version: str
) -> Target:
    """None for `azure` means: look at the host, or at whether there is an `api_version`. Azure's dated API has the
    name of the `deployment` in its path, or nothing where that is empty."""
    url = (base_url or OPENAI_URL).rstrip("/")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UsageError(f"the base URL {url!r} is not one", "it begins with http:// or https:// and a host")
    path = urlsplit(url).path
    if azure is None:
        host = urlsplit(url).hostname or ""
        azure = (api_version is not None or host.endswith(AZURE_HOSTS)) and not path.endswith("/v1")
    if not azure:
        return Target(url, azure=False)
    url = url if "/openai" in path else f"{url}/openai"
    if deployment and "/deployments/" not in path:
        url += f"/deployments/{quote(deployment, safe='')}"
    return Target(url, azure=True, api_version=api_version or default_version)


class Connection:
    """Made at first use, since importing what it needs takes a while. Belongs to one event loop."""

    def __init__(self, target: Target, api_key: str | None) -> None:
        self.target = target
        self._key = (api_key or "").strip() or None
        if self._key is not None and not (self._key.isascii() and self._key.isprintable()):
            raise UsageError("the API key holds characters that no key has", "copy it again, without quotes or blanks")
        self._http: httpx2.AsyncClient | httpx2.AsyncHTTPTransport | None = None
        self._addresses: dict[str, httpx2.URL] = {}
        self._headers: list[tuple[str, str]] = []
        self._opening = threading.Lock()

    def warm(self) -> None:
        """Import it in a thread, so that it is there when the first request is ready."""
        threading.Thread(target=self._open, name="http import", daemon=True).start()

    async def post(self, path: str, body: bytes, timeout_s: float) -> JSON:
        """The JSON object of the answer."""
        async with self._answer(path, body, timeout_s, stream=False) as response:
            return self._object(response)

    @asynccontextmanager
    async def stream(self, path: str, body: bytes, timeout_s: float) -> AsyncGenerator[Stream]:
        """The events of a streamed answer, with None for [DONE]; or the whole answer, from an endpoint that sends it in
        one piece though a stream was asked for."""
        async with self._answer(path, body, timeout_s, stream=True) as response:
            if "json" in response.headers.get("content-type", ""):
                await response.aread()
                yield self._object(response)
            elif "html" in response.headers.get("content-type", ""):
                await response.aread()
                raise failures.not_an_answer(response.status_code, response.text, self._url(path), self._key)
            else:
                yield events(response.aiter_bytes())

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    @asynccontextmanager
    async def _answer(self, path: str, body: bytes, timeout_s: float, stream: bool) -> AsyncGenerator[httpx2.Response]:
        http = self._http or await asyncio.to_thread(self._open)
        import httpx2

        response: httpx2.Response | None = None
        try:
            async with asyncio.timeout(timeout_s):
                response = await _send(http, self._request(path, body, timeout_s))
                if not stream or not response.is_success:
                    await response.aread()
                if not response.is_success:
                    raise failures.from_answer(response.status_code, response.headers, response.text, self._key)
                yield response
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, TimeoutError) as error:
            raise self._lost(error, timeout_s) from error
        except StreamError as error:
            raise ModelError(str(error), "unknown") from error
        finally:
            if response is not None:
                await response.aclose()

    def _request(self, path: str, body: bytes, timeout_s: float) -> httpx2.Request:
        import httpx2

        url = self._addresses.get(path)
        if url is None:
            url = self._addresses[path] = httpx2.URL(address(self.target, path))
        return httpx2.Request(
            "POST",
            url,
            headers=[("Host", url.netloc.decode("ascii")), *self._headers, ("Content-Length", str(len(body)))],
            stream=httpx2.ByteStream(body),
            # For all the rest there is one timeout, around the whole.
            extensions={"timeout": {"connect": min(timeout_s, CONNECT_TIMEOUT_S), "pool": timeout_s}},
        )

    def _open(self) -> httpx2.AsyncClient | httpx2.AsyncHTTPTransport:
        with self._opening:
            if self._http is None:
                import httpx2

                self._headers = headers(self.target, self._key, os.environ)
                limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=100)
                if urllib.request.getproxies():
                    self._http = httpx2.AsyncClient(verify=_trusting(), limits=limits)
                else:
                    # What lies around the transport is for proxies, redirects and cookies: a third of the time.
                    plain = urlsplit(self.target.base_url).scheme == "http"
                    context = _trusting_nobody() if plain else _trusting()
                    self._http = httpx2.AsyncHTTPTransport(verify=context, limits=limits)
            return self._http

    def _object(self, response: httpx2.Response) -> JSON:
        try:
            data: object = loads(response.content.decode("utf-8", "replace"))
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise failures.not_an_answer(response.status_code, response.text, str(response.url), self._key)
        return cast("JSON", data)

    def _url(self, path: str) -> str:
        return self.target.base_url + path

    def _lost(self, cause: BaseException, timeout_s: float) -> ModelError:
        import httpx2

        url = self.target.base_url
        said = failures.one_line(str(cause), self._key)
        if isinstance(cause, httpx2.UnsupportedProtocol | httpx2.InvalidURL | httpx2.LocalProtocolError):
            return ModelError(f"the base URL {url!r} cannot be used: {said}", "refused")
        if _caused_by(cause, ssl.SSLCertVerificationError):
            return ModelError(f"the certificate of {url} is not trusted: {said}", "refused")
        if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | socket.gaierror):
            # Nothing was sent, so nothing was billed.
            return ModelError(f"no connection to {url}: {said or 'timed out'}", "busy")
        if isinstance(cause, httpx2.TimeoutException | TimeoutError):
            return ModelError(f"no answer from {url} within {timeout_s:.0f} s", "unknown")
        return ModelError(f"the connection to {url} was lost: {said or type(cause).__name__}", "unknown")


def address(target: Target, path: str) -> str:
    """Where requests of this path go: what follows a `?` in the base URL stays behind it."""
    base = urlsplit(target.base_url)
    version = f"api-version={quote(target.api_version, safe='')}" if target.azure and target.api_version else ""
    query = "&".join(filter(None, (base.query, version)))
    return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + path, query, ""))


def headers(target: Target, key: str | None, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """What goes with every request. Who is billed at OpenAI, where that is not the key's own default, stands in the
    variables that its own clients read."""
    found = [
        ("Accept", "application/json"),
        ("Accept-Encoding", "gzip, deflate"),
        ("Connection", "keep-alive"),
        ("Content-Type", "application/json"),
        ("User-Agent", f"agentrunner/{__version__}"),
    ]
    if key is not None:
        found.append(("api-key", key) if target.azure else ("Authorization", f"Bearer {key}"))
    elif (base := urlsplit(target.base_url)).username:
        pair = f"{unquote(base.username)}:{unquote(base.password or '')}".encode()
        found.append(("Authorization", f"Basic {b64encode(pair).decode()}"))
    billed = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
    if target.openai and not target.azure:
        found += [(name, environ[variable]) for name, variable in billed.items() if environ.get(variable)]
    return found


async def _send(http: httpx2.AsyncClient | httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
    import httpx2

    if isinstance(http, httpx2.AsyncClient):
        return await http.send(request, stream=True, follow_redirects=False)
    response = await http.handle_async_request(request)
    response.request = request
    return response


@functools.cache
def _trusting() -> ssl.SSLContext:
    """One for all connections of the process: the list of authorities takes 20 ms to read, and half a megabyte."""
    import httpx2

    return httpx2.create_ssl_context()


@functools.cache
def _trusting_nobody() -> ssl.SSLContext:
    """For where nothing is encrypted: made at once."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
