"""Sessions on the move: to another machine as a file, and from SQLite to a server."""

import json
from pathlib import Path

import pytest

from tests.support.postgres import Server
from tests.support.program import Agent, finish, writes


@pytest.fixture
def ran(agent: Agent) -> Agent:
    script = agent.script(writes("a.txt"), writes("b.txt"), finish("both are there", "a.txt"))
    assert agent("run", "write", "--script", script, "--max-steps", "1", "--quiet").code == 5
    return agent


def exported(agent: Agent, session: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in agent("sessions", "export", session).out.splitlines()]


def test_an_exported_session_is_imported_elsewhere_once_and_goes_on_there(ran: Agent, tmp_path: Path) -> None:
    session = ran.session()
    file = ran.folder / "session.jsonl"
    file.write_text(ran("sessions", "export", session).out)
    there = Agent(tmp_path / "elsewhere")
    arguments = ("sessions", "import", str(file), "--workspace", "w")
    done = there(*arguments)
    assert (done.code, done.out) == (0, f"imported {session}\n"), done.err
    assert there(*arguments).out == f"{session} was there already\n"
    before, after = exported(ran, session), exported(there, session)
    assert after[1:] == before[1:]
    assert after[0]["workspace"] == str(there.folder / "w")
    assert {key for key in before[0] if before[0][key] != after[0][key]} == {"workspace", "_settings"}
    script = there.script(writes("a.txt"), writes("b.txt"), finish("both are there", "b.txt"))
    resumed = there("resume", session, "--add-steps", "5", "--script", script, "--quiet")
    assert resumed.code == 0, resumed.err
    assert "both are there" in resumed.out
    assert (there.folder / "w" / "b.txt").exists()
    assert there(*arguments).out == f"{session} was there already\n"


def test_an_import_does_not_bring_permissions_along(ran: Agent, tmp_path: Path) -> None:
    session = ran.session()
    created, *rest = exported(ran, session)
    settings = created["_settings"]
    assert isinstance(settings, dict)
    settings |= {
        "base_url": "http://127.0.0.1:9/v1",
        "sandbox": "none",
        "approve": "deny",
        "yes": True,
        "dry_run": True,
    }
    file = tmp_path / "session.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in [created, *rest]))
    there = Agent(tmp_path / "elsewhere")
    done = there("sessions", "import", "-", stdin=file.read_bytes())
    assert done.code == 0, done.err
    told = done.err.splitlines()[0]
    assert told.startswith("not taken over from the file, yours will be used: ")
    assert {"base-url", "sandbox", "approve", "yes"} <= set(told.partition("used: ")[2].split(", "))
    taken_over = exported(there, session)[0]["_settings"]
    assert isinstance(taken_over, dict)
    assert not {"base_url", "sandbox", "approve", "yes", "allow_net", "price"} & taken_over.keys()
    assert taken_over["dry_run"] is True, "nothing that was free may begin to cost money"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (b"", "does not begin with session.created"),
        (b"hello\n", "is not an exported session: line 1: "),
        (b'{"v":1}\n', "line 1: not an exported event"),
        (b'{"v":2,"seq":1}\n', "its format is 2, this program reads format 1"),
        (b"[" * 100_000, "line 1: "),
        (b'{"v":1,"seq":1,"at":"","session_id":"s","type":"session.created","_key":""}\n', "does not begin with"),
        (
            b'{"v":1,"seq":1,"at":"","session_id":"\\ud800","type":"session.created","_key":""}\n',
            "not an exported event",
        ),
        (
            b'{"v":1,"seq":1,"at":"","session_id":"../x","type":"session.created","_key":"","workspace":"/w",'
            b'"_settings":{}}\n',
            "session id '../x' cannot be used",
        ),
        (
            b'{"v":1,"seq":7,"at":"","session_id":"s","type":"session.created","_key":"","workspace":"/w",'
            b'"_settings":{}}\n',
            "is not whole",
        ),
    ],
)
def test_a_file_that_is_no_session_is_refused_in_one_line(agent: Agent, lines: bytes, said: str) -> None:
    done = agent("sessions", "import", "-", stdin=lines)
    assert done.code == 2, done
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not agent("sessions", "list", "--json").out


def test_another_session_of_the_same_id_is_not_overwritten(ran: Agent) -> None:
    session = ran.session()
    before = ran("sessions", "export", session).out
    changed = before.replace('"goal":"write"', '"goal":"wrote"', 1)
    assert changed != before
    done = ran("sessions", "import", "-", stdin=changed.encode())
    assert done.code == 2
    assert f"there is another session {session}" in done.err
    assert ran("sessions", "export", session).out == before


def test_sessions_move_to_a_server_and_go_on_there(ran: Agent, postgres: Server) -> None:
    session, url = ran.session(), postgres.new_schema()
    before = exported(ran, session)
    first = ran("sessions", "migrate", url)
    assert first.code == 0, first.err
    assert first.out.startswith(f"copied 1 sessions ({len(before)} events) to postgresql://"), first.out
    second = ran("sessions", "migrate", url)
    assert second.out.startswith("copied 0 sessions (0 events)"), second.out
    server = {"AGENT_DATABASE_URL": url}
    assert [json.loads(line) for line in ran("sessions", "export", session, env=server).out.splitlines()] == before
    resumed = ran("resume", session, "--add-steps", "5", "--quiet", env=server)
    assert resumed.code == 0, resumed.err
    assert exported(ran, session) == before, "the file is left as it was"
    assert ran("sessions", "migrate", url).code == 0, "what went on there does not stand in the way"
    assert ran("sessions", "rm", session, env=server).code == 0
    assert not ran("sessions", "list", "--json", env=server).out


def test_a_new_session_runs_on_a_server_and_leaves_no_file(agent: Agent, postgres: Server) -> None:
    script = agent.script(writes("a.txt"), finish("done", "a.txt"))
    done = agent("run", "write", "--script", script, "--quiet", env={"AGENT_DATABASE_URL": postgres.new_schema()})
    assert done.code == 0, done.err
    assert not (agent.home / "agent.db").exists()


def test_a_server_that_is_not_there_is_one_line_without_the_password(agent: Agent) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/agent"
    for done in (
        agent("sessions", "list", env={"AGENT_DATABASE_URL": url}),
        agent("run", "x", "--dry-run", env={"AGENT_DATABASE_URL": url}),
    ):
        assert done.code == 2
        assert "cannot be reached" in done.err
        assert len(done.err.splitlines()) == 1
        assert "hunter2" not in done.err


def test_there_must_be_something_to_move(agent: Agent) -> None:
    done = agent("sessions", "migrate", "postgresql://127.0.0.1:1/agent")
    assert done.code == 2
    assert "there is no journal in" in done.err
