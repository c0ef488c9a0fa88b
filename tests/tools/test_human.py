"""Asking and finishing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.tools.support import Bench, bench, call

SCHEMA = {
    "type": "object",
    "properties": {"rows": {"type": "integer"}, "names": {"type": "array", "items": {"type": "string"}}},
    "required": ["rows"],
}


def test_a_question_is_for_a_person_and_the_tool_itself_answers_nothing(tmp_path: Path) -> None:
    use = bench(tmp_path)
    decision = use.toolbox.decide(call("ask_user", question="Which year?"))
    assert (decision.action, decision.kind, decision.text) == ("ask", "input", "Which year?")
    assert "needs a person" in use.error("ask_user", question="Which year?")
    alone = bench(tmp_path, approve="yes").toolbox.decide(call("ask_user", question="Which year?"))
    assert (alone.action, "decide yourself" in alone.text.lower()) == ("answer", True)


def test_finishing_hands_over_artifacts(tmp_path: Path) -> None:
    use = bench(tmp_path)
    (use.workspace / "plots").mkdir()
    (use.workspace / "plots/a.png").write_bytes(b"data")
    result = use("finish", answer="Done.", artifacts=["plots/a.png"])
    assert result.outcome == "ok"
    (artifact,) = result.artifacts
    assert (artifact.path, artifact.bytes, artifact.sha256) == ("plots/a.png", 4, hashlib.sha256(b"data").hexdigest())
    assert use("finish", answer="Done.", artifacts="plots/a.png").artifacts == result.artifacts
    assert use.toolbox.decide(call("finish", answer="x")).action == "run"


@pytest.mark.parametrize(
    ("path", "why"),
    [("none.png", "does not exist"), ("empty.png", "is empty"), ("folder", "is a folder"), ("../x", "leaves")],
)
def test_an_artifact_that_cannot_be_handed_over_is_refused_with_the_reason(tmp_path: Path, path: str, why: str) -> None:
    use = bench(tmp_path)
    (use.workspace / "empty.png").touch()
    (use.workspace / "folder").mkdir()
    (tmp_path / "x").write_text("x")
    said = use.error("finish", answer="Done.", artifacts=[path])
    assert why in said
    assert "call finish again without it" in said


def test_an_empty_answer_or_a_made_up_outcome_is_refused(tmp_path: Path) -> None:
    use = bench(tmp_path)
    assert "`answer` is empty" in use.error("finish", answer=" \n")
    assert "must be one of 'done', 'gave_up'" in use.error("finish", answer="x", outcome="success")
    assert use.ok("finish", answer="Cannot.", outcome="gave_up").startswith("finished: given up")


def test_an_answer_with_a_schema_must_fit_it(tmp_path: Path) -> None:
    use = bench(tmp_path, output_schema=SCHEMA)
    use.ok("finish", answer=json.dumps({"rows": 3, "names": ["a"]}))
    assert "must be JSON" in use.error("finish", answer="There are 3 rows.")
    assert "at $.names[0]: 1 is not of type 'string'" in use.error("finish", answer='{"rows": 3, "names": [1]}')
    assert "'rows' is a required property" in use.error("finish", answer="{}")
    use.ok("finish", answer="It cannot be done.", outcome="gave_up")


def test_the_bench_itself_keeps_results_apart(tmp_path: Path) -> None:
    use: Bench = bench(tmp_path)
    assert use("list_files").saved_as == ""
