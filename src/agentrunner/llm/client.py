"""The connection to one endpoint: bytes out, JSON or a stream of JSON back, every failure a `ModelError`.

It uses the openai SDK's low-level `post` with a body that is serialised already: the SDK's typed methods validate every
message again on every call. The first request that the SDK makes is the model of all later ones: making the same
address and headers again takes longer than sending them. One call is one request; retries are the engine's business.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import threading
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from agentrunner.errors import ModelError, UsageError
from agentrunner.llm import failures
from agentrunner.llm.lenient import loads
from agentrunner.llm.streams import StreamError, events
from agentrunner.types import JSON

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
Stream = AsyncIterator[JSON | None] | JSON
AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_CHANGING = ("content-length", "x-stainless-read-timeout", "cookie")
"""Headers that belong to one request."""
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
    """Made at first use, since importing the SDK takes half a second. Belongs to one event loop."""

    def __init__(self, target: Target, api_key: str | None) -> None:
        self.target = target
        self._key = (api_key or "").strip() or None
        if self._key is not None and not (self._key.isascii() and self._key.isprintable()):
            raise UsageError("the API key holds characters that no key has", "copy it again, without quotes or blanks")
        self._client: AsyncOpenAI | None = None
        self._http: httpx2.AsyncClient | None = None
        self._models: dict[str, tuple[httpx2.URL, list[tuple[str, str]]]] = {}
        """By path, the address and headers of the SDK's first request."""
        self._opening = threading.Lock()

    def warm(self) -> None:
        """Import the SDK in a thread, so that it is there when the first request is ready."""
        threading.Thread(target=self._open, name="openai import", daemon=True).start()

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
        if self._client is not None:
            await self._client.close()

    @asynccontextmanager
    async def _answer(self, path: str, body: bytes, timeout_s: float, stream: bool) -> AsyncGenerator[httpx2.Response]:
        client = self._client or await asyncio.to_thread(self._open)
        import httpx2
        from openai import APIConnectionError, APIStatusError

        limits = httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
        response: httpx2.Response | None = None
        try:
            async with asyncio.timeout(timeout_s):
                if path in self._models:
                    response = await self._again(*self._models[path], body, limits, stream)
                else:
                    response = await self._first(client, path, body, limits, stream)
                    self._learn(path, response.request)
                yield response
        except APIStatusError as error:
            answer = error.response
            raise failures.from_answer(answer.status_code, answer.headers, answer.text, self._key) from error
        except APIConnectionError as error:
            raise self._lost(error.__cause__ or error, timeout_s) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, TimeoutError) as error:
            raise self._lost(error, timeout_s) from error
        except StreamError as error:
            raise ModelError(str(error), "unknown") from error
        finally:
            if response is not None:
                await response.aclose()

    async def _first(
        self, client: AsyncOpenAI, path: str, body: bytes, limits: httpx2.Timeout, stream: bool
    ) -> httpx2.Response:
        import httpx2
        from openai import AsyncStream, Omit

        options: Any = {
            "timeout": limits,
            "headers": {"Content-Type": "application/json"},
            # A key in a header of its own would travel along to wherever a redirect points.
            "follow_redirects": False,
        }
        if self._key is None or self.target.azure:
            options["headers"]["Authorization"] = Omit()
        answer = await client.post(
            path, content=body, cast_to=httpx2.Response, options=options, stream=stream, stream_cls=AsyncStream[Any]
        )
        return cast("httpx2.Response", answer)

    async def _again(
        self, url: httpx2.URL, headers: list[tuple[str, str]], body: bytes, limits: httpx2.Timeout, stream: bool
    ) -> httpx2.Response:
        import httpx2

        assert self._http is not None
        request = httpx2.Request(
            "POST",
            url,
            headers=headers,
            cookies=self._http.cookies or None,
            content=body,
            extensions={"timeout": limits.as_dict()},
        )
        response = await self._http.send(request, stream=stream, follow_redirects=False)
        if not response.is_success:
            try:
                await response.aread()
            finally:
                await response.aclose()
            raise failures.from_answer(response.status_code, response.headers, response.text, self._key)
        return response

    def _learn(self, path: str, request: httpx2.Request) -> None:
        headers = [(name, value) for name, value in request.headers.multi_items() if name.lower() not in _CHANGING]
        self._models[path] = (request.url, headers)

    def _open(self) -> AsyncOpenAI:
        with self._opening:
            if self._client is None:
                from openai import AsyncOpenAI, DefaultAsyncHttpxClient

                azure = self.target.azure
                self._http = DefaultAsyncHttpxClient(verify=_context(urlsplit(self.target.base_url).scheme))
                self._client = AsyncOpenAI(
                    # Never None: the SDK would look for a key of its own in the environment.
                    api_key=self._key or "none",
                    base_url=self.target.base_url,
                    max_retries=0,
                    http_client=self._http,
                    default_headers={"api-key": self._key} if azure and self._key else None,
                    default_query={"api-version": self.target.api_version} if azure else None,
                )
            return self._client

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


def _context(scheme: str) -> ssl.SSLContext:
    """One for all connections of the process: the list of authorities takes 20 ms to read, and half a megabyte. Where
    nothing is encrypted, one that trusts nobody, which is made at once."""
    return _trusting_nobody() if scheme == "http" and not urllib.request.getproxies() else _trusting()


@functools.cache
def _trusting() -> ssl.SSLContext:
    import httpx2

    return httpx2.create_ssl_context()


@functools.cache
def _trusting_nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
