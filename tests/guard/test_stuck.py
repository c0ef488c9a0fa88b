"""The detector as the engine uses it: each case that trips it has a near miss that does not."""

from agentrunner.guard.stuck import StuckDetector
from agentrunner.types import Completion, Step, ToolCall, ToolResult


def step(number: int, content: str, path: str = "a.txt", saved_as: str = "") -> Step:
    call = ToolCall(f"c{number}", "read_file", {"path": path})
    result = ToolResult(f"c{number}", "read_file", "ok", content, saved_as=saved_as)
    return Step(f"/llm:{number}", number, Completion({}, calls=(call,)), (result,))


def verdicts(*steps: Step) -> list[str]:
    detector = StuckDetector()
    found = [detector.after(each) for each in steps]
    return [verdict.action if verdict else "" for verdict in found]


def test_the_same_call_with_the_same_result_is_nudged_replanned_then_stopped() -> None:
    assert verdicts(*(step(n, "same") for n in range(1, 6))) == ["", "", "nudge", "replan", "stop"]


def test_the_same_call_with_news_goes_on() -> None:
    assert verdicts(*(step(n, f"line {n}") for n in range(1, 9))) == [""] * 8


def test_other_arguments_with_the_same_result_go_on() -> None:
    assert verdicts(*(step(n, "empty", path=f"{n}.txt") for n in range(1, 9))) == [""] * 8


def test_three_then_another_goes_on() -> None:
    assert verdicts(*(step(n, "same") for n in (1, 2, 3)), step(4, "other"), step(5, "same"))[-2:] == ["", ""]


def test_the_name_under_which_a_long_result_was_saved_is_no_news() -> None:
    same = [step(n, f"cut; see @output/{n}-0.txt", saved_as=f"@output/{n}-0.txt") for n in range(1, 6)]
    assert verdicts(*same)[-1] == "stop"


def test_the_verdict_names_its_evidence() -> None:
    detector = StuckDetector()
    found = [detector.after(step(n, "same")) for n in (4, 5, 6, 7)][-1]
    assert found is not None
    assert found.evidence == (4, 5, 6, 7)
    assert "read_file" in found.reason
