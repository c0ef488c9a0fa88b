"""The dry run with tables that nobody prepared it for: its numbers are those of the table."""

import csv
import json
import random
import statistics
from pathlib import Path

import pytest

from tests.support.program import Agent

pytest.importorskip("pandas")


def sales(path: Path, rows: int) -> list[dict[str, str]]:
    """Orders with dates, gaps and a difference between regions."""
    source = random.Random(4)
    table: list[dict[str, str]] = []
    for n in range(rows):
        region = source.choice(["north", "south", "west"])
        amount = source.gauss({"north": 100, "south": 140, "west": 60}[region], 10)
        table.append(
            {
                "ordered on": f"2025-{1 + n * 12 // rows:02d}-{1 + n % 28:02d}",
                "region": region,
                "amount": "" if n % 17 == 0 else f"{amount:.2f}",
                "units": str(source.randint(1, 9)),
            }
        )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return table


@pytest.mark.parametrize("rows", [300, 100_000])
def test_findings_can_be_recomputed_from_the_table(agent: Agent, sandboxed: None, rows: int) -> None:
    table = sales(agent.folder / "orders.csv", rows)
    done = agent("run", "what is in it?", "--dry-run", "--file", "orders.csv", "--json")
    assert done.code == 0, done.err
    answer = done.finished["answer"]
    assert f"{rows}" in answer.replace(",", "").replace(" ", "")
    findings = json.loads((agent.workspace / "findings.json").read_text(encoding="utf-8"))
    assert len(findings["findings"] if isinstance(findings, dict) else findings) >= 3
    means = {
        region: statistics.fmean(float(r["amount"]) for r in table if r["region"] == region and r["amount"])
        for region in ("south", "west")
    }
    for mean in means.values():
        assert f"{mean:.4g}" in answer or f"{mean:.2f}" in answer or f"{mean:.1f}" in answer
    assert {a["path"] for a in done.finished["artifacts"]} >= {"insights.png", "findings.md"}
    assert (agent.workspace / "insights.png").read_bytes().startswith(b"\x89PNG")


def test_one_column_is_enough(agent: Agent, sandboxed: None) -> None:
    (agent.folder / "t.csv").write_text("height\n" + "\n".join(str(150 + n % 40) for n in range(200)) + "\n")
    done = agent("run", "what is in it?", "--dry-run", "--file", "t.csv")
    assert done.code == 0, done.err
    assert "height" in done.out
    assert (agent.workspace / "insights.png").exists()


def test_without_a_table_it_works_on_the_goal(agent: Agent, sandboxed: None) -> None:
    done = agent("run", "plan a trip", "--dry-run")
    assert done.code == 0, done.err
    assert "no table" in done.out


def test_the_newest_table_of_the_workspace_is_taken(agent: Agent, sandboxed: None) -> None:
    agent.workspace.mkdir()
    (agent.workspace / "mine.csv").write_text("a,b\n" + "\n".join(f"{n},{n * n % 7}" for n in range(50)) + "\n")
    done = agent("run", "what is in it?", "--dry-run")
    assert done.code == 0, done.err
    assert "mine.csv" in done.out
