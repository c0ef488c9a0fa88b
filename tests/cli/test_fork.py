"""A new session from a step of another: the past is kept, the workspace is as it was, and each goes its own way."""

import asyncio
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentrunner.errors import UsageError
from agentrunner.journal import open_journal
from agentrunner.runner.forking import fork
from tests.support.endpoint import Endpoint, call, text
from tests.support.program import JSON, Agent, Done, finish, says, writes


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def forked(agent: Agent, session: str, step: int, *more: str) -> tuple[str, Path]:
    """The new session and its workspace."""
    done = agent("sessions", "fork", session, "--at-step", str(step), *more)
    assert done.code == 0, done.err
    new = done.out.strip()
    events = [json.loads(line) for line in agent("sessions", "export", new).out.splitlines()]
    return new, Path(events[0]["workspace"])


def forked_here(agent: Agent, session: str, step: int) -> Path:
    """The same in this process, for tests that fork often."""
    with closing(open_journal(agent.home)) as journal:
        return asyncio.run(fork(journal, session, step, None)).workspace


def edits(agent: Agent) -> str:
    """A session that changes its workspace in each of four steps, and another file before it."""
    agent.workspace.mkdir(parents=True)
    (agent.workspace / "mine.txt").write_text("from before")
    script = agent.script(
        writes("a.txt", "one"),
        says("edit_file", path="mine.txt", old="before", new="step two"),
        says("move_file", source="a.txt", destination="deep/er/b.txt"),
        says("delete_file", path="mine.txt"),
        finish("all done"),
    )
    assert agent("run", "edit", "--script", script).code == 0
    return agent.session()


STATES = [
    {"mine.txt": "from before"},
    {"mine.txt": "from before", "a.txt": "one"},
    {"mine.txt": "from step two", "a.txt": "one"},
    {"mine.txt": "from step two", "deep/er/b.txt": "one"},
    {"deep/er/b.txt": "one"},
    {"deep/er/b.txt": "one"},
]


def test_each_step_can_be_gone_back_to_and_on_from(agent: Agent) -> None:
    session = edits(agent)
    for step, state in enumerate(STATES):
        new, workspace = forked(agent, session, step)
        assert tree(workspace) == state
        assert workspace.name == f"workspace-fork-{new[-8:]}"
    assert tree(agent.workspace) == STATES[-1]


def test_a_fork_goes_on_after_its_step_with_what_it_had_spent(agent: Agent) -> None:
    session = edits(agent)
    new, workspace = forked(agent, session, 2)
    waiting = json.loads(agent("sessions", "list", "--json").out.splitlines()[0])
    assert (waiting["id"], waiting["status"], waiting["reason"]) == (new, "cancelled", "interrupted")
    assert "killed" not in agent("sessions").out
    done = agent("resume", new, "--json")
    assert done.code == 0, done.err
    assert [event["name"] for event in done.of_type("tool.finished")] == ["move_file", "delete_file", "finish"]
    assert done.finished["steps"] == 5
    assert done.finished["answer"] == "all done"
    assert tree(workspace) == tree(agent.workspace) == STATES[-1]
    assert agent("replay", new).code == 0


def test_a_fork_takes_another_way_than_its_origin(agent: Agent) -> None:
    answers = [call("write_file", path="a.txt", content="one"), text("the first"), text("the second")]
    with Endpoint(answers) as endpoint:
        base = ("--base-url", endpoint.base_url)
        agent("run", "write", *base, "--model", "local")
        session = agent.session()
        new, workspace = forked(agent, session, 1)
        done = agent("resume", new, "do it in another way", *base, "--json")
        sent = endpoint.requests[2].json["messages"]
    assert done.finished["answer"] == "the second"
    assert [m["role"] for m in sent[:4]] == ["system", "user", "assistant", "tool"]
    assert sent[4]["content"] == "do it in another way"
    assert tree(workspace) == {"a.txt": "one"}
    assert agent("resume", session).out == "the first\n"


def test_a_fork_of_a_fork_and_one_whose_origin_is_gone(agent: Agent) -> None:
    session = edits(agent)
    second, _ = forked(agent, session, 3)
    assert agent("sessions", "rm", session).code == 0
    third, workspace = forked(agent, second, 1)
    assert tree(workspace) == STATES[1]
    assert agent("sessions", "rm", second, third).code == 0
    assert [p.name for p in (agent.home / "snapshots").rglob("*") if p.is_file()] == ["lock"]


def test_contents_that_another_session_uses_stay(agent: Agent) -> None:
    first = edits(agent)
    shutil.rmtree(agent.workspace)
    second = edits(agent)
    assert agent("sessions", "rm", first).code == 0
    _, workspace = forked(agent, second, 2)
    assert tree(workspace) == STATES[2]


