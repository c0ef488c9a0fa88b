"""The embedding model of a server: which one it is, and what it costs whom to ask it. It keeps no vectors."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from agentrunner.errors import ModelError, ProviderError, UsageError
from agentrunner.llm import Pool
from agentrunner.runner.models import OPENAI_URL, is_local, scripted
from agentrunner.server.keys import DEFAULT_OWNER
from agentrunner.server.services import Services
from agentrunner.server.spending import give_back, take

if TYPE_CHECKING:
    from agentrunner.config import Settings

Vectors = list[list[float]]
Pay = Callable[[float, Callable[[], Awaitable[tuple[Any, float]]]], Awaitable[Any]]
"""Books US dollars, does the work, which says what it cost, and settles. Raises `Unpaid` where a limit leaves less."""

TOKENS_BESIDE = 8
"""Of each text, around its own: models put marks at its beginning and end. A token has a byte at least."""
ATTEMPTS_OF_FILE, ATTEMPTS_OF_QUERY = 2, 1
"""A file is tried again later, too; whoever searches would rather have what the words find than wait."""
FILE_TIMEOUT_S, QUERY_TIMEOUT_S = 60.0, 10.0


class EmbeddingEndpoint:
    """Asks for vectors. Made only where the settings name a model."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        """Raises `UsageError` when it could not be asked, or its price is not known."""
        assert settings.embedding_model is not None
        self.model = settings.embedding_model
        self._base_url = settings.embedding_base_url or settings.base_url
        # A key is for the endpoint that it was given with.
        elsewhere = self._base_url != settings.base_url
        key = settings.embedding_api_key or (None if elsewhere else settings.api_key)
        self._key = key.get_secret_value() if key else None
        self._api_version = None if elsewhere else settings.api_version
        if self._key is None and not is_local(self._base_url):
            raise UsageError(
                f"no key for the embedding model at {self._base_url or OPENAI_URL}",
                "set AGENT_EMBEDDING_API_KEY" if elsewhere else "set OPENAI_API_KEY",
            )
        self._pool = pool
        self._usd_per_token = _rate_of(settings, self.model, self._base_url)

    def worst_usd(self, texts: Sequence[str]) -> float:
        """What one attempt can be billed for at most; infinite where nobody knows the price."""
        if self._usd_per_token is None:
            return math.inf
        return self._usd_per_token * sum(len(text.encode("utf-8", "replace")) + TOKENS_BESIDE for text in texts)

    async def of_file(self, texts: Sequence[str], pay: Pay) -> Vectors:
        """Raises `ProviderError`, and `Unpaid` before anything is asked."""
        return await self._bought(texts, pay, ATTEMPTS_OF_FILE, FILE_TIMEOUT_S)

    async def of_queries(self, texts: Sequence[str], pay: Pay) -> Vectors:
        """The same, for somebody who waits."""
        return await self._bought(texts, pay, ATTEMPTS_OF_QUERY, QUERY_TIMEOUT_S)

    async def _bought(self, texts: Sequence[str], pay: Pay, attempts: int, timeout_s: float) -> Vectors:
        found = await pay(self.worst_usd(texts) * attempts, lambda: self._ask(texts, attempts, timeout_s))
        if isinstance(found, ProviderError):
            raise found
        return found

    async def _ask(
        self, texts: Sequence[str], attempts: int, timeout_s: float
    ) -> tuple[Vectors | ProviderError, float]:
        """The vectors or why there are none, and what that cost: failed attempts may have been billed, too."""
        from agentrunner.llm.embeddings import EmbeddingModel

        reported: list[int] = []
        failed: list[ModelError] = []
        model = EmbeddingModel(
            self.model,
            base_url=self._base_url,
            api_key=self._key,
            api_version=self._api_version,
            timeout_s=timeout_s,
            attempts=attempts,
            pool=self._pool,
            on_usage=reported.append,
            on_failure=failed.append,
        )
        worst = self.worst_usd(texts)
        try:
            found: Vectors | ProviderError = await model.embed(texts)
            used = (self._usd_per_token or 0.0) * reported[-1] if any(reported) else worst
        except ProviderError as error:
            found, used = error, 0.0
        # Nothing is booked where nobody knows the price.
        return found, 0.0 if worst == math.inf else used + worst * sum(each.may_be_billed for each in failed)


def endpoint_of(settings: Settings, pool: Pool) -> EmbeddingEndpoint | None:
    """None where no model is named, or a script takes the place of all models. Raises `UsageError`."""
    if settings.embedding_model is None or scripted(settings):
        return None
    from agentrunner.retrieval.embedding import numpy

    numpy()  # better missed now than with the first file
    return EmbeddingEndpoint(settings, pool)


def account_of(services: Services, owner: str) -> Pay:
    """What is bought outside of any run is paid by the key of whoever wants it."""

    async def pay(usd: float, work: Callable[[], Awaitable[tuple[Any, float]]]) -> Any:
        if owner == DEFAULT_OWNER or not usd:
            return (await work())[0]
        await services.store.write_all(lambda execute: take(execute, owner, usd))
        cost = usd
        try:
            value, cost = await work()
        finally:
            if cost < usd:
                await services.store.write_all(lambda execute: give_back(execute, owner, usd, cost))
        return value

    return pay


def _rate_of(settings: Settings, model: str, base_url: str | None) -> float | None:
    """US dollars per token; None where nobody knows, and that was accepted."""
    from agentrunner.llm.prices import price_of

    if settings.embedding_price is not None:
        return settings.embedding_price / 1e6
    price = price_of(model)
    if price is not None:
        return price.worst(1 << 62)[0] / 1e6
    if is_local(base_url):
        return 0.0
    if settings.allow_unpriced:
        return None
    raise UsageError(
        f"the price of the embedding model {model!r} is not known, so limits on cost cannot be held",
        "give --embedding-price in US dollars per million tokens, or --allow-unpriced: then what has a limit on its"
        " cost is searched by words alone",
    )
