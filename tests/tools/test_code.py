"""The `python` and `shell` tools in a real sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agentrunner.sandbox import Limits, open_sandbox
from agentrunner.tools import LocalToolbox, build_toolbox
from agentrunner.tools.python import MAX_INTERPRETERS
from agentrunner.types import ToolResult
from tests.tools.support import DESCRIPTIONS, bench, call

pytestmark = pytest.mark.usefixtures("sandboxed")
Use = Callable[..., Awaitable[ToolResult]]


def session(
    tmp_path: Path,
    body: Callable[[Use], Awaitable[None]],
    limits: Limits | None = None,
    ready: Callable[[LocalToolbox], Awaitable[None]] | None = None,
    **options: Any,
) -> Path:
    """Run `body` with a function that calls tools of one session, after `ready`; returns the workspace."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()

    async def run() -> None:
        sandbox = open_sandbox(workspace, limits=limits)
        toolbox: LocalToolbox = build_toolbox(
            workspace=workspace, outputs=tmp_path / "outputs", sandbox=sandbox, web="off", approve="auto",
            descriptions=DESCRIPTIONS, **options,
        )  # fmt: skip
        count = iter(range(1, 100))

        async def use(name: str, timeout_s: float = 30.0, /, **arguments: Any) -> ToolResult:
            return await toolbox.call(call(name, arguments), f"/tool:{next(count)}:0", timeout_s)

        try:
            if ready is not None:
                await ready(toolbox)
            await body(use)
        finally:
            await toolbox.aclose()
            await sandbox.aclose()

    asyncio.run(run())
    return workspace


def test_each_branch_has_variables_of_its_own(tmp_path: Path) -> None:
    async def ready(toolbox: LocalToolbox) -> None:
        async def cell(branch: str, code: str) -> str:
            key = f"{branch}/tool:{next(count)}:0"
            return (await toolbox.call(call("python", {"code": code}), key, 30.0)).content

        count = iter(range(1, 100))
        toolbox.observe("python", "ok", "/t2/tool:1:0")
        await asyncio.gather(cell("/t1", "x = 1"), cell("", "x = 0"))
        told = await cell("/t2", "x = 2")
        assert "restarted" in told  # what an earlier attempt of this branch defined is gone
        assert "restarted" not in await cell("/t3", "y = 1")
        assert [await cell(branch, "x") for branch in ("", "/t1", "/t2")] == [
            "ok\nvalue: 0",
            "ok\nvalue: 1",
            "ok\nvalue: 2",
        ]
        assert "NameError" in await cell("/t3", "x")

    async def body(use: Use) -> None:
        return None

    session(tmp_path, body, ready=ready)


def test_interpreters_of_branches_that_are_over_are_ended(tmp_path: Path) -> None:
    async def ready(toolbox: LocalToolbox) -> None:
        for number in range(MAX_INTERPRETERS + 2):
            result = await toolbox.call(call("python", {"code": "x = 1"}), f"/t{number}/tool:1:0", 30.0)
            assert result.outcome == "ok"
        again = await toolbox.call(call("python", {"code": "x"}), "/t0/tool:2:0", 30.0)
        assert "NameError" in again.content

    async def body(use: Use) -> None:
        return None

    session(tmp_path, body, ready=ready)


def test_variables_live_from_call_to_call_and_the_last_value_is_shown(tmp_path: Path) -> None:
    async def body(use: Use) -> None:
        first = await use("python", code="x = 20\nprint('hello')")
        assert first.outcome == "ok"
        assert first.content.split("\n")[0] == "ok"
        assert "hello" in first.content
        assert "value: 42" in (await use("python", code="x * 2 + 2")).content

    session(tmp_path, body)


def test_an_error_names_itself_first_and_shows_the_users_lines(tmp_path: Path) -> None:
    async def body(use: Use) -> None:
        failed = await use("python", code="def f():\n    return {}['mass']\nprint('before')\nf()")
        assert failed.outcome == "error"
        assert failed.content.startswith("error: KeyError: 'mass'\n")
        assert "before" in failed.content
        assert "site-packages" not in failed.content
        assert "error: SyntaxError" in (await use("python", code="def (")).content

    session(tmp_path, body)


