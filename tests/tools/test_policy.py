"""The approval table, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from agentrunner.tools.policy import Mode, Policy, described
from agentrunner.types import Effect

MODES: tuple[Mode, ...] = ("auto", "each", "yes", "deny")
KNOWN = {"https://known.example/page"}
INSIDE = (
    "read_file", "write_file", "append_file", "edit_file", "list_files", "search_files", "move_file", "delete_file",
    "python", "shell", "my_own_tool",
)  # fmt: skip
ROWS: list[tuple[str, dict[str, Any], Effect, tuple[str, str, str, str]]] = [
    *((name, {"path": "x"}, "unsafe", ("run", "ask", "run", "run")) for name in INSIDE),
    ("web_search", {"query": "x"}, "pure", ("run", "ask", "run", "refuse")),
    ("web_fetch", {"url": "https://known.example/page"}, "pure", ("run", "ask", "run", "refuse")),
    ("web_fetch", {"url": "HTTPS://KNOWN.example:443/page#part"}, "pure", ("run", "ask", "run", "refuse")),
    ("web_fetch", {"url": "https://named.example/any?q=1"}, "pure", ("run", "ask", "run", "refuse")),
    ("web_fetch", {"url": "https://known.example/other"}, "pure", ("ask", "ask", "refuse", "refuse")),
    ("web_fetch", {"url": "https://known.example/page?leak=1"}, "pure", ("ask", "ask", "refuse", "refuse")),
    ("web_fetch", {"url": "https://sub.named.example/"}, "pure", ("ask", "ask", "refuse", "refuse")),
    ("web_fetch", {"url": "https://named.example.evil.example/"}, "pure", ("ask", "ask", "refuse", "refuse")),
    ("web_fetch", {"url": "https://named.example:8443/"}, "pure", ("run", "ask", "run", "refuse")),
    ("web_fetch", {"url": "http://ported.example:8080/"}, "pure", ("run", "ask", "run", "refuse")),
    ("web_fetch", {"url": "http://ported.example/"}, "pure", ("ask", "ask", "refuse", "refuse")),
    ("web_fetch", {"url": "http://169.254.169.254/"}, "pure", ("reject",) * 4),
    ("web_fetch", {"url": "http://localhost:\\@named.example/"}, "pure", ("reject",) * 4),
    ("ask_user", {"question": "which?"}, "pure", ("ask", "ask", "answer", "answer")),
    ("mcp__files__write", {"path": "x"}, "unsafe", ("ask", "ask", "run", "refuse")),
    ("mcp__files__put", {"path": "x"}, "idempotent", ("ask", "ask", "run", "refuse")),
    ("mcp__files__read", {"path": "x"}, "pure", ("run", "ask", "run", "run")),
    ("finish", {"answer": "x"}, "pure", ("run",) * 4),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "column"), list(zip(MODES, range(4), strict=True)))
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{next(iter(row[1].values()))}")
def test_the_table(row: tuple[str, dict[str, Any], Effect, tuple[str, ...]], mode: Mode, column: int) -> None:
    name, arguments, effect, wanted = row
    policy = Policy(mode, ("named.example", "ported.example:8080"))
    decision = policy.decide(name, arguments, effect, KNOWN)
    assert decision.action == wanted[column]
    if decision.action != "run":
        assert decision.text


def test_asking_the_user_is_a_question_of_its_own_kind_in_the_models_words() -> None:
    decision = Policy("auto").decide("ask_user", {"question": "Which year?"}, "pure", ())
    assert (decision.action, decision.kind, decision.text) == ("ask", "input", "Which year?")


def test_an_approval_shows_the_command_without_what_could_forge_it() -> None:
    arguments = {"command": "echo \x1b[2Jhi\u202e\nrm -rf x", "extra": "y" * 5_000}
    decision = Policy("each").decide("shell", arguments, "unsafe", ())
    assert decision.kind == "approval"
    assert "echo hi\\nrm -rf x" in decision.text
    assert not set("\x1b\u202e\n") & set(decision.text)
    assert "5002 characters" in decision.text
    assert len(decision.text) < 5_000


def test_a_refusal_does_not_repeat_the_url() -> None:
    decision = Policy("yes").decide("web_fetch", {"url": "https://evil.example/?d=secret"}, "pure", ())
    assert "evil.example" not in decision.text


def test_arguments_of_every_type_are_described_on_one_line() -> None:
    assert described({"a": 1, "b": ["x\ny"], "c": "d\ne"}) == "a=1, b=['x\\ny'], c='d\\ne'"
