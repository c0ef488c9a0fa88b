"""The default strategy, driven by hand: it is sent Steps and watched for what it wants next."""

from dataclasses import replace
from typing import Any

import pytest

from agentrunner.strategies import STRATEGIES
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.types import (
    Act,
    Answer,
    Ask,
    Completion,
    Notice,
    Session,
    Step,
    StepError,
    Thoughts,
    ToolCall,
    ToolResult,
    Usage,
)

SESSION = Session("s1", "count the words", prompts=load_prompts(), template=fill_in, date="2026-01-01")


class Driven:
    """A strategy with its last wish in hand."""

    def __init__(self, session: Session = SESSION) -> None:
        self.strategy = STRATEGIES["autogpt"](session)
        self.answer: Answer | None = None
        self.count = 0
        self.wish: Any = next(self.strategy)

    def send(self, reply: Any) -> Any:
        try:
            self.wish = self.strategy.send(reply)
        except StopIteration as end:
            self.wish, self.answer = None, end.value
        return self.wish

    def step(self, *calls: tuple[str, dict[str, Any], str], text: str = "", **more: Any) -> Any:
        """Answer an Ask with calls given as (name, arguments, outcome)."""
        self.count += 1
        made = tuple(ToolCall(f"c{i}", name, arguments) for i, (name, arguments, _) in enumerate(calls))
        results = tuple(
            ToolResult(f"c{i}", name, outcome, f"{name} {outcome}")  # pyright: ignore[reportArgumentType]
            for i, (name, _, outcome) in enumerate(calls)
        )
        completion = Completion(
            {"role": "assistant", "content": text}, text, made, more.pop("thoughts", None), more.pop("usage", None)
        )
        return self.send(Step(f"/llm:{self.count}", self.count, completion, results, **more))

    def last_words(self) -> str:
        assert isinstance(self.wish, Ask)
        return self.wish.conversation.messages[-1].content


def test_it_asks_with_goal_and_tools_first() -> None:
    driven = Driven()
    assert isinstance(driven.wish, Ask)
    assert driven.wish.label == "step"
    assert [m.role for m in driven.wish.conversation.messages] == ["system", "user"]
    assert "count the words" in driven.wish.conversation.messages[1].content


def test_an_accepted_finish_is_the_answer() -> None:
    driven = Driven()
    driven.step(("finish", {"answer": "42", "artifacts": ["a.txt"]}, "ok"))
    assert driven.answer == Answer("42", ("a.txt",))


def test_text_without_a_call_is_verified_like_a_finish() -> None:
    driven = Driven()
    wish = driven.step(text="the answer is 42")
    assert isinstance(wish, Act)
    assert (wish.calls[0].name, wish.calls[0].arguments) == ("finish", {"answer": "the answer is 42"})
    driven.send([ToolResult("answer", "finish", "ok", "finished")])
    assert driven.answer == Answer("the answer is 42")


def test_giving_up_needs_no_verification() -> None:
    driven = Driven(replace(SESSION, verify="false"))
    driven.step(("finish", {"answer": "no data", "outcome": "gave_up"}, "ok"))
    assert driven.answer == Answer("no data", outcome="gave_up")


def test_a_finish_beside_a_failed_command_is_not_believed() -> None:
    driven = Driven()
    wish = driven.step(("python", {"code": "1/0"}, "error"), ("finish", {"answer": "done"}, "ok"))
    assert isinstance(wish, Ask)
    assert "python" in driven.last_words()


def test_verification_has_three_tries_and_asks_for_another_plan() -> None:
    driven = Driven(replace(SESSION, verify="make test"))
    for attempt in range(3):
        wish = driven.step(("finish", {"answer": "done"}, "ok"))
        assert isinstance(wish, Act)
        assert wish.calls[0].arguments == {"command": "make test"}
        driven.send([ToolResult("verify", "shell", "error", "exit code 2")])
        if attempt < 2:
            assert "exit code 2" in driven.last_words()
            assert "plan" in driven.last_words()
    assert driven.answer is not None
    assert (driven.answer.text, driven.answer.outcome) == ("done", "unverified")
    assert "exit code 2" in driven.answer.reason