def test_files_and_figures_that_a_cell_leaves_are_artifacts(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    async def body(use: Use) -> None:
        await use("write_file", path="old.txt", content="old")
        made = await use("python", code="open('new.csv', 'w').write('a,b'); open('old.txt')")
        assert [(artifact.path, artifact.bytes) for artifact in made.artifacts] == [("new.csv", 3)]
        assert "files: new.csv (3 bytes)" in made.content
        drawn = await use("python", code="import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
        assert drawn.outcome == "ok", drawn.content
        (figure,) = drawn.artifacts
        assert figure.path.endswith(".png")
        assert "PNG image" in (await use("read_file", path=figure.path)).content
        assert (await use("finish", answer="x", artifacts=[figure.path])).artifacts == (figure,)
        quiet = await use("python", code="1")
        assert quiet.artifacts == ()

    session(tmp_path, body)


def test_a_cell_that_takes_too_long_is_stopped_and_says_whether_variables_are_left(tmp_path: Path) -> None:
    async def body(use: Use) -> None:
        await use("python", code="kept = 1")
        slow = await use("python", code="import time\ntime.sleep(60)")
        assert (slow.outcome, slow.content.split("\n")[0].startswith("error: ")) == ("error", True)
        assert slow.seconds < 15
        after = await use("python", code="kept")
        assert "value: 1" in after.content or "restarted" in slow.content
        gone = await use("python", code="import os\nos._exit(3)")
        assert gone.outcome == "error"
        assert "all variables and imports are gone" in gone.content
        assert "NameError" in (await use("python", code="kept")).content

    session(tmp_path, body, python_timeout_s=1.0)


def test_a_call_cut_off_from_outside_is_told_with_the_next_one(tmp_path: Path) -> None:
    async def body(use: Use) -> None:
        await use("python", code="x = 1")
        # Neither interrupt nor grace fits into this deadline.
        cut = await use("python", 0.4, code="import signal, time\nsignal.signal(2, signal.SIG_IGN)\ntime.sleep(60)")
        assert cut.outcome == "error"
        assert "stopped" in cut.content or "longer" in cut.content
        after = await use("python", code="2")
        assert "all variables and imports are gone" in cut.content + after.content

    session(tmp_path, body)


def test_long_output_is_cut_and_readable(tmp_path: Path) -> None:
    async def body(use: Use) -> None:
        long = await use("python", code="for n in range(5000): print(n, 'words')")
        assert long.truncated_chars > 0
        assert long.saved_as == "@output/1-0.txt"
        rest = await use("read_file", path=long.saved_as, offset=2500, limit=2)
        assert "2499 words" in rest.content

    session(tmp_path, body)


def test_shell_says_its_exit_code_first(tmp_path: Path) -> None:
    async def body(use: Use) -> None:
        good = await use("shell", command="echo out; echo err >&2; touch made; echo x > made2")
        assert good.outcome == "ok"
        assert good.content.startswith("exit code 0\nout\nstandard error:\nerr")
        assert {artifact.path for artifact in good.artifacts} == {"made", "made2"}
        bad = await use("shell", command="false")
        assert (bad.outcome, bad.content) == ("error", "exit code 1")
        assert "exit code 127" in (await use("shell", command="no-such-program")).content
        assert (await use("shell", command="echo $((6*7)) | tr 4 5")).content == "exit code 0\n52"
        slow = await use("shell", command="sleep 60")
        assert slow.outcome == "error"
        assert slow.seconds < 10
        assert "is empty" in (await use("shell", command=" ")).content
        assert "NUL" in (await use("shell", command="a\0b")).content

    workspace = session(tmp_path, body, python_timeout_s=1.5)
    assert (workspace / "made").exists()


def test_what_programs_print_cannot_command_a_terminal(tmp_path: Path) -> None:
    async def body(use: Use) -> None:
        shown = await use("shell", command=r"printf '\033[2J\033]0;owned\007red\r\n\302\233 31m'")
        assert not set("\x1b\x07\x9b\r") & set(shown.content)
        made = await use("python", code="open('evil\\x1b[2J.txt', 'w').write('x')")
        assert "\x1b" not in made.content

    session(tmp_path, body)


def test_a_file_kept_from_models_or_gone_is_no_artifact(tmp_path: Path) -> None:
    async def body(use: Use) -> None:
        made = await use(
            "shell", command="echo x > a; ln a b; echo y > .env; echo z > c; mkfifo p; ln -s /etc/passwd l"
        )
        assert made.outcome == "ok", made.content
        assert {artifact.path for artifact in made.artifacts} == {"c"}

    session(tmp_path, body)


def test_without_a_sandbox_there_is_no_code(tmp_path: Path) -> None:
    names = [spec.name for spec in bench(tmp_path).toolbox.specs()]
    assert "python" not in names
    assert "shell" not in names


@pytest.mark.parametrize("tool", ["python", "shell"])
def test_what_other_programs_would_execute_is_moved_and_the_model_is_told(tmp_path: Path, tool: str) -> None:
    remarks: list[str] = []

    async def body(use: Use) -> None:
        writes = {"python": {"code": "open('.envrc', 'w').write('x')"}, "shell": {"command": "echo x > .envrc"}}
        result = await use(tool, **writes[tool])
        assert result.outcome == "ok"
        assert "moved '.envrc' to 'quarantined/envrc-1.txt'" in result.content
        assert "moved" not in (await use(tool, **{"python": {"code": "1"}, "shell": {"command": "true"}}[tool])).content

    workspace = session(tmp_path, body, remark=remarks.append)
    assert not (workspace / ".envrc").exists()
    assert len(remarks) == 1
    assert "'.envrc'" in remarks[0]


def test_processor_time_is_counted_over_all_cells_and_commands(tmp_path: Path) -> None:
    burn = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"

    async def body(use: Use) -> None:
        assert (await use("python", code=burn.format(0.8))).outcome == "ok"
        assert (await use("shell", command=f"python3 -c '{burn.format(0.8)}'")).outcome == "ok"
        over = await use("python", code=burn.format(60))
        assert (over.outcome, over.seconds < 20) == ("error", True)
        assert "the session used more than 3 s of processor time" in over.content
        for name, arguments in (("python", {"code": "1"}), ("shell", {"command": "true"})):
            refused = await use(name, **arguments)
            assert refused.outcome == "error"
            assert "call finish" in refused.content
        assert (await use("list_files")).outcome == "ok"

    session(tmp_path, body, Limits(cpu_total_s=3))


def test_processor_time_of_children_that_nobody_waits_for_is_counted(tmp_path: Path) -> None:
    code = """import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        end = time.process_time() + 60
        while time.process_time() < end: pass
time.sleep(25)"""

    async def body(use: Use) -> None:
        over = await use("python", code=code)
        assert over.outcome == "error"
        assert "the session used more than 2 s of processor time" in over.content

    session(tmp_path, body, Limits(cpu_total_s=2))


def test_a_flood_within_a_moment_is_cut_or_ended_and_said(tmp_path: Path) -> None:
    async def body(use: Use) -> None:
        flood = await use("python", code="import os\nfor _ in range(24): os.write(1, b'x' * (1 << 19))")
        assert "bytes of output were dropped" in flood.content or "printed more than 10 MiB" in flood.content
        endless = await use("python", code="while True: print('x' * 10000)")
        assert "printed more than 10 MiB" in endless.content
        assert len(endless.content) < 20_000

    session(tmp_path, body)


def test_a_warm_interpreter_has_what_cells_import_and_an_unused_one_ends(tmp_path: Path) -> None:
    pytest.importorskip("pandas")

    async def ready(toolbox: LocalToolbox) -> None:
        toolbox.warm_up()
        toolbox.warm_up()
        await asyncio.sleep(2.5)

    async def body(use: Use) -> None:
        assert "value: True" in (await use("python", code="import sys\n'pandas' in sys.modules")).content
        drawn = await use("python", code="import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()")
        assert [artifact.path for artifact in drawn.artifacts] == ["figure-1.png"]

    session(tmp_path, body, ready=ready)


@pytest.mark.parametrize("wait_s", [0.0, 0.31, 0.36, 0.5])
def test_a_cell_or_an_end_at_any_moment_of_the_warming_up_is_in_order(tmp_path: Path, wait_s: float) -> None:
    async def ready(toolbox: LocalToolbox) -> None:
        toolbox.warm_up()
        await asyncio.sleep(wait_s)

    async def body(use: Use) -> None:
        first = await use("python", code="x = 1\nx")
        assert (first.outcome, "value: 1" in first.content, "restarted" in first.content) == ("ok", True, False)
        assert "standard error" not in first.content

    async def nothing(use: Use) -> None:
        return None

    session(tmp_path, body, ready=ready)
    (tmp_path / "second").mkdir()
    session(tmp_path / "second", nothing, ready=ready)