def test_what_code_did_is_kept_with_its_mode(agent: Agent, sandboxed: None) -> None:
    script = agent.script(
        says("shell", command="mkdir d && printf '#!/bin/sh\\n' > d/run.sh && chmod 755 d/run.sh"),
        says("python", code="open('big.bin', 'wb').write(b'x' * 3_000_000)"),
        says(
            "shell", command="rm -r d; ln -s /etc/passwd link; printf y | dd of=big.bin conv=notrunc seek=2999999 bs=1"
        ),
        finish(),
    )
    done = agent("run", "x", "--script", script, "--json")
    assert done.code == 0, done.err
    session = agent.session()
    _, workspace = forked(agent, session, 2)
    assert (workspace / "d" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (workspace / "big.bin").read_bytes() == b"x" * 3_000_000
    _, workspace = forked(agent, session, 3)
    assert sorted(p.name for p in workspace.iterdir()) == ["big.bin"]
    assert (workspace / "big.bin").read_bytes() == b"x" * 2_999_999 + b"y"


def test_secrets_are_not_copied_and_that_is_said(agent: Agent) -> None:
    agent.workspace.mkdir(parents=True)
    (agent.workspace / ".env").write_text("KEY=secret-of-mine")
    agent("run", "x", "--script", agent.script(writes("a.txt"), finish()))
    done = agent("sessions", "fork", agent.session(), "--at-step", "1")
    assert done.code == 0
    assert "left out" in done.err
    assert "'.env'" in done.err
    kept = [p.read_bytes() for p in (agent.home / "snapshots").rglob("*") if p.is_file()]
    assert b"text" in kept
    assert not any(b"secret-of-mine" in content for content in kept)
    assert all(p.stat().st_mode & 0o077 == 0 for p in (agent.home / "snapshots").rglob("*"))


def test_nothing_is_overwritten(agent: Agent) -> None:
    session = edits(agent)
    full = agent.folder / "full"
    full.mkdir()
    (full / "x").write_text("mine")
    before = agent("sessions", "list", "--json").out
    done = agent("sessions", "fork", session, "--at-step", "1", "--workspace", str(full))
    assert done.code == 2
    assert "exists already" in done.err
    assert tree(full) == {"x": "mine"}
    assert agent("sessions", "list", "--json").out == before
    (full / "x").unlink()
    _, workspace = forked(agent, session, 1, "--workspace", str(full))
    assert workspace == full
    assert tree(full) == STATES[1]


@pytest.mark.parametrize("step", [-1, 6, 99])
def test_a_step_that_is_not_there_is_refused(agent: Agent, step: int) -> None:
    done = agent("sessions", "fork", edits(agent), f"--at-step={step}")
    assert done.code == 2
    assert f"has no step {step}; its steps are 1 to 5, and 0 is its beginning" in done.err


def test_a_workspace_that_is_too_large_is_not_kept_until_it_fits_again(agent: Agent) -> None:
    agent.workspace.mkdir(parents=True)
    with (agent.workspace / "huge").open("wb") as file:
        file.truncate(200_000_001)
    script = agent.script(writes("a.txt"), says("delete_file", path="huge"), writes("b.txt"), finish())
    assert agent("run", "x", "--script", script).code == 0
    session = agent.session()
    for step in (0, 1):
        done = agent("sessions", "fork", session, "--at-step", str(step))
        assert done.code == 2
        assert f"the workspace as it was at step {step} is not there: it is larger than 200 MB" in done.err
    _, workspace = forked(agent, session, 2)
    assert tree(workspace) == {"a.txt": "text"}
    assert sum(p.stat().st_size for p in (agent.home / "snapshots").rglob("*")) < 1_000_000


def test_too_many_files_are_not_kept(agent: Agent) -> None:
    agent.workspace.mkdir(parents=True)
    for number in range(20_001):
        os.close(os.open(agent.workspace / str(number), os.O_CREAT | os.O_WRONLY))
    assert agent("run", "x", "--script", agent.script(writes("a.txt"), finish())).code == 0
    done = agent("sessions", "fork", agent.session(), "--at-step", "1")
    assert done.code == 2
    assert "it has more than 20,000 files" in done.err


def stopped_and_changed(agent: Agent) -> Done:
    script = agent.script(writes("a.txt", "one"), writes("b.txt", "two"), writes("c.txt", "three"), finish())
    agent("run", "x", "--script", script, "--max-steps", "1")
    (agent.workspace / "a.txt").write_text("a person's")
    return agent("resume", "--last", "--add-steps", "9", "--json")


def test_what_a_person_changed_between_attempts_is_in_the_later_steps_only(agent: Agent) -> None:
    assert stopped_and_changed(agent).code == 0
    session = agent.session()
    _, first = forked(agent, session, 1)
    _, second = forked(agent, session, 2)
    assert tree(first) == {"a.txt": "one"}
    assert tree(second) == {"a.txt": "a person's", "b.txt": "two"}


def test_a_torn_record_is_mended_and_a_lost_one_is_noticed(agent: Agent) -> None:
    script = agent.script(writes("a.txt", "one"), writes("b.txt", "two"), writes("c.txt", "three"), finish())
    agent("run", "x", "--script", script, "--max-steps", "2")
    session = agent.session()
    file = agent.home / "sessions" / session / "snapshots.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    done = agent("sessions", "fork", session, "--at-step", "2")
    assert done.code == 2
    assert "the record of it is not whole" in done.err
    assert agent("resume", session, "--add-steps", "9").code == 0
    _, workspace = forked(agent, session, 3)
    assert tree(workspace) == {"a.txt": "one", "b.txt": "two", "c.txt": "three"}


def in_two_attempts(agent: Agent) -> tuple[str, Path]:
    """A session of six steps; a person changes a file after the third, and the fourth only reads."""
    script = agent.script(
        writes("a.txt", "one"),
        writes("b.txt", "two"),
        says("list_files"),
        says("list_files"),
        writes("c.txt", "three"),
        finish(),
        writes("d.txt", "four"),
        finish(),
    )
    assert agent("run", "x", "--script", script, "--max-steps", "3").code == 5
    (agent.workspace / "a.txt").write_text("a person's")
    assert agent("resume", "--last", "--add-steps", "9").code == 0
    session = agent.session()
    return session, agent.home / "sessions" / session / "snapshots.jsonl"


def test_a_damaged_line_of_the_record_costs_the_steps_that_need_it_and_no_other(agent: Agent) -> None:
    session, file = in_two_attempts(agent)
    states = [{}, {"a.txt": "one"}, {"a.txt": "one", "b.txt": "two"}]
    states += [states[2], {"a.txt": "a person's", "b.txt": "two"}]
    states += [states[4] | {"c.txt": "three"}]
    lines = file.read_bytes().splitlines(keepends=True)
    # The beginning, two steps, the second beginning, one step.
    assert len(lines) == 5
    first_lost = [0, 1, 2, 4, 5]
    for number, (line, lost_from) in enumerate(zip(lines, first_lost, strict=True)):
        damaged = line[: len(line) // 2] + b"\0\xff\n"
        file.write_bytes(b"".join([*lines[:number], damaged, *lines[number + 1 :]]))
        if lost_from:
            assert tree(forked_here(agent, session, lost_from - 1)) == states[lost_from - 1]
        for step in range(lost_from, 6):
            with pytest.raises(UsageError, match="the record of it is"):
                forked_here(agent, session, step)


def test_after_a_damaged_line_the_next_attempt_keeps_everything_anew(agent: Agent) -> None:
    session, file = in_two_attempts(agent)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], b"{}\n", *lines[2:]]))
    done = agent("resume", session, "write another")
    assert done.code == 0, done.err
    assert agent("sessions", "fork", session, "--at-step", "5").code == 2
    new, workspace = forked(agent, session, 7)
    assert tree(workspace) == tree(agent.workspace)
    _, workspace = forked(agent, new, 7)
    assert tree(workspace) == tree(agent.workspace)
    kept = len(list((agent.home / "snapshots").glob("*/*")))
    other = agent("run", "x", "--script", agent.script(writes("e.txt", "of another session"), finish()))
    assert other.code == 0
    assert agent("sessions", "rm", agent.session()).code == 0
    assert len(list((agent.home / "snapshots").glob("*/*"))) == kept + 1, "nobody knows what the lost line named"
    assert agent("sessions", "rm", session).code == 0
    assert len(list((agent.home / "snapshots").glob("*/*"))) == len(tree(workspace)), "a fork needs only its own"


