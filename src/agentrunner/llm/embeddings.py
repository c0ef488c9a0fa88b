"""Texts as vectors, from any endpoint that has OpenAI's `/embeddings`. It keeps nothing and knows no prices.

Embedding twice changes nothing but the bill, so what may have been billed is tried again here too; `on_usage` hears of
what an endpoint says that it charged for, `on_failure` of each attempt without an answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from agentrunner.errors import ModelError, ProviderError
from agentrunner.llm import failures
from agentrunner.llm.client import Connection, Pool
from agentrunner.llm.target import target_of
from agentrunner.llm.wire import encode
from agentrunner.types import JSON

PATH = "/embeddings"
AZURE_VERSION = "2024-10-21"
"""The oldest dated API of Azure that is still supported; embeddings have not changed in it."""
ATTEMPTS = 4
FIRST_WAIT_S, MAX_WAIT_S = 0.5, 30.0
"""Between attempts, unless the endpoint asks for something else; no wait is longer, whatever it asks for."""
TIMEOUT_S = 60.0
"""Of one attempt: a hundred texts take a hosted model a second, a local one without a GPU up to a minute."""


class EmbeddingModel:
    """Call it with texts; it must be in a thread without an event loop. `dimensions` asks models that can for shorter
    vectors. With a `pool`, which belongs to a loop, it can only be asked there."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None,
        api_key: str | None,
        dimensions: int | None = None,
        azure: bool | None = None,
        api_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
        attempts: int = ATTEMPTS,
        pool: Pool | None = None,
        on_usage: Callable[[int], None] | None = None,
        on_failure: Callable[[ModelError], None] | None = None,
    ) -> None:
        self.name = name
        self._target = target_of(base_url, azure, api_version, name, AZURE_VERSION)
        self._key = api_key
        self._dimensions = dimensions
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._pool = pool
        self._on_usage = on_usage
        self._on_failure = on_failure

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in their order. Raises `ProviderError` when the endpoint failed for good."""
        return asyncio.run(self.embed(texts)) if texts else []

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The same in an event loop."""
        from tenacity import (
            AsyncRetrying,
            RetryCallState,
            retry_if_exception,
            stop_after_attempt,
            wait_random_exponential,
        )

        patience = wait_random_exponential(FIRST_WAIT_S, MAX_WAIT_S)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after_s if isinstance(error, ModelError) else None
            return patience(state) if asked is None else min(asked, MAX_WAIT_S)

        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda e: isinstance(e, ModelError) and e.kind in ("busy", "unknown")),
            stop=stop_after_attempt(self._attempts),
            wait=wait,
            reraise=True,
        )
        connection = Connection(self._target, self._key, self._pool)
        try:
            return await retrying(self._asked, connection, list(texts))
        except ModelError as error:
            raise ProviderError(
                f"the embedding model {self.name!r} could not be asked: {error.message}",
                "check the model, its key and its base URL, or search by words alone",
            ) from error
        finally:
            await connection.aclose()

    async def _asked(self, connection: Connection, texts: list[str]) -> list[list[float]]:
        try:
            return await self._attempt(connection, texts)
        except ModelError as error:
            if self._on_failure is not None:
                self._on_failure(error)
            raise

    async def _attempt(self, connection: Connection, texts: list[str]) -> list[list[float]]:
        body: JSON = {"model": self.name, "input": texts, "encoding_format": "float"}
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        data = await connection.post(PATH, encode(body), self._timeout_s)
        vectors = _vectors(data.get("data"), len(texts))
        if vectors is None:
            url = self._target.base_url + PATH
            raise failures.not_an_answer(200, encode(data).decode()[:1000], url, self._key)
        if self._on_usage is not None:
            self._on_usage(_tokens(data.get("usage")))
        return vectors


def _vectors(items: object, count: int) -> list[list[float]] | None:
    """In the order of the texts, which the items say by their index: not all endpoints keep to it. None when it is not
    one vector for each."""
    if not isinstance(items, list) or len(cast("list[Any]", items)) != count:
        return None
    found: dict[int, list[float]] = {}
    for place, item in enumerate(cast("list[Any]", items)):
        vector = cast("JSON", item).get("embedding") if isinstance(item, dict) else None
        if not isinstance(vector, list) or not all(_is_number(each) for each in cast("list[object]", vector)):
            return None
        index = cast("JSON", item).get("index", place)
        found[index if isinstance(index, int) else place] = cast("list[float]", vector)
    return [found[place] for place in range(count)] if found.keys() == set(range(count)) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _tokens(usage: object) -> int:
    """0 where an endpoint does not say."""
    found = cast("JSON", usage).get("prompt_tokens") if isinstance(usage, dict) else None
    return found if isinstance(found, int) and found > 0 else 0
