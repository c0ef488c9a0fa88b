"""Decisions fall on what a call resolves to: one exact name, typed arguments, real places."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentrunner.types import ToolCall
from tests.tools.support import bench, call

DISGUISES = [
    "Delete_File", "DELETE_FILE", " delete_file", "delete_file ", "delete_file\n", "delete_file\0", "\tdelete_file",
    "functions.delete_file", "functions:delete_file", "tools.delete_file", "default_api.delete_file", "delete-file",
    "deletefile", "deleteFile", "delete_file()", "delete_file;", "./delete_file", "../delete_file", "delete_fil*",
    "d\u0435lete_file", "delete\uff3ffile", "\uff44elete_file", "delete_file\u200b", "\u202edelete_file", "remove_file",
    "", "*", "mcp__local__delete_file", "__class__", "delete_file|read_file", '{"name": "delete_file"}',
]  # fmt: skip


@pytest.mark.parametrize("disabled", [True, False], ids=["switched-off", "switched-on"])
@pytest.mark.parametrize("name", DISGUISES, ids=ascii)
def test_a_tool_has_one_name(tmp_path: Path, name: str, disabled: bool) -> None:
    tools = bench(tmp_path, disabled=("delete_file",) if disabled else ())
    (tools.workspace / "kept.txt").write_text("x")
    made = ToolCall("c", name, {"path": "kept.txt"})
    assert tools.toolbox.decide(made).action == "reject"
    assert tools.toolbox.effect(name) == "unsafe"
    result = asyncio.run(tools.toolbox.call(made, "/tool:1:0", 10.0))
    assert (result.outcome, (tools.workspace / "kept.txt").exists()) == ("error", True)


@pytest.mark.parametrize("name", ["web_search", "web_fetch", "python", "shell", "delete_file"])
def test_what_is_switched_off_is_rejected_by_its_own_name_too(tmp_path: Path, name: str) -> None:
    tools = bench(tmp_path, disabled=("delete_file",), approve="yes")
    decision = tools.toolbox.decide(call(name, path="x", url="http://example.org", query="x", code="1", command="id"))
    assert decision.action == "reject"
    assert f"There is no tool named '{name}'" in decision.text
    assert f"{name}," not in decision.text.partition("The tools are:")[2]


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": ["kept.txt"]},
        {"path": {"path": "kept.txt"}},
        {"path": None},
        {"PATH": "kept.txt"},
        {"path": "kept.txt", "recursive": True},
        {"path": "kept.txt", "__class__": "x"},
        {},
    ],
    ids=str,
)
def test_arguments_are_of_their_type_or_the_call_is_rejected(tmp_path: Path, arguments: dict[str, Any]) -> None:
    tools = bench(tmp_path)
    (tools.workspace / "kept.txt").write_text("x")
    assert tools.toolbox.decide(call("delete_file", arguments)).action == "reject"
    asyncio.run(tools.toolbox.call(call("delete_file", arguments), "/tool:1:0", 10.0))
    assert (tools.workspace / "kept.txt").exists()


@pytest.mark.parametrize("url", ["http://EXAMPLE.org:80/a", "http://example.org/./a", "http://example.org/b/../a"])
def test_an_address_is_compared_in_its_canonical_form(tmp_path: Path, url: str) -> None:
    tools = bench(tmp_path, web="fixtures", approve="deny")
    tools.toolbox.observe("goal", "see http://example.org/a")
    same = tools.toolbox.decide(call("web_fetch", url=url))
    other = tools.toolbox.decide(call("web_fetch", url="http://example.org.evil.test/a"))
    assert "not allowed in this run" in same.text or "word for word" in same.text
    assert "word for word" in other.text
