"""Going on after this program changed: other wording is said; other structure is refused, or accepted and kept."""

import json
import sqlite3

from tests.support.program import Agent, Done, finish, writes


def stopped(agent: Agent) -> str:
    """A session that one step was made of."""
    script = agent.script(writes("a.txt"), writes("b.txt"), finish("all"))
    assert agent("run", "write", "--script", script, "--max-steps", "1").code == 5
    return agent.session()


def alter(agent: Agent, statement: str) -> None:
    """As if another version had written the journal."""
    agent.replayable = False
    with sqlite3.connect(agent.home / "agent.db") as db:
        assert db.execute(statement).rowcount > 0


def tools_of(done: Done) -> list[str]:
    return [event["name"] for event in done.of_type("tool.finished")]


def test_other_wording_is_a_warning_and_the_session_keeps_its_own(agent: Agent) -> None:
    prompts = agent.folder / "prompts"
    prompts.mkdir()
    (prompts / "goal.md").write_text("My goal: {{ session.goal }}", encoding="utf-8")
    script = agent.script(writes("a.txt"), finish() | {"expect": "My goal: write"})
    assert agent("run", "write", "--script", script, "--max-steps", "1", "--prompts", str(prompts)).code == 5
    (prompts / "goal.md").write_text("Your goal: {{ session.goal }}", encoding="utf-8")
    agent.replayable = False
    done = agent("resume", "--last", "--add-steps", "5")
    assert done.code == 0, done.err
    assert "the prompt 'goal' reads otherwise now; the session keeps the one that it began with" in done.err


def test_prompts_that_are_gone_do_not_keep_a_session_from_going_on(agent: Agent) -> None:
    prompts = agent.folder / "prompts"
    prompts.mkdir()
    script = agent.script(writes("a.txt"), finish())
    assert agent("run", "write", "--script", script, "--max-steps", "1", "--prompts", str(prompts)).code == 5
    prompts.rmdir()
    agent.replayable = False
    done = agent("resume", "--last", "--add-steps", "5")
    assert done.code == 0, done.err
    assert "keeps the prompts that it began with" in done.err


def test_the_same_wording_says_nothing(agent: Agent) -> None:
    stopped(agent)
    done = agent("resume", "--last", "--add-steps", "5")
    assert done.code == 0
    assert "otherwise" not in done.err


def test_another_label_is_refused_with_its_step_or_accepted_and_journalled(agent: Agent) -> None:
    session = stopped(agent)
    alter(
        agent,
        "UPDATE events SET data = json_replace(data, '$.label', 'think') "
        "WHERE type IN ('completion.received', 'request.sent') AND key = '/llm:1'",
    )
    refused = agent("resume", session, "--add-steps", "5", "--json")
    assert refused.code == 1
    assert "step 1 was made by another version" in refused.finished["message"]
    assert "it had the label 'think', which is 'step' now" in refused.finished["message"]
    assert "--allow-changed" in refused.finished["message"]
    assert tools_of(refused) == []
    accepted = agent("resume", session, "--add-steps", "1", "--allow-changed", "--json")
    # One step was left of the refused resume's five.
    assert accepted.code == 0, accepted.err
    [change] = accepted.of_type("change.accepted")
    assert (change["step"], change["what"], change["was"], change["is"]) == (1, "label", "think", "step")
    again = agent("resume", session, "one more thing", "--json")
    assert "another version" not in json.dumps(again.finished)
    assert again.of_type("change.accepted") == []


def test_another_tool_is_refused_by_name_or_accepted_and_journalled(agent: Agent) -> None:
    session = stopped(agent)
    alter(
        agent,
        'UPDATE events SET data = replace(data, \'"name":"search_files"\', \'"name":"find_files"\') '
        "WHERE type = 'session.created'",
    )
    refused = agent("resume", session, "--add-steps", "1")
    assert refused.code == 2
    assert "the session was made with other tools: 'find_files' is not there any more" in refused.err.splitlines()[-1]
    accepted = agent("resume", session, "--add-steps", "1", "--allow-changed", "--json")
    assert accepted.code == 5, accepted.err
    [change] = accepted.of_type("tools.changed")
    assert "find_files" in change["was"]
    assert "search_files" in change["is"]
    assert tools_of(accepted) == ["write_file"]
    # What was accepted once is the session's from then on.
    last = agent("resume", session, "--add-steps", "5", "--json")
    assert last.code == 0, last.err
    assert last.of_type("tools.changed") == []


def test_a_session_that_goes_on_with_other_tools_replays_attempt_by_attempt(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), writes("b.txt"), finish("all"))
    assert agent("run", "write", "--script", script, "--max-steps", "1", "--no-web").code == 5
    session = agent.session()
    alter(agent, "UPDATE events SET data = json_set(data, '$._settings.no_web', json('false')) WHERE seq = 1")
    refused = agent("resume", session, "--add-steps", "1")
    assert refused.code == 2
    assert "'web_search' is new" in refused.err
    accepted = agent("resume", session, "--add-steps", "5", "--allow-changed")
    assert accepted.code == 0, accepted.err
    assert "in 2 attempts made again, all the same" in agent("replay", session).out
    prompts = agent.folder / "prompts" / "tools"
    prompts.mkdir(parents=True)
    (prompts / "write_file.md").write_text("Writes.", encoding="utf-8")
    done = agent("replay", session, "--prompts", str(prompts.parent))
    assert done.code == 1
    assert "differs at step 2 (step): the tool 'write_file' is described otherwise" in done.out


def test_a_tool_with_other_arguments_is_another_tool(agent: Agent) -> None:
    session = stopped(agent)
    alter(
        agent,
        "UPDATE events SET data = replace(data, '\"pattern\":{', '\"words\":{') WHERE type = 'session.created'",
    )
    refused = agent("resume", session, "--add-steps", "1")
    assert refused.code == 2
    assert "'search_files' takes other arguments" in refused.err


def test_another_check_of_the_answer_is_refused_too(agent: Agent) -> None:
    script = agent.script({"text": "the answer"}, {"text": "again"})
    assert agent("run", "ask", "--script", script).code == 0
    alter(
        agent,
        "UPDATE events SET data = json_replace(data, '$.name', 'conclude') "
        "WHERE type = 'tool.finished' AND key = '/act:1:0'",
    )
    refused = agent("resume", "--last", "and now?", "--json")
    assert refused.code == 1
    assert "it had the tool 'conclude', which is 'finish' now" in refused.finished["message"]
    replayed = agent("replay", agent.session())
    assert replayed.code == 1
    assert "it had the tool 'conclude'" in replayed.out
    assert agent("resume", agent.session(), "--allow-changed", "--json").code == 0
