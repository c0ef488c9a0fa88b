"""The packaged rehearsal on all sorts of tables: its code really runs, and its findings are computed again.

That is done without pandas, from the values that were written into the table.
"""

import asyncio
import csv
import json
import math
import os
import random
import socket
import statistics
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import agentrunner
from agentrunner.llm.scripted import ScriptedModel, load_script
from agentrunner.types import Event, Message, Request, ToolCall
from tests.llm.parts import Talk
from tests.support.cells import WITHOUT_PANDAS, Cells, warm_interpreter

pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

SCRIPT = Path(agentrunner.__file__).parent / "scripts" / "analyse.yaml"
PENGUINS = Path(__file__).parent.parent / "examples" / "penguins.csv"
GOAL = 'Find "the" most important \\insights\\ in this data {{result}}\nand visualise them'

Row = dict[str, Any]


@dataclass
class Rehearsal:
    """The packaged script played through, with tools as simple as can be."""

    folder: Path
    file: str
    warm: socket.socket | None = None
    fresh_interpreters: bool = False
    without_pandas: bool = False
    results: dict[int, str] = field(default_factory=dict[int, str])
    answer: str = ""
    artifacts: list[str] = field(default_factory=list[str])
    noise: str = ""
    seconds: float = 0.0

    def play(self) -> "Rehearsal":
        model = ScriptedModel(load_script(SCRIPT), goal=GOAL, file=self.file)
        talk = Talk(Message("user", GOAL))
        cells = self.interpreter()
        began = time.monotonic()
        for step in range(1, 20):
            request = Request(f"/llm:{step}", "step", talk, "", (), None, 10_000, 10.0)
            completion = asyncio.run(model.complete(request, None))
            assert completion.thoughts is not None
            assert completion.thoughts.plan
            for call in completion.calls:
                if call.name == "finish":
                    self.answer, self.artifacts = call.arguments["answer"], call.arguments["artifacts"]
                    self.seconds = time.monotonic() - began
                    self.noise += cells.end()
                    return self
                if call.name == "python" and self.fresh_interpreters:
                    self.noise += cells.end()
                    cells = self.interpreter()
                self.results[step] = self.run(call, cells)
                model.remember(Event("s", step, "", "tool.finished", "", {"step": step, "content": self.results[step]}))
        raise AssertionError("the script does not finish")

    def interpreter(self) -> Cells:
        return Cells(self.folder, self.warm, WITHOUT_PANDAS if self.without_pandas else "")

    def run(self, call: ToolCall, cells: Cells) -> str:
        arguments = call.arguments
        if call.name == "python":
            return "ok\n" + cells.run(arguments["code"])
        path = self.folder / arguments["path"]
        if call.name == "write_file":
            path.write_text(arguments["content"], encoding="utf-8")
            return f"wrote {arguments['path']}"
        return (
            path.read_text("utf-8") if call.name == "read_file" else "\n".join(sorted(p.name for p in path.iterdir()))
        )

    @property
    def findings(self) -> list[Row]:
        return json.loads((self.folder / "findings.json").read_text("utf-8"))["findings"]


# --- tables ------------------------------------------------------------------------------------------------------

DICE = random.Random(7)


def sales(count: int = 160, gap: float = 0.15) -> list[Row]:
    rows: list[Row] = []
    for n in range(count):
        day = date(2023, 1, 1) + timedelta(days=3 * n)
        revenue = None if DICE.random() < gap else round(100 + n * 0.8 + DICE.gauss(0, 20), 2)
        rows.append({"Order Date": day, "Region": DICE.choice("NSE"), "Net revenue": revenue})
    return rows


def measured(count: int = 90) -> list[Row]:
    rows: list[Row] = []
    for _ in range(count):
        group, x = DICE.choice(["$1", "low", "{{goal}}"]), round(DICE.gauss(0, 1), 4)
        rows.append({"a$b_{x}": x, "50 %_\\frac": round(2 * x + DICE.gauss(0, 1), 4), "{kind}": group})
    return rows


def flags(count: int = 80) -> list[Row]:
    return [
        {"active": (on := DICE.random() < 0.4), "score": round(DICE.gauss(7 if on else 5, 1), 3)} for _ in range(count)
    ]


def big() -> list[Row]:
    rows: list[Row] = []
    for n in range(100_000):
        group, x = DICE.choice("abcdef"), DICE.gauss(0, 1)
        rows.append({"id": n, "group": group, "x": round(x, 3), "y": round(x + DICE.gauss(0, 1), 3)})
    return rows


def priced(count: int = 60) -> list[Row]:
    return [
        {"code": f"{n:05d}", "price": round(DICE.uniform(500, 5000), 2), "size": DICE.choice("SML")}
        for n in range(count)
    ]