def test_a_passed_verification_ends_it() -> None:
    driven = Driven(replace(SESSION, verify="true"))
    driven.step(("finish", {"answer": "done"}, "ok"))
    driven.send([ToolResult("verify", "shell", "ok", "exit code 0")])
    assert driven.answer == Answer("done")


def test_criticism_that_revises_asks_for_another_plan() -> None:
    driven = Driven()
    driven.step(("list_files", {}, "ok"), thoughts=Thoughts(criticism="wrong table", revise=True))
    assert "plan has to change" in driven.last_words()


def test_criticism_that_does_not_revise_changes_nothing() -> None:
    driven = Driven()
    driven.step(("list_files", {}, "ok"), thoughts=Thoughts(criticism="could be slow"))
    assert driven.wish.conversation.messages[-1].role == "tool"


def test_an_unreadable_answer_is_mended_at_most_three_times() -> None:
    driven = Driven()
    for _ in range(3):
        driven.step(text="{broken", error=StepError("malformed", '"command" is missing'))
        assert driven.wish.label == "repair"
        assert driven.last_words() == '"command" is missing'
    driven.step(text="{broken", error=StepError("malformed", '"command" is missing'))
    assert driven.answer is not None
    assert driven.answer.outcome == "gave_up"


def test_repairs_count_anew_after_a_readable_answer() -> None:
    driven = Driven()
    for _ in range(3):
        driven.step(text="{", error=StepError("malformed", "?"))
    driven.step(("list_files", {}, "ok"))
    assert driven.wish.label == "step"
    driven.step(text="{", error=StepError("malformed", "?"))
    assert driven.wish.label == "repair"


def test_an_answer_cut_at_its_length_goes_back_without_its_calls() -> None:
    driven = Driven()
    cut = Completion(
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, "", (ToolCall("1", "write_file", {}),)
    )
    driven.send(Step("/llm:1", 1, cut, error=StepError("length", "shorter")))
    messages = driven.wish.conversation.messages
    assert "tool_calls" not in messages[-2].raw
    assert messages[-1].content == "shorter"


def test_a_persons_words_keep_it_going_after_finish() -> None:
    driven = Driven()
    wish = driven.step(("finish", {"answer": "1"}, "ok"), notices=(Notice("message", "one more thing"),))
    assert isinstance(wish, Ask)
    assert driven.last_words() == "one more thing"


def test_an_overflow_is_compacted_and_asked_again() -> None:
    driven = Driven()
    for _ in range(12):
        call = ToolCall("c", "read_file", {"path": "x"})
        result = ToolResult("c", "read_file", "ok", "word " * 1000, saved_as="@output/1-0.txt")
        driven.count += 1
        message = {"role": "assistant", "content": ""}
        driven.send(Step(f"/llm:{driven.count}", driven.count, Completion(message, "", (call,)), (result,)))
    driven.send(Step("/llm:13", 13, error=StepError("overflow", "too long")))
    assert driven.wish.label == "step"
    tools = [m.content for m in driven.wish.conversation.messages if m.role == "tool"]
    assert tools[0] == "[old result of read_file left out; read_file path='@output/1-0.txt' shows it again]"
    assert tools[-1].startswith("word ")


def test_an_overflow_with_nothing_to_leave_out_gives_up() -> None:
    driven = Driven()
    driven.send(Step("/llm:1", 1, error=StepError("overflow", "too long")))
    assert driven.answer is not None
    assert driven.answer.outcome == "gave_up"


