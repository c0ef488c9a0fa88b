"""Sessions on the move: to another machine as a file, and from SQLite to a server."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.postgres import Server
from tests.support.program import JSON, Agent, finish, says, writes


@pytest.fixture
def ran(agent: Agent) -> Agent:
    script = agent.script(writes("a.txt"), writes("b.txt"), finish("both are there", "a.txt"))
    assert agent("run", "write", "--script", script, "--max-steps", "1", "--quiet").code == 5
    return agent


def listed(agent: Agent) -> list[JSON]:
    return [json.loads(line) for line in agent("sessions", "list", "--json").out.splitlines()]


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


def test_the_states_of_a_workspace_come_along_and_are_forked_there(ran: Agent, tmp_path: Path) -> None:
    session = ran.session()
    large = bytes(range(256)) * 9000
    (ran.workspace / "large.bin").write_bytes(large)
    (ran.workspace / "run.sh").write_text("#!/bin/sh\n")
    (ran.workspace / "run.sh").chmod(0o755)
    assert ran("resume", session, "--add-steps", "5").code == 0
    file = tmp_path / "session.jsonl"
    file.write_text(ran("sessions", "export", session, "--with-files").out)
    shutil.rmtree(ran.folder / "workspace")
    there = Agent(tmp_path / "elsewhere")
    arguments = ("sessions", "import", str(file), "--workspace", "w")
    for said in (f"imported {session}\n", f"{session} was there already\n"):
        done = there(*arguments)
        assert (done.code, done.out) == (0, said), done.err
    for step, names in ((0, set[str]()), (1, {"a.txt"}), (2, {"a.txt", "b.txt", "large.bin", "run.sh"})):
        folder = there.folder / f"at-{step}"
        done = there("sessions", "fork", session, "--at-step", str(step), "--workspace", str(folder))
        assert done.code == 0, done.err
        assert {path.name for path in folder.iterdir()} == names
    assert (folder / "large.bin").read_bytes() == large
    assert (folder / "run.sh").stat().st_mode & 0o777 == 0o755
    assert exported(there, session)[1:] == exported(ran, session)[1:]
    assert (
        there("sessions", "export", session, "--with-files").out.splitlines()[1:] == file.read_text().splitlines()[1:]
    )
    assert there("sessions", "rm", session, *(row["id"] for row in listed(there) if row["id"] != session)).code == 0
    assert [p.name for p in (there.home / "snapshots").rglob("*") if p.is_file()] == ["lock"]


def test_whole_results_come_along(agent: Agent, tmp_path: Path) -> None:
    read = says("read_file", path="long.txt")
    agent("run", "x", "--script", agent.script(writes("long.txt", "line\n" * 9000), read, finish()))
    session = agent.session()
    there = Agent(tmp_path / "elsewhere")
    lines = agent("sessions", "export", session, "--with-files").out.encode()
    assert there("sessions", "import", "-", "--workspace", "w", stdin=lines).code == 0
    saved = {path.name: path.read_bytes() for path in (agent.home / "sessions" / session / "outputs").iterdir()}
    assert saved
    here = there.home / "sessions" / session / "outputs"
    assert {path.name: path.read_bytes() for path in here.iterdir()} == saved


def test_without_its_files_an_imported_session_says_what_a_fork_needs(ran: Agent, tmp_path: Path) -> None:
    session, there = ran.session(), Agent(tmp_path / "elsewhere")
    lines = ran("sessions", "export", session).out
    done = there("sessions", "import", "-", "--workspace", "w", stdin=lines.encode())
    assert "export it --with-files" in done.err
    done = there("sessions", "fork", session, "--at-step", "1")
    assert done.code == 2
    assert "export it --with-files" in done.err
    lines = ran("sessions", "export", session, "--with-files").out
    assert there("sessions", "import", "-", "--workspace", "w", stdin=lines.encode()).code == 0
    assert there("sessions", "fork", session, "--at-step", "1").code == 0


def besides(lines: list[JSON], type_: str) -> list[JSON]:
    return [line for line in lines if line["type"] == type_]


def swap_content(lines: list[JSON]) -> str:
    besides(lines, "file.content")[0]["base64"] = base64.b64encode(b"something else").decode()
    return "is not what its hash says"


def cut_content(lines: list[JSON]) -> str:
    besides(lines, "file.content")[0]["last"] = False
    return "is not whole"


def no_base64(lines: list[JSON]) -> str:
    besides(lines, "file.content")[0]["base64"] = "***"
    return "is not base64"


def leave_content_out(lines: list[JSON]) -> str:
    lines.remove(besides(lines, "file.content")[0])
    return "the content of 'a.txt' is missing"


def a_hash_that_is_a_path(lines: list[JSON]) -> str:
    besides(lines, "file.content")[0]["sha256"] = "../../../evil"
    return "a content has no hash"


def a_path_outside(lines: list[JSON]) -> str:
    besides(lines, "workspace.state")[1]["state"]["saved"] = {"../../evil": ["", 0o644]}
    return "names the path '../../evil'"


def an_absolute_path(lines: list[JSON]) -> str:
    besides(lines, "workspace.state")[1]["state"]["saved"] = {"/tmp/evil": ["", 0o644]}
    return "names the path '/tmp/evil'"


def a_result_outside(lines: list[JSON]) -> str:
    lines.append({"v": 1, "session_id": "s", "type": "output.saved", "name": "../evil", "sha256": "0" * 64})
    return "the result '../evil' is not whole"


def no_state(lines: list[JSON]) -> str:
    besides(lines, "workspace.state")[0]["state"] = ["a", "b"]
    return "a state of the workspace cannot be read"


def an_event_late(lines: list[JSON]) -> str:
    lines.append(lines[1])
    return "event 2 does not stand with the others"


@pytest.mark.parametrize(
    "spoil",
    [
        swap_content,
        cut_content,
        no_base64,
        leave_content_out,
        a_hash_that_is_a_path,
        a_path_outside,
        an_absolute_path,
        a_result_outside,
        no_state,
        an_event_late,
    ],
)
def test_files_that_are_not_what_they_say_are_refused_and_nothing_is_imported(
    ran: Agent, tmp_path: Path, spoil: Callable[[list[JSON]], str]
) -> None:
    lines = [json.loads(line) for line in ran("sessions", "export", ran.session(), "--with-files").out.splitlines()]
    said = spoil(lines)
    there = Agent(tmp_path / "elsewhere")
    done = there("sessions", "import", "-", stdin="".join(json.dumps(line) + "\n" for line in lines).encode())
    assert done.code == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not listed(there)
    assert not list(tmp_path.rglob("evil"))


def test_a_result_that_an_imported_session_names_elsewhere_is_not_copied(ran: Agent, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in ran("sessions", "export", ran.session(), "--with-files").out.splitlines()]
    besides(lines, "tool.finished")[0]["_saved_as"] = "@output/../secret.txt"
    there = Agent(tmp_path / "elsewhere")
    text = "".join(json.dumps(line) + "\n" for line in lines)
    assert there("sessions", "import", "-", "--workspace", "w", stdin=text.encode()).code == 0
    (there.home / "sessions" / ran.session() / "secret.txt").write_text("of another")
    done = there("sessions", "fork", ran.session(), "--at-step", "1")
    assert done.code == 0, done.err
    assert len(list(there.home.rglob("secret.txt"))) == 1


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
    folder = ran.folder / "forked"
    done = ran("sessions", "fork", session, "--at-step", "1", "--workspace", str(folder), env=server)
    assert done.code == 0, done.err
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
    went = ran("resume", done.out.strip(), "--add-steps", "5", "--quiet", env=server)
    assert went.code == 0, went.err
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt"]
    assert ran("sessions", "rm", done.out.strip(), env=server).code == 0
    resumed = ran("resume", session, "--add-steps", "5", "--quiet", env=server)
    assert resumed.code == 0, resumed.err
    assert exported(ran, session) == before, "the file is left as it was"
    assert ran("sessions", "migrate", url).code == 0, "what went on there does not stand in the way"
    assert ran("sessions", "rm", session, env=server).code == 0
    assert not ran("sessions", "list", "--json", env=server).out


def files_of(agent: Agent) -> dict[str, bytes]:
    """What a session keeps beside the journal."""
    found = [path for folder in ("sessions", "snapshots") for path in (agent.home / folder).rglob("*")]
    return {str(path): path.read_bytes() for path in found if path.is_file() and path.name != "databases.json"}


@pytest.mark.parametrize("first", ["the file", "the server"])
def test_a_copy_that_is_removed_leaves_the_other_its_files(agent: Agent, postgres: Server, first: str) -> None:
    read = says("read_file", path="long.txt")
    script = agent.script(writes("long.txt", "line\n" * 9000), read, writes("b.txt"), finish("done", "b.txt"))
    assert agent("run", "write", "--script", script, "--max-steps", "3", "--quiet").code == 5
    session, url = agent.session(), postgres.new_schema()
    assert agent("sessions", "migrate", url).code == 0
    assert agent("sessions", "migrate", url).code == 0
    one, other = ({}, {"AGENT_DATABASE_URL": url}) if first == "the file" else ({"AGENT_DATABASE_URL": url}, {})
    before = files_of(agent)
    assert {Path(name).parent.name for name in before} >= {"outputs", session}
    done = agent("sessions", "rm", session, env=one)
    assert (done.code, done.out) == (0, f"removed {session}\n"), done.err
    assert done.err.startswith("its files stay for its copy in '"), done.err
    assert files_of(agent) == before
    assert not agent("sessions", "list", "--json", env=one).out
    folder = agent.folder / "forked"
    forked = agent("sessions", "fork", session, "--at-step", "2", "--workspace", str(folder), env=other)
    assert forked.code == 0, forked.err
    assert [path.name for path in folder.iterdir()] == ["long.txt"]
    assert agent("resume", session, "--add-steps", "5", "--quiet", env=other).code == 0
    for name in (forked.out.strip(), session):
        done = agent("sessions", "rm", name, env=other)
        assert (done.code, done.err) == (0, "")
    assert [Path(name).name for name in files_of(agent)] == ["lock"]
    assert not list((agent.home / "sessions").iterdir())


def test_a_session_that_comes_back_by_import_shares_its_files_too(ran: Agent, postgres: Server) -> None:
    session, url = ran.session(), postgres.new_schema()
    assert ran("sessions", "migrate", url).code == 0
    assert ran("sessions", "rm", session).code == 0
    server = {"AGENT_DATABASE_URL": url}
    lines = ran("sessions", "export", session, env=server).out
    assert ran("sessions", "import", "-", stdin=lines.encode()).code == 0
    before = files_of(ran)
    assert "its files stay" in ran("sessions", "rm", session, env=server).err
    assert files_of(ran) == before
    done = ran("sessions", "rm", session)
    assert (done.code, done.err) == (0, "")
    assert [Path(name).name for name in files_of(ran)] == ["lock"]


def test_a_session_imported_where_it_was_made_in_another_database_shares_its_files(
    agent: Agent, postgres: Server
) -> None:
    server = {"AGENT_DATABASE_URL": postgres.new_schema()}
    script = agent.script(writes("a.txt"), finish("done", "a.txt"))
    assert agent("run", "write", "--script", script, "--quiet", env=server).code == 0
    session = json.loads(agent("sessions", "list", "--json", env=server).out)["id"]
    lines = agent("sessions", "export", session, env=server).out
    assert agent("sessions", "import", "-", stdin=lines.encode()).code == 0
    assert "in 'another database'" in agent("sessions", "rm", session).err
    assert agent("sessions", "fork", session, "--at-step", "1", env=server).code == 0
    done = agent("sessions", "rm", session, env=server)
    assert (done.code, done.err) == (0, "")


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
