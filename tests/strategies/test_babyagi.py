"""The strategy with a task list, driven by hand. What BabyAGI got wrong is each a test here, or named beside one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import agentrunner
from agentrunner.engine.structured import read_value
from agentrunner.strategies import STRATEGIES
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.types import (
    Act,
    Answer,
    Ask,
    Budget,
    Completion,
    Notice,
    Par,
    Session,
    Step,
    StepError,
    Strategy,
    ToolCall,
    ToolResult,
    Usage,
)

JSON = dict[str, Any]
SESSION = Session(
    "s1", "count the words", "babyagi", prompts=load_prompts(), template=fill_in, date="2026-01-01", first_task="Count"
)


class Driven:
    """The strategy with its last request in hand. Its own calls are answered by `recalled`, and its tasks, one after
    the other, by the texts of `results` (none: given up)."""

    def __init__(self, session: Session = SESSION, recalled: str = "") -> None:
        self.strategy = STRATEGIES["babyagi"](session)
        self.recalled = recalled
        self.results: list[str | None] = []
        self.rows: dict[str, JSON] = {}
        self.prompts: dict[str, list[str]] = {}
        """By branch, what each task's first request said."""
        self.answer: Answer | None = None
        self.number = 0
        self.ask: Ask = self._on(None)

    def reply(self, value: object = None, text: str = "", *notices: Notice, **more: Any) -> Ask:
        """Answer the request with this JSON, or this text as a model wrote it."""
        text = text or ("" if value is None else json.dumps(value))
        self.number += 1
        step = Step(
            f"/llm:{self.number}", self.number, Completion({}, text, usage=Usage(10, 0, 10)), (), notices, **more
        )
        if self.ask.schema is not None and step.error is None:
            read, problem = read_value(text, self.ask.schema)
            step = replace(step, value=read, error=StepError("malformed", problem) if problem else None)
        self.ask = self._on(step)
        return self.ask

    def _on(self, reply: Any) -> Ask:
        while True:
            try:
                op = self.strategy.send(reply)
            except StopIteration as end:
                self.answer = end.value
                return Ask("", self.ask.conversation)
            if isinstance(op, Ask):
                return op
            reply = [self._act(call) for call in op.calls] if isinstance(op, Act) else self._par(op)

    def _act(self, call: ToolCall) -> ToolResult:
        if call.name == "tasks":
            self.rows |= {row["id"]: row for row in call.arguments["tasks"]}
        return ToolResult(call.id, call.name, "ok", self.recalled if call.name == "recall" else "ok")

    def _par(self, par: Par) -> list[Answer]:
        return [self._branch(name, branch) for name, branch in zip(par.names, par.branches, strict=True)]

    def _branch(self, name: str, branch: Strategy) -> Answer:
        op = next(branch)
        assert isinstance(op, Ask)
        self.prompts[name] = [message.content for message in op.conversation.messages]
        result = self.results.pop(0)
        arguments = {"answer": result or "no", "outcome": "gave_up" if result is None else "done"}
        call = ToolCall("c", "finish", arguments)
        done = ToolResult("c", "finish", "ok", "finished")
        try:
            branch.send(Step(f"/{name}/llm:1", 0, Completion({}, calls=(call,)), (done,)))
        except StopIteration as end:
            return end.value
        raise AssertionError("one step ends it")

    def said(self) -> str:
        return self.ask.conversation.messages[0].content


def tasks(*titles: str, met: Sequence[int] = (), done: bool = False) -> JSON:
    return {"tasks": [{"title": title, "depends_on": []} for title in titles], "met": list(met), "done": done}


def criteria(*texts: str) -> JSON:
    return {"criteria": list(texts)}


def met(*verdicts: bool) -> JSON:
    return {"criteria": [{"number": n, "met": yes, "why": "seen"} for n, yes in enumerate(verdicts, 1)]}


def begun(*results: str | None, session: Session = SESSION, recalled: str = "") -> Driven:
    """Criteria are written, and the first tasks have these results."""
    driven = Driven(session, recalled)
    driven.results = list(results)
    driven.reply(criteria("it is counted"))
    return driven