def test_a_crowded_context_is_summarised_by_one_request() -> None:
    driven = Driven(replace(SESSION, context_tokens=1000))
    for number in range(8):
        message = {"role": "assistant", "content": f"note {number} " * 200}
        call = ToolCall("c", "list_files", {})
        result = ToolResult("c", "list_files", "ok", f"file {number}")
        driven.count += 1
        completion = Completion(message, message["content"], (call,), usage=Usage(100 if number < 7 else 2000, 0, 5, 0))
        driven.send(Step(f"/llm:{driven.count}", driven.count, completion, (result,)))
    assert driven.wish.label == "compact"
    assert "file 0" in driven.wish.conversation.messages[0].content
    driven.step(text="the summary")
    messages = driven.wish.conversation.messages
    assert driven.wish.label == "step"
    assert messages[1].content.startswith("Goal: count the words")
    assert "the summary" in messages[2].content
    assert messages[3].role == "assistant"


@pytest.mark.parametrize(
    "text", ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{% for x in y %}", "{x.__globals__}"]
)
def test_template_text_in_a_goal_stays_text(text: str) -> None:
    driven = Driven(replace(SESSION, goal=text))
    assert text in driven.wish.conversation.messages[1].content


def test_a_persons_words_give_a_failed_verification_new_tries() -> None:
    driven = Driven(replace(SESSION, verify="false"))
    for attempt in range(3):
        words = (Notice("message", "try it like this"),) if attempt == 2 else ()
        driven.step(("finish", {"answer": "done"}, "ok"), notices=words)
        driven.send([ToolResult("verify", "shell", "error", "exit code 1")])
    assert driven.answer is None
    assert isinstance(driven.wish, Ask)


def test_a_persons_words_give_an_unreadable_model_new_tries() -> None:
    driven = Driven()
    for attempt in range(4):
        words = (Notice("message", "answer plainly"),) if attempt == 3 else ()
        driven.step(text="{", error=StepError("malformed", "?"), notices=words)
    assert driven.answer is None


def test_an_interrupted_verification_is_made_again() -> None:
    driven = Driven(replace(SESSION, verify="make test"))
    driven.step(("finish", {"answer": "done"}, "ok"))
    wish = driven.send([ToolResult("verify", "shell", "unknown", "interrupted")])
    assert isinstance(wish, Act)
    driven.send([ToolResult("verify", "shell", "ok", "exit code 0")])
    assert driven.answer == Answer("done")


def test_overflows_that_compacting_does_not_cure_end_it() -> None:
    driven = Driven()
    for _ in range(12):
        call = ToolCall("c", "read_file", {})
        result = ToolResult("c", "read_file", "ok", "word " * 1000, saved_as="@output/1-0.txt")
        driven.count += 1
        completion = Completion({"role": "assistant", "content": ""}, "", (call,))
        driven.send(Step(f"/llm:{driven.count}", driven.count, completion, (result,)))
    for _ in range(6):
        if driven.answer is not None:
            break
        if driven.wish.label == "compact":
            driven.step(text="summary")
        else:
            driven.count += 1
            driven.send(Step(f"/llm:{driven.count}", driven.count, error=StepError("overflow", "too long")))
    assert driven.answer is not None
    assert driven.answer.outcome == "gave_up"


def test_an_unreadable_answer_stays_in_the_conversation() -> None:
    driven = Driven()
    said = {"role": "assistant", "content": '{"thoughts": {}}'}
    completion = Completion(said, "", problem='"command" is missing')
    driven.send(Step("/llm:1", 1, completion, error=StepError("malformed", '"command" is missing')))
    assert driven.wish.conversation.messages[-2].raw == said


def test_a_context_that_cannot_shrink_is_not_compacted_at_every_step() -> None:
    driven = Driven(replace(SESSION, context_tokens=10))
    labels: list[str] = []
    for number in range(12):
        driven.step(("list_files", {}, "ok"), text=f"note {number}", usage=Usage(1000, 0, 1, 0))
        while driven.wish.label == "compact":
            labels.append("compact")
            driven.step(text="summary")
        labels.append("step")
    assert labels.count("compact") <= 3
