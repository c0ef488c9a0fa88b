"""An endpoint that makes vectors, and answers chats: `search WORDS` calls file_search, anything else is repeated."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.support.endpoint import Answer, Endpoint, error
from tests.support.hashing import embed

JSON = dict[str, Any]


@dataclass
class Embedding:
    """What the endpoint says to requests for vectors, and what it was asked. `meanings`: words that it takes for
    others. `tokens`: what it says of each text; None, and it says nothing. `fails`: how often it still answers 503, and
    `hangs`: never."""

    meanings: dict[str, str] = field(default_factory=dict[str, str])
    tokens: int | None = None
    fails: int = 0
    hangs: int = 0
    delay_s: float = 0.0
    asked: list[JSON] = field(default_factory=list[JSON])
    _one: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: JSON) -> Answer:
        with self._one:
            self.asked.append(request)
            if self.fails:
                self.fails -= 1
                return error(503, "no vectors today", retry_after=0.01)
            if self.hangs:
                self.hangs -= 1
                return Answer(fault="hang")
        texts = [" ".join(self.meanings.get(word, word) for word in text.lower().split()) for text in request["input"]]
        size = 256 if request["model"] == "short" else 512
        items = [{"index": at, "embedding": vector[:size]} for at, vector in enumerate(embed(texts))]
        data: JSON = {"object": "list", "data": items, "model": request["model"]}
        if self.tokens is not None:
            data["usage"] = {"prompt_tokens": self.tokens * len(texts), "total_tokens": self.tokens * len(texts)}
        return Answer(delay_s=self.delay_s, body=json.dumps(data).encode())

    def texts(self) -> list[str]:
        return [text for request in self.asked for text in request["input"]]


def chat(request: JSON) -> Answer:
    last = request["messages"][-1]
    if last["role"] == "tool":
        return Answer(f"It says: {last['content'][:2000]}")
    word, _, rest = str(last["content"]).partition(" ")
    return Answer(calls=(("file_search", {"query": rest}),)) if word == "search" else Answer(str(last["content"]))


def endpoint(vectors: Embedding, **more: Any) -> Endpoint:
    def either(request: JSON) -> Answer:
        return vectors.answer(request) if "input" in request else chat(request)

    return Endpoint(either, **more)
