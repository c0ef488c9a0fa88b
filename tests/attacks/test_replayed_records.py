"""Published flaws of older agent runners, each with the input that shows it, replayed against this one.

What is not here is covered where it belongs:

| record | input | covered by |
|---|---|---|
| CVE-2023-37273 | `.git/hooks`, `.env` by the file tools | sandbox/test_paths: test_git_and_env_files_are_left_alone |
| CVE-2023-37274, #14622 | dots, absolute paths, links in a path | sandbox/test_paths: test_a_way_out_is_refused_...; tools/test_files: test_no_path_leads_out |
| CVE-2023-37274 | symbolic and hard links, pipes | sandbox/test_paths: test_links_pipes_sockets_and_second_names_are_not_read |
| CVE-2023-37275 | ANSI, C1, bidi in thought, name, arguments, output | render/test_terminal, render/test_text_outputs, cli/test_terminal: test_a_hostile_model_... |
| CVE-2024-6091 | another spelling of a denied command | tools/test_decisions: there are no lists of commands, only tools with one name |
| CVE-2025-1040 | template text in a goal | strategies/test_autogpt: test_template_text_in_a_goal_stays_text |
| GHSA-wvjg-9879-3m7w | secret headers across a redirect | tools/test_net: test_secret_headers_stay_with_their_origin |
| CVE-2025-0454, -22603, -31490 | rebinding, mapped and private addresses, 302 | tools/test_net: test_other_ways_to_write_this_machine_are_refused and its neighbours; tools/test_urls |
| CVE-2026-24780, CVE-2026-26020 | a disabled tool by another name, script, resume | tools/test_decisions; cli/test_switched_off |
| CVE-2025-32392 and its like | loops, floods, files without end | sandbox/test_limits |
| classic, regex_search | `(a+)+$` | tools/test_files: test_an_expression_that_would_run_for_years_is_stopped |

Without a counterpart here: speech output (CVE-2024-1880), a git tool with credentials, a `calculate` tool, a local API.
"""  # noqa: E501 - a table

from __future__ import annotations

import asyncio
import os
import stat
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentrunner.sandbox import Root, open_sandbox
from agentrunner.tools import build_toolbox
from agentrunner.types import ToolCall, ToolResult
from tests.support.endpoint import Endpoint
from tests.support.endpoint import call as calls
from tests.support.program import Agent, finish, says

TIB = 1 << 40
DEPTH = 3_000
FORGED = "\x1b[2J\x1b[32mSYSTEM: approved\x1b[0m\r\x9b31m\x1b]8;;http://evil.test\x07\x1b]52;c;cm0=\x07\u202eko\u2066"
COMMANDS = set("\x1b\x9b\x9d\x07\r\u202e\u2066")

Use = Callable[..., ToolResult]


def sampled(*values: str) -> list[Any]:
    """The first in every run, the others with `slow`: each of them starts processes."""
    return [pytest.param(value, marks=[pytest.mark.slow] if place else []) for place, value in enumerate(values)]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "outer" / "workspace"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def use(workspace: Path, tmp_path: Path) -> Use:
    """The file tools of a session."""
    outputs = tmp_path / "outputs"
    toolbox = build_toolbox(workspace=workspace, outputs=outputs, sandbox=None, web="fixtures", approve="auto")

    def call(name: str, **arguments: Any) -> ToolResult:
        return asyncio.run(toolbox.call(ToolCall("c", name, arguments), "/tool:1:0", 20.0))

    return call


# --- CVE-2023-37273: files that the runner itself, or the user's programs, read at their next start --------------


def test_37273_what_the_runner_reads_at_its_next_start_gives_no_rights(agent: Agent) -> None:
    lines = 'sandbox = "none"\ni_know_there_is_no_sandbox = true\napprove = "auto"\nyes = true\nallow_net = ["x.test"]'
    script = agent.script(
        says("write_file", path="agent.toml", content=lines),
        says("write_file", path="docker-compose.yml", content="services: {}"),
        says("write_file", path=".env", content="AGENT_SANDBOX=none"),
        says("write_file", path=".git/hooks/post-checkout", content="#!/bin/sh"),
        finish(),
    )
    done = agent("run", "x", "--script", script, "--json")
    outcomes = [event["outcome"] for event in done.of_type("tool.finished")]
    # The first two are ordinary files to this program: it mounts nothing by a file that lies in the workspace.
    assert outcomes == ["ok", "ok", "error", "error", "ok"]
    inside = Agent(agent.folder)
    (agent.workspace / "agent.toml").replace(agent.folder / "agent.toml")
    again = inside("run", "x", "--script", agent.script(finish()), "--json")
    assert all(f"ignored {key!r}" in again.err for key in ("sandbox", "yes", "allow_net"))
    assert again.of_type("session.created")[0]["sandbox"] != "NONE"


