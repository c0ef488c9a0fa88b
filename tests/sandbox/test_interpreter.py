"""The stateful interpreter: what cells return, what they leave, and what happens when they go wrong."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import pytest

from agentrunner.sandbox import Cell, Limits

from .conftest import MAIN, Box

needs_matplotlib = pytest.mark.skipif(not importlib.util.find_spec("matplotlib"), reason="matplotlib is not installed")
needs_pandas = pytest.mark.skipif(not importlib.util.find_spec("pandas"), reason="pandas is not installed")


def run_cells(box: Box, *cells: str, timeout_s: float = 20) -> list[Cell]:
    async def running() -> list[Cell]:
        python = await box.sandbox.interpreter()
        try:
            return [await python.execute(cell, timeout_s) for cell in cells]
        finally:
            await python.aclose()

    return asyncio.run(running())


def test_variables_live_from_cell_to_cell_and_the_last_expression_is_shown(main_box: Box) -> None:
    first, second, third = run_cells(
        main_box, "x = 20\nprint('out')\nimport sys; print('err', file=sys.stderr)", "x + 1", "x = 1"
    )
    assert (first.ok, first.stdout, first.stderr, first.value) == (True, "out\n", "err\n", "")
    assert (second.ok, second.stdout, second.value) == (True, "", "21")
    assert (third.ok, third.value) == (True, "")


def test_output_of_c_code_and_of_subprocesses_is_caught(main_box: Box) -> None:
    (cell,) = run_cells(
        main_box, "import os, subprocess\nos.write(1, b'raw ')\nsubprocess.run(['echo', 'child'])\nNone"
    )
    assert cell.stdout == "raw child\n"


def test_a_traceback_shows_the_cells_own_lines_only(main_box: Box) -> None:
    bad = "import json\ndef load(text):\n    return json.loads(text)\nload('{')"
    failed, after, syntax = run_cells(main_box, bad, "load('[1]')", "1 +")
    assert not failed.ok
    assert '"<cell 1>", line 4' in failed.error
    assert "return json.loads(text)" in failed.error
    assert "JSONDecodeError" in failed.error
    assert "worker" not in failed.error
    assert "decoder.py" not in failed.error
    assert after.value == "[1]"
    assert "SyntaxError" in syntax.error
    assert "<cell 3>" in syntax.error


def test_leaving_the_program_does_not_end_the_interpreter(main_box: Box) -> None:
    left, failed, after = run_cells(main_box, "x = 1\nraise SystemExit", "import sys; sys.exit(3)", "x")
    assert left.ok
    assert (failed.ok, failed.error) == (False, "SystemExit: 3")
    assert after.value == "1"


def test_a_cell_that_sleeps_too_long_is_interrupted_and_keeps_its_variables(main_box: Box) -> None:
    _, slow, after = run_cells(main_box, "x = 1", "import time; time.sleep(60)", "x", timeout_s=0.5)
    assert slow.stopped == "it ran longer than 0.5 s and was interrupted; variables are kept"
    assert (slow.ok, slow.state_lost) == (False, False)
    assert after.value == "1"


def test_a_cell_that_ignores_the_interrupt_is_killed_and_says_that_the_state_is_lost(main_box: Box) -> None:
    stubborn = "import time\nprint('here', flush=True)\nwhile True:\n try: time.sleep(9)\n except BaseException: pass"
    began = time.monotonic()
    slow, after = run_cells(main_box, stubborn, "'stubborn' in dir()", timeout_s=0.5)
    assert time.monotonic() - began < 5
    assert (slow.ok, slow.state_lost, slow.stdout) == (False, True, "here\n")
    assert slow.stopped == "it ran longer than 0.5 s"
    assert after.value == "False"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("import os; os._exit(3)", "the interpreter ended itself with exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", "the interpreter was killed by SIGSEGV"),
        ("import os; os.close(int(__import__('sys').orig_argv[3]))", "it broke the channel to its interpreter"),
    ],
    ids=["exit", "signal", "channel"],
)
def test_an_interpreter_that_dies_says_why_and_the_next_cell_gets_a_new_one(
    main_box: Box, cell: str, reason: str
) -> None:
    dead, after = run_cells(main_box, cell, "1 + 1")
    assert (dead.ok, dead.state_lost) == (False, True)
    assert dead.stopped in (reason, "the interpreter ended itself with exit code 1")
    assert (after.ok, after.value) == (True, "2")


FORGERIES = {
    "too long": "struct.pack('>I', 1 << 30)",
    "no json": "struct.pack('>I', 3) + b'abc'",
    "no object": "struct.pack('>I', 2) + b'[]'",
    "wrong types": """frame({"id": 1, "ok": "yes", "value": 1, "error": [], "figures": {}})""",
    "path": """frame({"id": 1, "ok": True, "value": "", "error": "", "figures": ["../../etc/passwd"]})""",
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_reply_is_refused_or_believed_as_text_only(open_box: Callable[..., Box], forgery: str) -> None:
    box = open_box(("full", "native"))
    cell = (
        "import json, os, struct, sys, time\n"
        "def frame(o): d = json.dumps(o).encode(); return struct.pack('>I', len(d)) + d\n"
        f"os.write(int(sys.orig_argv[3]), {forgery}); time.sleep(5)"
    )
    forged, after = run_cells(box, cell, "1")
    assert (forged.ok, forged.state_lost, forged.figures) == (False, True, ())
    assert forged.stopped == "it broke the channel to its interpreter"
    assert after.value == "1"


def test_a_fork_in_a_cell_does_not_answer_twice(main_box: Box) -> None:
    forked, after = run_cells(main_box, "import os\npid = os.fork()\n'same'", "1")
    assert (forked.value, after.value) == ("'same'", "1")


@pytest.mark.parametrize("wall", MAIN)
def test_a_cell_that_floods_or_takes_all_memory_is_ended(open_box: Callable[..., Box], wall: tuple[str, str]) -> None:
    limits = Limits(output_kill_bytes=1 << 20, output_bytes=1000, memory_bytes=256 << 20)
    box = open_box(wall, limits)
    flood, memory, cut = run_cells(
        box, "while True: print('x' * 1000)", "b = bytearray(1 << 30)", "print('a' * 5000)\n'b' * 100_000"
    )
    assert (flood.stopped, flood.state_lost) == ("it printed more than 1 MiB", True)
    assert "MemoryError" in memory.error
    assert cut.cut_bytes == 4001
    assert len(cut.value) < 70_000


def test_input_finds_nobody(main_box: Box) -> None:
    (cell,) = run_cells(main_box, "input('name? ')")
    assert "EOFError" in cell.error


def test_modules_of_the_workspace_can_be_imported_but_hide_no_package(main_box: Box) -> None:
    (main_box.workspace / "helper.py").write_text("def twice(x):\n    return 2 * x / 0\n")
    (main_box.workspace / "json.py").write_text("raise RuntimeError('shadow')\n")
    cell, other = run_cells(main_box, "import helper; helper.twice(2)", "import json; json.dumps(1)")
    assert "helper.py" in cell.error
    assert "return 2 * x / 0" in cell.error
    assert other.value == "'1'"


def test_functions_of_a_cell_can_be_pickled(main_box: Box) -> None:
    cell, _ = run_cells(main_box, "import pickle\ndef f(x): return x + 1\npickle.loads(pickle.dumps(f))(1)", "1")
    assert cell.value == "2"


@needs_pandas
def test_a_table_is_shown_as_text(main_box: Box) -> None:
    (cell,) = run_cells(main_box, "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})", timeout_s=60)
    assert cell.value.split() == ["a", "b", "0", "1", "x", "1", "2", "y"]


@needs_matplotlib
def test_open_figures_are_saved_and_nothing_is_overwritten(main_box: Box) -> None:
    (main_box.workspace / "figure-1.png").write_bytes(b"mine")
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nplt.figure(); plt.plot([2, 1])\nNone"
    drawn, own, none = run_cells(
        main_box, plot, "plt.plot([1]); plt.savefig('own.png')", "plt.get_fignums()", timeout_s=60
    )
    assert drawn.ok, drawn.error
    assert drawn.figures == ("figure-2.png", "figure-3.png")
    assert "non-interactive" not in drawn.stderr
    assert (main_box.workspace / "figure-1.png").read_bytes() == b"mine"
    for name in drawn.figures:
        assert (main_box.workspace / name).read_bytes().startswith(b"\x89PNG")
    assert own.figures == ()
    assert (main_box.workspace / "own.png").stat().st_size > 1000
    assert none.value == "[]"


def test_cells_asked_for_at_once_run_one_after_the_other(main_box: Box) -> None:
    async def at_once() -> list[Any]:
        python = await main_box.sandbox.interpreter()
        cells = ["x = []", *["import time; time.sleep(0.01); x.append(len(x)); x[-1]"] * 5]
        found = [cell.value for cell in await asyncio.gather(*[python.execute(cell, 10) for cell in cells])]
        await python.aclose()
        return found

    assert asyncio.run(at_once()) == ["", "0", "1", "2", "3", "4"]


def test_a_cancelled_cell_leaves_an_interpreter_that_works(main_box: Box) -> None:
    async def cancelled() -> Cell:
        python = await main_box.sandbox.interpreter()
        cell = asyncio.create_task(python.execute("import time; time.sleep(30)", 60))
        await asyncio.sleep(0.1)
        cell.cancel()
        await asyncio.gather(cell, return_exceptions=True)
        after = await python.execute("1", 10)
        await main_box.sandbox.aclose()
        return after

    assert asyncio.run(cancelled()).value == "1"