def penguins() -> list[Row]:
    number = {"bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "year"}
    with PENGUINS.open(encoding="utf-8") as file:
        return [
            {k: None if v in ("", "NA") else float(v) if k in number else v for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def text_of(rows: list[Row], mark: str = ",", **ways: Any) -> str:
    """The table as text; `ways` says how a column's values are written."""
    lines = [mark.join(rows[0])]
    for row in rows:
        cells = (ways.get(name.split()[0], str)(value) if value is not None else "" for name, value in row.items())
        lines.append(mark.join(f'"{cell}"' if mark in cell or not cell else cell for cell in cells))
    return "\n".join(lines) + "\n"


def comma(value: float) -> str:
    return str(value).replace(".", ",")


TABLES: dict[str, tuple[list[Row], str, str]] = {
    "other column names, missing values and dates": ((r := sales()), text_of(r), "utf-8"),
    "semicolons, decimal commas, day.month.year": (
        (r := sales()),
        text_of(r, ";", Net=comma, Order=lambda day: day.strftime("%d.%m.%Y")),
        "utf-8-sig",
    ),
    "latin-1 with tabs": (
        (r := [{"Stadt": c, "Größe": s} for c, s in zip(["München", "Köln", "Bonn"] * 9, range(27), strict=True)]),
        text_of(r, "\t"),
        "latin-1",
    ),
    "names that look like mathematics": ((r := measured()), text_of(r), "utf-8"),
    "booleans": ((r := flags()), text_of(r), "utf-8"),
    "numbers as text and codes": ((r := priced()), text_of(r, price=lambda p: f"${p:,.2f}"), "utf-8"),
    "one column of numbers": (
        (r := [{"x": round(DICE.lognormvariate(0, 1), 3)} for _ in range(60)]),
        text_of(r),
        "utf-8",
    ),
    "one column of text": ((r := [{"said": s} for s in ["good, really", "bad", None, "meh"] * 8]), text_of(r), "utf-8"),
    "one column of names": ((r := [{"name": f"n{n}"} for n in range(30)]), text_of(r), "utf-8"),
    "one constant column": ((r := [{"k": 1} for _ in range(12)]), text_of(r), "utf-8"),
    "one row": ((r := [{"a": 1, "b": "x"}]), text_of(r), "utf-8"),
    "a column with nothing in it": ((r := [{"a": None, "b": n % 7, "c": "k"} for n in range(40)]), text_of(r), "utf-8"),
}


@pytest.fixture(scope="module")
def warm() -> Iterator[socket.socket]:
    with warm_interpreter() as opened:
        yield opened


@pytest.fixture(scope="module")
def on_penguins(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    folder = tmp_path_factory.mktemp("penguins")
    (folder / "penguins.csv").write_bytes(PENGUINS.read_bytes())
    return Rehearsal(folder, "penguins.csv").play()


def rehearse(
    warm: socket.socket, folder: Path, text: str | bytes, name: str = "table.csv", encoding: str = "utf-8"
) -> Rehearsal:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return Rehearsal(folder, name, warm).play()


# --- computing again ---------------------------------------------------------------------------------------------


def present(rows: list[Row], *names: str) -> list[list[Any]]:
    found = [[row[name] for name in names] for row in rows]
    return [values for values in found if all(value is not None for value in values)]


def computed_again(one: Row, rows: list[Row]) -> tuple[int, float]:
    """n and value of a finding from the values themselves."""
    kind, names = one["kind"], one["columns"]
    if kind in ("correlation", "reversal", "trend"):
        pairs = present(rows, *names[:2])
        first, second = zip(*pairs, strict=True)
        if kind == "trend" and isinstance(second[0], date):
            second = [day.toordinal() for day in second]
        return len(pairs), statistics.correlation(first, second)
    if kind == "group_difference":
        return explained(one, present(rows, *names))
    if kind == "association":
        return cramers_v(present(rows, *names))
    values = [value for [value] in present(rows, names[0])] if names else []
    if kind == "outliers":
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        fence = 1.5 * (high - low)
        return len(values), sum(not low - fence <= value <= high + fence for value in values)
    if kind == "busiest":
        return len(values), sum(one["start"][:10] <= str(value)[:10] <= one["end"][:10] for value in values)
    complete = sum(all(value is not None for value in row.values()) for row in rows)
    return {
        "distribution": lambda: (len(values), statistics.median(values)),
        "share": lambda: (len(values), Counter(values).most_common(1)[0][1]),
        "missing": lambda: (len(rows), len(rows) - len(values)),
        "complete": lambda: (len(rows), complete),
        "duplicates": lambda: (len(rows), len(rows) - len({tuple(row.values()) for row in rows})),
        "distinct": lambda: (len(values), len(set(values))),
        "size": lambda: (len(rows), len(rows[0])),
    }[kind]()


def explained(one: Row, pairs: list[list[Any]]) -> tuple[int, float]:
    groups: dict[Any, list[float]] = {}
    for value, group in pairs:
        groups.setdefault(group, []).append(value)
    groups = {group: values for group, values in groups.items() if len(values) >= one["min_group"]}
    means = {str(group): statistics.fmean(values) for group, values in groups.items()}
    assert one["high"]["mean"] == pytest.approx(max(means.values()))
    assert one["low"]["mean"] == pytest.approx(min(means.values()))
    assert means[str(one["high"]["group"])] == max(means.values())
    every = [value for values in groups.values() for value in values]
    middle = statistics.fmean(every)
    whole = sum((value - middle) ** 2 for value in every)
    return len(every), sum(len(v) * (statistics.fmean(v) - middle) ** 2 for v in groups.values()) / whole


def cramers_v(pairs: list[list[Any]]) -> tuple[int, float]:
    both = Counter(map(tuple, pairs))
    one, two = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    n = len(pairs)
    chi2 = sum((both[a, b] - one[a] * two[b] / n) ** 2 / (one[a] * two[b] / n) for a in one for b in two)
    return n, math.sqrt(chi2 / n / (min(len(one), len(two)) - 1))


def colours(png: bytes) -> int:
    """How many different byte values the picture's pixels have; a blank one has very few."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    place, packed = 8, b""
    while place < len(png):
        (size,) = struct.unpack(">I", png[place : place + 4])
        packed += png[place + 8 : place + 8 + size] if png[place + 4 : place + 8] == b"IDAT" else b""
        place += size + 12
    return len(set(zlib.decompress(packed)))


def check(done: Rehearsal, rows: list[Row]) -> None:
    assert done.noise == ""
    assert len(done.findings) >= 3
    for one in done.findings:
        n, value = computed_again(one, rows)
        assert one["n"] == n, one
        assert one["value"] == pytest.approx(value, rel=1e-6), one
        assert one["title"] in done.answer
        assert one["sentence"] in done.answer
    assert done.artifacts == ["findings.md", "insights.png"]
    assert colours((done.folder / "insights.png").read_bytes()) > 40
    assert done.answer.count("\n") < 30
    assert max(len(result.encode()) for result in done.results.values()) < 16_000


# --- tests -------------------------------------------------------------------------------------------------------


def test_the_penguins_are_analysed_with_their_own_numbers(on_penguins: Rehearsal) -> None:
    check(on_penguins, penguins())
    assert len(on_penguins.findings) == 5
    assert {"group_difference", "correlation", "reversal"} <= {one["kind"] for one in on_penguins.findings}


@pytest.mark.parametrize("what", TABLES)
def test_any_other_table_is_analysed_with_its_own_numbers(warm: socket.socket, tmp_path: Path, what: str) -> None:
    rows, text, encoding = TABLES[what]
    check(rehearse(warm, tmp_path, text, encoding=encoding), rows)


def test_a_hundred_thousand_rows_take_seconds(warm: socket.socket, tmp_path: Path) -> None:
    rows = big()
    done = rehearse(warm, tmp_path, text_of(rows))
    check(done, rows)
    assert done.seconds < 15  # about 3 s on two idle cores


def test_every_cell_finds_its_way_in_a_new_interpreter(tmp_path: Path, on_penguins: Rehearsal) -> None:
    (tmp_path / "penguins.csv").write_bytes(PENGUINS.read_bytes())
    done = Rehearsal(tmp_path, "penguins.csv", fresh_interpreters=True).play()
    assert done.answer == on_penguins.answer


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("header.csv", b"a,b,c\n", "no rows"),
        ("empty.csv", b"", "it is empty"),
        ("noise.csv", bytes(range(256)) * 20, "it is not text"),
        ("letter.txt", b"Dear all,\nthis is a letter.\nIt has no columns.\nMe\n", "text without columns"),
    ],
)
def test_what_is_no_table_is_called_so(
    warm: socket.socket, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    done = rehearse(warm, tmp_path, content, name)
    assert says in done.answer
    assert done.artifacts == ["findings.md", "findings.json"]
    assert all((tmp_path / path).stat().st_size for path in done.artifacts)
    assert not (tmp_path / "insights.png").exists()


def test_without_a_table_and_without_pandas_it_still_finishes_honestly(tmp_path: Path) -> None:
    done = Rehearsal(tmp_path, "", without_pandas=True).play()
    assert "There was no table" in done.answer
    assert f"It has {len(GOAL.split())} words" in done.answer


def test_without_a_file_the_newest_table_is_taken(warm: socket.socket, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("a,b\n1,2\n2,3\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / 'it\'s "new".csv').write_text(text_of(flags()))
    os.utime(tmp_path / "old.csv", (1, 1))
    done = Rehearsal(tmp_path, "", warm).play()
    assert 'it\'s "new".csv has 80 rows' in done.answer


def test_the_deliberation_revises_a_plan_once_and_then_has_another() -> None:
    plans = [(entry.thoughts.revise, entry.thoughts.plan) for entry in load_script(SCRIPT) if entry.thoughts]
    [revised] = [number for number, (revise, _) in enumerate(plans) if revise]
    assert plans[revised][1] != plans[revised + 1][1]


def test_the_script_knows_nothing_about_penguins() -> None:
    text = "".join(path.read_text("utf-8") for path in SCRIPT.parent.rglob("*") if path.suffix in (".py", ".yaml"))
    assert "penguin" not in text.lower()
    assert "species" not in text.lower()
