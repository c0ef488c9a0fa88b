"""The connection to one endpoint: bytes out, JSON or a stream of JSON back, every failure a `ModelError`.

It uses the openai SDK's low-level `post` with a body that is serialised already: the SDK's typed methods validate every
message again on every call. One call is one request; retries are the engine's business.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
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
        from openai import APIConnectionError, APIStatusError, AsyncStream, Omit

        options: Any = {
            "timeout": httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
            "headers": {"Content-Type": "application/json"},
            # A key in a header of its own would travel along to wherever a redirect points.
            "follow_redirects": False,
        }
        if self._key is None or self.target.azure:
            options["headers"]["Authorization"] = Omit()
        response: httpx2.Response | None = None
        try:
            async with asyncio.timeout(timeout_s):
                response = cast(
                    "httpx2.Response",
                    await client.post(
                        path,
                        content=body,
                        cast_to=httpx2.Response,
                        options=options,
                        stream=stream,
                        stream_cls=AsyncStream[Any],
                    ),
                )
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

    def _open(self) -> AsyncOpenAI:
        with self._opening:
            if self._client is None:
                from openai import AsyncOpenAI

                azure = self.target.azure
                self._client = AsyncOpenAI(
                    # Never None: the SDK would look for a key of its own in the environment.
                    api_key=self._key or "none",
                    base_url=self.target.base_url,
                    max_retries=0,
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


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