def test_it_is_short_and_touches_nothing_but_its_room() -> None:
    source = (Path(agentrunner.__file__).parent / "strategies" / "babyagi.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) < 200
    assert not {"open(", "asyncio", "time", "random", "import os", "import re"} & set(source.split())


def test_criteria_are_written_before_the_first_task() -> None:
    driven = Driven(replace(SESSION, first_task=""))
    assert driven.ask.label == "criteria"
    assert "count the words" in driven.said()
    assert driven.reply(criteria("it is counted")).label == "create"
    assert "1. it is counted" in driven.said()


@pytest.mark.parametrize("value", [criteria(), criteria("", "  ")])
def test_without_criteria_the_goal_is_the_criterion(value: JSON) -> None:
    driven = Driven(replace(SESSION, first_task=""))
    driven.reply(value)
    assert "1. count the words" in driven.said()


# --- what the original got wrong ---------------------------------------------------------------------------------


def test_results_not_names_are_in_the_request_of_a_later_task() -> None:
    driven = begun("the report has 812 words", "812", recalled="[t1] Count: the report has 812 words")
    driven.reply(tasks("Say it"))
    assert "the report has 812 words" in driven.prompts["t2"][1]


def test_a_task_is_given_the_results_that_it_depends_on_even_when_nothing_is_found() -> None:
    driven = begun("the report has 812 words", "812")
    driven.reply({"tasks": [{"title": "Say it", "depends_on": ["t1"]}], "met": [], "done": False})
    assert "the report has 812 words" in driven.prompts["t2"][1]


def test_numbers_in_an_order_are_no_ids_and_no_result_is_overwritten() -> None:
    driven = begun("one", "two", "three", "four", "five", "six")
    driven.reply(tasks("Eat apples", "Cook beans", "Mill corn"))
    driven.reply({"order": ["2", "1", "t4", "t1"]})
    driven.reply(tasks("Dig ditches"))
    driven.reply(tasks("Sow peas"))
    driven.reply(tasks())
    driven.reply({"order": ["1", "2", "6", "t6"]})
    results = {id_: row["result"] for id_, row in driven.rows.items()}
    assert results == {"t1": "one", "t4": "two", "t2": "three", "t3": "four", "t6": "five", "t5": "six"}


def test_tasks_that_the_order_leaves_out_are_done_all_the_same() -> None:
    driven = begun("one", *["more"] * 5)
    driven.reply(tasks("Eat apples", "Cook beans", "Mill corn", "Dig ditches", "Sow peas"))
    assert driven.ask.label == "prioritise"
    driven.reply({"order": ["t6"]})
    assert list(driven.prompts) == ["t1", "t6", "t2", "t3", "t4"]
    for _ in range(4):
        driven.reply(tasks())
    assert list(driven.prompts) == ["t1", "t6", "t2", "t3", "t4", "t5"]


def test_punctuation_of_a_task_reaches_the_model() -> None:
    title = "Fetch https://x.io/a-b.html v2.5"
    driven = begun("one", "two")
    driven.reply(tasks(title))
    assert title in driven.prompts["t2"][1]
    assert driven.rows["t2"]["title"] == title


def test_a_preface_line_is_not_a_task() -> None:
    driven = begun("one", "two")
    text = "Sure! Here are the new tasks you asked for.\n1. Not a task.\n" + json.dumps(tasks("Say it"))
    driven.reply(text=text)
    assert [row["title"] for row in driven.rows.values()] == ["Count", "Say it"]


def test_a_numbered_list_is_mended_by_the_model_and_never_parsed() -> None:
    driven = begun("one", "two")
    driven.reply(text="1. Say it.\n2. Say it again.")
    assert driven.ask.label == "repair"
    assert "could not be read as JSON" in driven.ask.conversation.messages[-1].content
    driven.reply(tasks("Say it"))
    assert [row["title"] for row in driven.rows.values()] == ["Count", "Say it"]


def test_an_answer_that_stays_unreadable_is_done_without() -> None:
    driven = begun("one")
    for label in ("create", "repair", "repair"):
        assert driven.ask.label == label
        driven.reply(text="no idea")
    assert driven.ask.label == "verify"


def test_a_request_that_overflows_is_not_made_again() -> None:
    driven = begun("one")
    driven.reply(error=StepError("overflow", "too long"))
    assert driven.ask.label == "verify"


# --- the end -----------------------------------------------------------------------------------------------------


def test_it_ends_when_a_separate_request_finds_the_criteria_met_by_the_evidence() -> None:
    driven = begun("812 words", recalled="read_file(path='a.md'): eight hundred")
    driven.reply(tasks("Never done", met=[1], done=True))
    assert driven.ask.label == "verify"
    assert "812 words" in driven.said()
    assert "eight hundred" in driven.said()
    driven.reply(met(True))
    assert driven.ask.label == "summary"
    driven.reply(text="812 words [t1].")
    assert driven.answer == Answer("812 words [t1].")


@pytest.mark.parametrize(
    "verdict", [met(False), {"criteria": []}, {"criteria": [{"number": 9, "met": True, "why": ""}]}]
)
def test_a_claim_that_does_not_hold_goes_on_with_what_is_missing(verdict: JSON) -> None:
    driven = begun("nothing", "812")
    driven.reply(tasks(done=True))
    driven.reply(verdict)
    assert driven.ask.label == "create"
    assert "it is counted" in driven.said().split("Still missing")[1]
    driven.reply(tasks("Really count"))
    assert driven.rows["t2"]["status"] == "done"


def test_when_nothing_new_is_worth_a_task_it_gives_up_with_a_summary() -> None:
    driven = begun("nothing")
    driven.reply(tasks())
    driven.reply(met(False))
    driven.reply(tasks("count"))  # the same as the first one
    assert driven.ask.label == "summary"
    driven.reply(text="It was not counted [t1].")
    assert driven.answer is not None
    assert (driven.answer.outcome, driven.answer.text) == ("gave_up", "It was not counted [t1].")
    assert "it is counted" in driven.answer.reason


@pytest.mark.parametrize("text", ["", "There are 812 words."])
def test_a_summary_without_citations_gets_the_results_it_rests_on(text: str) -> None:
    driven = begun("812 words")
    driven.reply(tasks(done=True))
    driven.reply(met(True))
    driven.reply(text=text) if text else driven.reply(error=StepError("overflow", "too long"))
    assert driven.answer is not None
    assert driven.answer.text.startswith(text)
    assert "[t1] Count: 812 words" in driven.answer.text


def test_a_task_that_failed_twice_is_set_aside_and_another_way_is_asked_for() -> None:
    driven = begun(None, None)
    assert driven.ask.label == "create"
    assert "set aside" in driven.said()
    assert "It was tried before and failed" in driven.prompts["t1-2"][1]
    assert (driven.rows["t1"]["status"], driven.rows["t1"]["tries"]) == ("set_aside", 2)


def test_what_a_person_says_becomes_a_criterion() -> None:
    driven = begun("812")
    driven.reply(tasks(done=True))
    driven.reply(met(True))
    driven.reply(None, "812 [t1]", Notice("message", "also the longest word"))
    assert driven.ask.label == "create"
    assert "2. also the longest word" in driven.said()


# --- rounds ------------------------------------------------------------------------------------------------------


def test_a_round_has_at_most_four_tasks_whatever_runs_at_a_time() -> None:
    driven = begun("one", *["more"] * 6)
    driven.reply(tasks("Eat apples", "Cook beans", "Mill corn", "Dig ditches", "Sow peas", "Pick plums"))
    driven.reply({"order": []})
    assert list(driven.prompts) == ["t1", "t2", "t3", "t4", "t5"]


def test_a_guard_s_notice_is_in_the_next_request_for_tasks() -> None:
    driven = begun("one", *["more"] * 6)
    driven.reply(tasks("Eat apples", "Cook beans"))
    driven.reply({"order": []}, "", Notice("nudge", "the list only grows"))
    assert driven.ask.label == "create"
    assert "the list only grows" in driven.said()


def test_progress_is_the_same_while_a_list_only_grows_and_other_when_it_shrinks() -> None:
    driven = begun("one", *["more"] * 20)
    seen: list[str | None] = []
    titles = iter(f"Count part {n}" for n in range(100))
    for more in (2, 2, 2, 0):
        while driven.ask.label == "create":
            driven.reply(tasks(*(next(titles) for _ in range(more))))
        seen.append(driven.ask.progress)
        driven.reply({"order": []})
    assert seen[0] == seen[1] == seen[2] != seen[3]


def test_a_task_s_share_is_half_of_what_is_left_for_its_round() -> None:
    driven = begun("one", session=replace(SESSION, budget=Budget(21, None, None, None)))
    assert "It may take 10 steps." in driven.prompts["t1"][1]


def test_without_limits_no_share_is_said() -> None:
    driven = begun("one", session=replace(SESSION, budget=Budget(None, None, None, None)))
    assert "steps" not in driven.prompts["t1"][1]