def test_what_a_person_deletes_while_too_much_is_there_is_gone_later(agent: Agent) -> None:
    script = agent.script(
        writes("a.txt", "one"), writes("b.txt", "two"), says("delete_file", path="huge"), writes("c.txt"), finish()
    )
    assert agent("run", "x", "--script", script, "--max-steps", "2").code == 5
    with (agent.workspace / "huge").open("wb") as huge:
        huge.truncate(200_000_001)
    (agent.workspace / "a.txt").unlink()
    assert agent("resume", "--last", "--add-steps", "9").code == 0
    _, workspace = forked(agent, agent.session(), 3)
    assert tree(workspace) == {"b.txt": "two"}


def test_a_damaged_content_is_noticed_and_leaves_nothing_behind(agent: Agent) -> None:
    session = edits(agent)
    for path in (agent.home / "snapshots").glob("*/*"):
        path.write_bytes(b"other")
    before: list[JSON] = [json.loads(line) for line in agent("sessions", "list", "--json").out.splitlines()]
    done = agent("sessions", "fork", session, "--at-step", "1")
    assert done.code == 2
    assert "not in the store any more" in done.err
    assert len(agent("sessions", "list", "--json").out.splitlines()) == len(before)
    assert not list(agent.folder.glob("workspace-fork-*"))


def test_whole_results_go_along(agent: Agent) -> None:
    script = agent.script(
        writes("long.txt", "line\n" * 9000), says("read_file", path="long.txt"), writes("x.txt"), finish("{{result}}")
    )
    agent("run", "x", "--script", script)
    new, _ = forked(agent, agent.session(), 2)
    with sqlite3.connect(agent.home / "agent.db") as db:
        query = "SELECT json_extract(data, '$._saved_as') FROM events WHERE session_id = ? AND type = 'tool.finished'"
        saved = [name for (name,) in db.execute(query, (new,)) if name]
    assert saved
    for name in saved:
        assert (agent.home / "sessions" / new / "outputs" / name.removeprefix("@output/")).is_file()
