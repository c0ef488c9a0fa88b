"""A chat, a function call, a code interpreter and a file search, through what people used for them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import PROGRAMS, output_of
from tests.contract.environments import FOLDER, NODE, Missing, node_of, python_of
from tests.runs.conftest import Server

EXPECTED: dict[str, Any] = {
    "chat": ["hello", "4 messages"],
    "function": "the results: pens cost 42",
    "code": {
        "answer": "Here: [the table](sandbox:/mnt/data/out.csv).",
        "logs": "42",
        "file": "sum\n42\n",
        "image": "PNG",
    },
    "search": {"answer": "It is blue【1:0†source】, says the file. Not so: 【99:9†source】.", "cited": "birds.md"},
}

Command = list[str | Path]


def newest(url: str, name: str) -> Command:
    return [sys.executable, PROGRAMS / "official_client.py", url, name]


def oldest(url: str, name: str) -> Command:
    return [python_of("oldest"), PROGRAMS / "official_client.py", url, name]


def npm(url: str, name: str) -> Command:
    return [node_of(), PROGRAMS / "node.cjs", url, name, FOLDER / NODE]


def langchain(url: str, name: str) -> Command:
    return [python_of("langchain"), PROGRAMS / "langchain_assistant.py", url, name]


def semantic_kernel(url: str, name: str) -> Command:
    return [python_of("semantic-kernel"), PROGRAMS / "semantic_kernel_agent.py", url, name]


@pytest.mark.parametrize("client", [newest, oldest, npm, langchain, semantic_kernel])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_conversation_goes_as_it_went(
    client: Callable[[str, str], Command], name: str, server: Server, request: pytest.FixtureRequest
) -> None:
    try:
        command = client(server.url, name)
    except Missing as why:
        pytest.skip(str(why))
    if name == "code":
        request.getfixturevalue("full_sandbox")

    assert json.loads(output_of(*command)) == EXPECTED[name]
