"""What every handler needs, in one object. It does nothing itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from agentrunner.journal import SqlJournal
from agentrunner.llm import Pool
from agentrunner.server.sessions import Sessions
from agentrunner.server.storage.blobs import Blobs
from agentrunner.server.storage.store import Store

if TYPE_CHECKING:
    from starlette.requests import Request

    from agentrunner.config import Settings
    from agentrunner.server.indexing import Indexer
    from agentrunner.server.tools import Tools
    from agentrunner.server.vectors import VectorMaker
    from agentrunner.server.worker import Worker


class Used(NamedTuple):
    """When a vector store was used last, and by whom; how many chunks it had then."""

    owner: str
    at: int
    chunks: int


@dataclass
class Services:
    """The parts of one server."""

    home: Path
    settings: Settings
    journal: SqlJournal
    sessions: Sessions
    """The same, for the sessions of this process."""
    store: Store
    blobs: Blobs
    indexer: Indexer
    tools: Tools = field(init=False)
    worker: Worker = field(init=False)
    model_override: str | None = None
    """Sent in place of every assistant's own model."""
    vectors: VectorMaker | None = None
    """Where a model is named for it, what makes vectors of what is in vector stores."""
    clock: Callable[[], float] = time.time
    pool: Pool = field(default_factory=Pool)
    """Connections to models, which all runs share."""
    used: dict[str, Used] = field(default_factory=dict[str, "Used"])
    """Vector stores, by id."""

    @property
    def now(self) -> int:
        return int(self.clock())


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


def owner_of(request: Request) -> str:
    """Whose objects this request may see."""
    return cast("Mapping[str, str]", request.scope["state"])["owner"]