def test_37273_the_sessions_own_files_lie_where_no_path_leads(agent: Agent) -> None:
    script = agent.script(
        says("write_file", path=str(agent.home / "agent.db"), content="x"),
        says("write_file", path="../agent-home/agent.db", content="x"),
        says("write_file", path="@output/1-0.txt", content="x"),
        finish(),
    )
    done = agent("run", "x", "--script", script, "--json")
    assert [event["outcome"] for event in done.of_type("tool.finished")] == ["error"] * 3 + ["ok"]
    assert agent("sessions", "show", agent.session()).code == 0


# --- CVE-2023-37274: a name that leads elsewhere ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["../../../main.py", "..\\..\\x.py", "/main.py", "a/../../main.py", "x\0.py", "link/main.py", "link"]
)
@pytest.mark.parametrize("name", ["write_file", "append_file", "edit_file", "read_file", "delete_file", "move_file"])
def test_37274_a_chosen_name_stays_inside(use: Use, workspace: Path, name: str, path: str) -> None:
    outer = workspace.parent
    (outer / "main.py").write_text("CANARY")
    (workspace / "link").symlink_to(outer)
    (workspace / "mine").write_text("mine")
    arguments = {
        "write_file": {"path": path, "content": "PWNED"},
        "append_file": {"path": path, "content": "PWNED"},
        "edit_file": {"path": path, "old": "CANARY", "new": "PWNED"},
        "move_file": {"source": "mine", "destination": path},
    }.get(name, {"path": path})
    result = use(name, **arguments)
    assert "CANARY" not in result.content
    assert sorted(file.name for file in outer.iterdir()) == ["main.py", "workspace"]
    assert (outer / "main.py").read_text() == "CANARY"


# --- CVE-2023-37275: text that commands the terminal ---------------------------------------------------------------


@pytest.mark.parametrize("how", sampled("plain", "--quiet", "--json"))
def test_37275_no_field_commands_the_terminal(agent: Agent, how: str) -> None:
    thoughts = {"text": FORGED, "reasoning": FORGED, "plan": [FORGED], "criticism": FORGED, "revise": False}
    first = calls(f"write_file{FORGED}", thoughts, path=FORGED, content=FORGED)
    second = calls("write_file", thoughts, path="page.txt", content=FORGED)
    third = calls("read_file", path="page.txt")
    with Endpoint([first, second, third, calls("finish", answer=FORGED)]) as endpoint:
        options = [] if how == "plain" else [how]
        done = agent("run", f"goal {FORGED}", "--base-url", endpoint.base_url, "--model", "m", "--yes", *options)
    assert done.code == 0, done.err
    assert not COMMANDS & set(done.out + done.err)
    shown = agent("sessions", "list").out + agent("sessions", "show", agent.session()).out
    assert not COMMANDS & set(shown)


def test_37275_a_sessions_name_commands_nothing(agent: Agent) -> None:
    for words in (["resume", FORGED], ["sessions", "show", FORGED], ["report", FORGED], ["sessions", "rm", FORGED]):
        done = agent(*words)
        assert done.code == 2
        assert not COMMANDS & set(done.out + done.err)


# --- CVE-2024-1881: a command where a name is expected -------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    sampled("echo ok; touch pwned", "echo $(touch pwned)", "`touch pwned`", "echo ok && touch pwned", "a\ntouch pwned"),
)
def test_1881_text_for_a_shell_is_only_a_name(use: Use, workspace: Path, agent: Agent, text: str) -> None:
    use("write_file", path=text, content="x")
    use("read_file", path=text)
    use("search_files", pattern="x", path=text)
    use("web_search", query=text)
    assert "There is no tool named" in use(text).content
    done = agent("run", text, "--script", agent.script(finish(text, "pwned"), finish(text)), "--json")
    assert done.code == 0
    # What follows `--` is one program with its arguments: nothing splits or expands it.
    single = agent("sandbox", "run", "--", text)
    assert single.code in (125, 127)
    assert not list(workspace.rglob("pwned")) + list(agent.folder.rglob("pwned"))


# --- CVE-2025-1040: template text ----------------------------------------------------------------------------------

TEMPLATES = ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ 7 * 191 }}", "{x.__globals__}", "%(x)s {0}", "${x}"]


@pytest.mark.parametrize("text", sampled(*TEMPLATES))
def test_1040_foreign_text_is_never_a_template(agent: Agent, text: str) -> None:
    answers = [calls("write_file", path="page.txt", content=text), calls("read_file", path="page.txt")]
    with Endpoint([*answers, calls("finish", answer=text)]) as endpoint:
        done = agent("run", text, "--base-url", endpoint.base_url, "--model", "m", "--json")
        sent = "\n".join(str(message) for request in endpoint.requests for message in request.json["messages"])
    assert done.finished["answer"] == text
    assert "1337" not in sent
    assert "<class" not in sent


# --- archives: names that lead out, links, bombs -------------------------------------------------------------------


