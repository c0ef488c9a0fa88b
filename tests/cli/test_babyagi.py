"""`--strategy babyagi` as its users run it: from criteria to a summary, side by side, stopped and resumed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.endpoint import Answer, Endpoint, error, text
from tests.support.program import Agent, Done
from tests.support.task_list import create, criteria, execute, finish, labels, order, rows, summary, verify

JSON = dict[str, Any]

COLOURS = [
    criteria("notes.md names three colours", "the answer says which is darkest"),
    create("Write notes.md with three colours", "Read what is there", ("Say which of the colours is darkest", ["#1"])),
    execute("write_file", "t1", path="notes.md", content="red, green, blue\n"),
    finish("notes.md has red, green, blue", "t1", artifacts=["notes.md"]),
    execute("read_file", "t2", path="old.md"),
    finish("nothing is there", "t2"),
    create(met=[1]),
    create(met=[1]),
    finish("blue is darkest", "t3", expect="notes.md has red, green, blue"),
    create(met=[1, 2], done=True),
    verify(True, True),
    summary("Blue is darkest [t3]; the list is in notes.md [t1]."),
]


def run(agent: Agent, entries: list[JSON], *more: str) -> Done:
    return agent("run", "colours", "--strategy", "babyagi", "--script", agent.script(*entries), "--json", *more)


def test_it_goes_from_criteria_to_a_summary_that_cites_tasks(agent: Agent) -> None:
    done = run(agent, COLOURS)
    assert done.code == 0, done.err
    assert labels(done.events) == [
        "criteria", "create", "execute", "execute", "execute", "execute", "create", "create", "execute", "create",
        "verify", "summary",
    ]  # fmt: skip
    assert done.finished["answer"] == "Blue is darkest [t3]; the list is in notes.md [t1]."
    assert [artifact["path"] for artifact in done.finished["artifacts"]] == ["notes.md"]
    found = rows(done.events)
    assert [(row["id"], row["status"], row["branch"]) for row in found.values()] == [
        ("t1", "done", "/t1"), ("t2", "done", "/t2"), ("t3", "done", "/t3"),
    ]  # fmt: skip
    assert found["t1"]["evidence"] == ["notes.md", "/t1/tool:1:0 write_file"]
    assert found["t3"]["depends_on"] == ["t1"]


def by_branch(done: Done) -> dict[str, list[JSON]]:
    """What each branch said and did: events without what a clock, a counter or an account gave them."""
    counted = ("seq", "at", "session_id", "seconds", "step", "spent_usd", "usage", "input_tokens_bound", "reserved_usd")
    found: dict[str, list[JSON]] = {}
    for event in done.events:
        if event.get("branch", "/") != "/" or event["type"] in ("completion.received", "tool.finished"):
            kept = {key: value for key, value in event.items() if key not in counted}
            found.setdefault(str(event["branch"]), []).append(kept)
    return found


@pytest.mark.parametrize("parallel", ["2", "4"])
def test_side_by_side_each_branch_is_as_it_is_one_after_the_other(tmp_path: Path, parallel: str) -> None:
    slow = [entry | ({"delay_s": 0.2} if entry.get("branch") == "t1" else {}) for entry in COLOURS]
    alone, together = Agent(tmp_path / "alone"), Agent(tmp_path / "together")
    first, second = run(alone, slow), run(together, slow, "--parallel", parallel)
    assert first.code == second.code == 0, second.err
    wanted, found = by_branch(first), by_branch(second)
    assert found == wanted
    assert first.finished["answer"] == second.finished["answer"]
    order_of = [[event["branch"] for event in done.of_type("completion.received")] for done in (first, second)]
    assert order_of[0] != order_of[1]
    assert alone.replays() == together.replays() == []


def test_the_first_task_is_the_users_when_there_is_one(agent: Agent) -> None:
    entries = [criteria("it is said"), finish("42"), create(done=True), verify(True), summary("42 [t1]")]
    done = run(agent, entries, "--first-task", "Fetch https://x.io/a-b.html v2.5")
    assert labels(done.events) == ["criteria", "execute", "create", "verify", "summary"]
    assert rows(done.events)["t1"]["title"] == "Fetch https://x.io/a-b.html v2.5"


def test_a_first_task_needs_a_strategy_with_tasks(agent: Agent) -> None:
    done = agent("run", "x", "--first-task", "y", "--dry-run")
    assert (done.code, "--strategy babyagi" in done.err) == (2, True)


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_parallel_is_a_number_from_one(agent: Agent, value: str) -> None:
    assert agent("run", "x", "--strategy", "babyagi", "--parallel", value, "--dry-run").code == 2


def test_earlier_results_and_outputs_come_to_later_tasks(agent: Agent) -> None:
    entries = [
        criteria("said"),
        create("Read the harbour report"),
        execute("write_file", path="harbour.md", content="The harbour master is Ada Quill.\n"),
        execute("read_file", path="harbour.md"),
        finish("the harbour report was read"),
        create("Name the harbour master"),
        finish("Ada Quill", expect="The harbour master is Ada Quill."),
        create(done=True),
        verify(True),
        summary("Ada Quill [t2]"),
    ]
    done = run(agent, entries)
    assert done.code == 0, done.err


def test_a_model_cannot_call_what_only_the_strategy_may(agent: Agent) -> None:
    entries = [
        criteria("said"),
        create("Find it"),
        execute("recall", query="it", max_chars=100),
        finish("not found", expect="There is no tool named 'recall'"),
        create(done=True),
        verify(True),
        summary("nothing [t1]"),
    ]
    done = run(agent, entries)
    assert done.code == 0, done.err


def test_words_at_a_resume_become_a_criterion_and_new_tasks(agent: Agent) -> None:
    entries = [criteria("said"), finish("blue"), create(done=True), verify(True), summary("blue [t1]")]
    more = [
        create("Say which is lightest") | {"expect": "also the lightest"},
        finish("red"),
        create(done=True),
        verify(True, True) | {"expect": "2. also the lightest"},
        summary("blue [t1], red [t2]"),
    ]
    script = agent.script(*entries, *more)
    first = agent("run", "colours", "--strategy", "babyagi", "--script", script, "--first-task", "Find it", "--json")
    assert first.finished["answer"] == "blue [t1]"
    again = agent("resume", "--last", "also the lightest", "--json")
    assert again.code == 0, again.err
    assert again.finished["answer"] == "blue [t1], red [t2]"
    assert again.finished["steps"] == 10


def test_a_budget_that_is_used_up_ends_it_and_a_raise_goes_on(agent: Agent) -> None:
    done = run(agent, COLOURS, "--max-steps", "7")
    assert (done.code, done.finished["reason"]) == (5, "budget_steps")
    again = agent("resume", "--last", "--add-steps", "10", "--json")
    assert again.code == 0, again.err
    assert again.finished["steps"] == len(COLOURS)


def test_a_task_over_its_share_fails_twice_and_the_session_goes_on(agent: Agent) -> None:
    look = [execute("write_file", t, path=f"{t}{n}", content="x") for t in ("t1", "t1-2") for n in range(20)]
    entries = [
        criteria("said"),
        create("Look for ever", "Be quick"),
        *look,
        finish("quick", "t2"),
        create(),
        order("t1"),
        create(done=True) | {"expect": "used its share of the budget"},
        verify(True),
        summary("quick [t2]"),
    ]
    done = run(agent, entries, "--max-steps", "40")
    assert done.code == 0, done.err
    found = rows(done.events)
    assert (found["t1"]["status"], found["t1"]["tries"], found["t1"]["branch"]) == ("set_aside", 2, "/t1-2")
    assert "9 steps" in rows(list(done.events)[:-1])["t1"]["reason"] or "share" in found["t1"]["reason"]


def test_a_share_of_the_cost_ends_a_task_too(agent: Agent) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 1000}
    look = [
        execute("list_files", branch, path=str(n)) | {"usage": usage} for branch in ("t1", "t1-2") for n in range(9)
    ]
    entries = [criteria("said"), create("Look for ever"), *look, create(done=True), verify(True), summary("no [t1]")]
    done = run(agent, entries, "--price", "10,10", "--max-cost", "0.2", "--max-output-tokens", "300")
    assert "$" in rows(done.events)["t1"]["reason"], done.err


def test_an_answer_of_a_schema_is_asked_of_the_summary_not_of_tasks(agent: Agent) -> None:
    schema = agent.folder / "schema.json"
    schema.write_text(json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}))
    entries = [
        criteria("said"), finish("it is four"), create(done=True), verify(True), summary("n is 4"),
        {"label": "repair", "text": '{"n": 4}'},
    ]  # fmt: skip
    done = run(agent, entries, "--first-task", "Count", "--output-schema", str(schema))
    assert done.code == 0, done.err
    assert json.loads(done.finished["answer"]) == {"n": 4}


@pytest.mark.usefixtures("sandboxed")
def test_a_verification_of_the_users_own_is_asked_at_the_end_only(agent: Agent) -> None:
    entries = [
        criteria("said"),
        create("Write a.txt"),
        finish("written"),
        create(done=True),
        verify(True),
        summary("a.txt [t1]"),
        create("Really write a.txt") | {"expect": "the verification `test -f a.txt` failed"},
        execute("write_file", path="a.txt", content="a"),
        finish("really written"),
        create(done=True),
        verify(True),
        summary("a.txt [t2]"),
    ]
    done = run(agent, entries, "--verify", "test -f a.txt")
    assert done.code == 0, done.err
    assert done.finished["answer"] == "a.txt [t2]"


def test_criteria_that_nobody_can_meet_end_it_as_given_up(agent: Agent) -> None:
    entries = [
        criteria("the moon is cheese"), finish("no"), create(done=True), verify(False), create(),
        summary("It is not met [t1]."),
    ]  # fmt: skip
    done = run(agent, entries, "--first-task", "Look")
    assert (done.code, done.finished["reason"]) == (4, "gave_up")
    assert "the moon is cheese" in done.finished["message"]


def test_a_list_that_only_grows_is_ended_by_the_guard(agent: Agent) -> None:
    words = iter(f"{one}{two}{three}" for one in "bdfgklmnprst" for two in "aeiou" for three in "bdfgklmnprst")
    growing = [create(f"Look for {next(words)}", f"Think of {next(words)}") for _ in range(60)]
    entries = [criteria("said"), *growing, *(finish(f"result {n}") for n in range(60)), *[order()] * 20]
    done = run(agent, entries, "--max-steps", "300")
    assert (done.code, done.finished["reason"]) == (9, "stuck"), done.err
    verdicts = done.of_type("guard.verdict")
    assert [verdict["action"] for verdict in verdicts] == ["nudge", "replan", "stop"]
    assert all(row["status"] != "running" for row in rows(done.events).values())
    assert "nothing more was reached in 5 rounds (criteria met: none of 1" in done.finished["message"]
    assert labels(done.events).count("create") < 25


def test_a_list_that_grows_and_then_shrinks_is_left_alone(agent: Agent) -> None:
    names = iter(
        ["Eat apples", "Cook beans", "Mill corn", "Dig ditches", "Sow peas", "Pick plums", "Salt fish", "Bake bread"]
    )
    growing = [create(next(names), next(names)) for _ in range(4)]
    entries = [
        criteria("said"), *growing, *[create()] * 4, *(finish(f"result {n}") for n in range(8)), *[order()] * 8,
        create(done=True), verify(True), summary("all [t1]"),
    ]  # fmt: skip
    done = run(agent, entries, "--max-steps", "300")
    assert done.code == 0, done.err


def test_a_bad_request_is_not_made_again(agent: Agent) -> None:
    asked: list[JSON] = []

    def answer(body: JSON) -> Answer:
        asked.append(body)
        return (
            error(400, "messages: text is not valid")
            if "Which tasks" in str(body)
            else text(str(criteria("said")["text"]))
        )

    with Endpoint(answer) as endpoint:
        done = agent(
            "run", "colours", "--strategy", "babyagi", "--base-url", endpoint.base_url, "--model", "local", "--json"
        )
    assert (done.code, done.finished["reason"]) == (3, "provider_error")
    assert sum("Which tasks" in str(body) for body in asked) <= 4, "other forms of it, and then the end"


@pytest.mark.parametrize(
    ("limit", "value", "code"), [("--max-steps", "4", 5), ("--max-cost", "0.03", 6), ("--max-tokens", "9000", 7)]
)
def test_every_limit_ends_it(agent: Agent, limit: str, value: str, code: int) -> None:
    usage = {"usage": {"input_tokens": 1500, "output_tokens": 300}}
    done = run(
        agent, [entry | usage for entry in COLOURS], limit, value, "--price", "5,5", "--max-output-tokens", "500"
    )
    assert done.code == code, done.err
    assert done.finished["answer"]


@pytest.mark.usefixtures("sandboxed")
def test_tasks_side_by_side_have_interpreters_of_their_own(agent: Agent) -> None:
    def python(task: str, code: str) -> JSON:
        return execute("python", task, code=code)

    entries = [
        criteria("said"),
        create("Eat apples", "Cook beans"),
        python("t1", "x = 'apples'"),
        python("t2", "x = 'beans'"),
        python("t1", "import time; time.sleep(0.3); print(x)"),
        python("t2", "print(x)"),
        finish("{{result}}", "t1", expect="apples"),
        finish("{{result}}", "t2", expect="beans"),
        create(),
        create(done=True),
        verify(True),
        summary("both [t1] [t2]"),
    ]
    done = run(agent, entries, "--parallel", "2")
    assert done.code == 0, done.err
    assert [row["result"] for row in rows(done.events).values()] == ["ok\napples", "ok\nbeans"]


def test_it_runs_without_the_json_object_being_all_of_the_answer(agent: Agent) -> None:
    fenced = [
        entry | ({"text": f"Sure!\n```json\n{entry['text']}\n```"} if entry["label"] == "create" else {})
        for entry in COLOURS
    ]
    assert run(agent, fenced).code == 0


def test_what_was_recorded_runs_again_side_by_side(agent: Agent) -> None:
    recorded = agent.folder / "recorded.jsonl"
    assert run(agent, COLOURS, "--record", str(recorded)).code == 0
    (agent.workspace / "notes.md").unlink()
    again = agent("run", "colours", "--strategy", "babyagi", "--script", str(recorded), "--parallel", "4", "--json")
    assert again.code == 0, again.err


def test_a_fork_goes_on_with_the_list_as_it_was(agent: Agent) -> None:
    first = run(agent, COLOURS)
    forked = agent("sessions", "fork", first.events[0]["session_id"], "--at-step", "8")
    assert forked.code == 0, forked.err
    agent.replayable = False  # the fork shares its beginning with the first
    again = agent("resume", "--last", "--json")
    assert again.code == 0, again.err
    assert again.finished["steps"] == len(COLOURS)
    assert again.finished["answer"] == first.finished["answer"]