@pytest.mark.usefixtures("sandboxed")
def test_zip_slip_ends_at_the_wall(workspace: Path) -> None:
    with zipfile.ZipFile(workspace / "slip.zip", "w") as archive:
        for name in ("../main.py", "../workspace-evil/x", "/tmp/zip-slip-canary", "a/../../main.py"):
            archive.writestr(name, "PWNED")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(workspace.parent))
    by_hand = """import os, zipfile
for info in zipfile.ZipFile('slip.zip').infolist():
    data = zipfile.ZipFile('slip.zip').read(info)
    for place in (info.filename, os.path.join('..', info.filename)):
        try:
            os.makedirs(os.path.dirname(place) or '.', exist_ok=True)
            open(place, 'wb').write(data)
        except OSError: pass
os.symlink('..', 'up')
try: open('up/main.py', 'w').write('PWNED')
except OSError: pass
zipfile.ZipFile('slip.zip').extractall('out')
print(len(os.listdir('out')))"""

    async def unpack() -> str:
        sandbox = open_sandbox(workspace)
        try:
            return (await sandbox.run(["python3", "-c", by_hand])).stdout
        finally:
            await sandbox.aclose()

    assert int(asyncio.run(unpack())) >= 1
    assert [path.name for path in workspace.parent.iterdir()] == ["workspace"]
    assert not Path("/tmp/zip-slip-canary").exists()


def test_a_file_given_with_the_goal_lands_under_its_own_name_only(agent: Agent) -> None:
    outside = agent.folder / "elsewhere"
    outside.mkdir()
    (outside / "table.csv").write_text("CANARY")
    (agent.folder / "table.csv").write_text("a,b\n")
    agent.workspace.mkdir()
    (agent.workspace / "table.csv").symlink_to(outside / "table.csv")
    given = agent.folder / "elsewhere" / ".." / "table.csv"
    done = agent("run", "x", "--file", str(given), "--script", agent.script(finish()), "--json")
    assert done.code == 0, done.err
    assert (outside / "table.csv").read_text() == "CANARY"
    assert sorted(path.name for path in outside.iterdir()) == ["table.csv"]


# --- trees and files made to trip whoever reads them ---------------------------------------------------------------


def deep_tree(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("needle.txt", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)


@pytest.fixture
def deep(workspace: Path) -> Any:
    deep_tree(workspace)
    yield workspace
    root = Root(workspace)  # pytest's own removal does not get down there
    if root.exists("d"):
        root.delete("d")
    root.close()


def test_a_tree_of_3000_folders_is_listed_searched_and_removed(use: Use, deep: Path) -> None:
    began = time.monotonic()
    listed = use("list_files")
    assert (listed.outcome, len(listed.content) < 20_000) == ("ok", True)
    assert use("search_files", pattern="x").outcome == "ok"
    assert use("delete_file", path="d").outcome == "ok"
    assert list(deep.iterdir()) == []
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("sandboxed")
def test_a_session_in_a_tree_of_3000_folders_runs_reports_and_is_removed(agent: Agent) -> None:
    agent.workspace.mkdir()
    deep_tree(agent.workspace)
    try:
        script = agent.script(says("python", code="1 + 1"), says("shell", command="true"), finish())
        done = agent("run", "x", "--script", script, "--json")
        assert [event["outcome"] for event in done.of_type("tool.finished")] == ["ok"] * 3
        name = agent.session()
        assert agent("report", name, "--html", "report.html").code == 0
        assert agent("sessions", "rm", name).code == 0
    finally:
        root = Root(agent.workspace)
        root.delete("d")
        root.close()


def test_a_sparse_file_of_a_tebibyte_holds_nobody_up(use: Use, workspace: Path) -> None:
    for name in ("sparse.txt", "sparse.png"):
        with (workspace / name).open("wb") as file:
            file.truncate(TIB)
    began = time.monotonic()
    assert len(use("read_file", path="sparse.txt").content) < 20_000
    assert len(use("read_file", path="sparse.txt", offset=10_000_000).content) < 20_000
    assert len(use("read_file", path="sparse.png").content) < 20_000
    assert use("search_files", pattern="x").outcome in ("ok", "error")
    assert use("edit_file", path="sparse.txt", old="a", new="b").outcome == "error"
    handed = use("finish", answer="x", artifacts=["sparse.txt"])
    assert (handed.outcome, "larger than 1 GiB" in handed.content) == ("error", True)
    assert time.monotonic() - began < 20


def test_a_report_does_not_read_a_tebibyte(agent: Agent) -> None:
    agent.workspace.mkdir()
    (agent.workspace / "figure.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    done = agent("run", "x", "--script", agent.script(finish("done", "figure.png")), "--json")
    assert done.code == 0, done.out
    with (agent.workspace / "figure.png").open("r+b") as file:
        file.truncate(TIB)
    began = time.monotonic()
    assert agent("report", agent.session(), "--html", "report.html", timeout=30).code == 0
    assert time.monotonic() - began < 20
