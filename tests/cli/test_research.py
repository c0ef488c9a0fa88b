"""The packaged research, as `agent run --dry-run --strategy babyagi` does it: any goal, any files, killed anywhere."""

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.program import Agent, Done

NOTES = Path(__file__).parents[2] / "examples" / "notes"
RUN = ("run", "--dry-run", "--strategy", "babyagi", "--goal", "What protects the harbour from storm floods?")
STEPS = 19
CITED = re.compile(r"\[\d+\] (?P<file>.+), (?P<unit>line|row)s? (?P<first>\d+)(?:-(?P<last>\d+))?")


def check_citations(report: str, folder: Path) -> int:
    """Each quotation of the report against the lines of the file that it names; how many there are."""
    count = 0
    lines = report.split("\n")
    for number, line in enumerate(lines):
        if not (match := CITED.fullmatch(line)):
            continue
        count += 1
        quoted: list[str] = []
        for follower in lines[number + 1 :]:
            if not follower.startswith(">"):
                break
            quoted.append(follower[2:])
        source = (folder / match["file"]).read_text(encoding="utf-8").split("\n")
        first, last = int(match["first"]), int(match["last"] or match["first"])
        if match["unit"] == "line":
            assert source[first - 1 : last] == quoted
        else:
            for row, shown in zip(source[first - 1 : last], quoted, strict=True):
                assert [cell for cell in row.split(",") if cell] == [
                    cell.rpartition(": ")[2] for cell in re.split(r"; | \| ", shown)
                ]
    return count


def report_of(agent: Agent) -> str:
    return (agent.workspace / "report.md").read_text(encoding="utf-8")


@pytest.fixture
def notes(agent: Agent) -> Path:
    return Path(shutil.copytree(NOTES, agent.folder / "notes"))


def test_the_report_cites_the_right_lines_of_twenty_documents(agent: Agent, notes: Path) -> None:
    assert len(list(notes.iterdir())) == 20
    done = agent(*RUN, "--knowledge", "notes", "--json")
    assert done.code == 0, done.err
    report = report_of(agent)
    assert check_citations(report, agent.workspace) >= 12
    assert "## What limits it" in report
    assert "../notes/open-questions.md" in report
    assert done.finished["reason"] == "goal_met"
    assert [made["path"] for made in done.finished["artifacts"]] == ["report.md"]
    assert done.finished["steps"] == STEPS
    used = {event["name"] for event in done.of_type("tool.started")}
    assert used <= {"tasks", "recall", "file_search", "write_file", "search_files", "read_file", "finish"}


def test_without_files_it_works_on_the_packaged_notes_also_a_second_time(agent: Agent) -> None:
    for _ in range(2):  # the report of the first run is not what the second one is about
        done = agent(*RUN, "--quiet")
        assert done.code == 0, done.err
        assert "[t4]" in done.out
        report = report_of(agent)
        assert check_citations(report, agent.workspace) >= 12
        assert "report.md, line" not in report


@pytest.mark.parametrize("goal", ["zzzz", "{{result}} {% x %} \U0001f30a\n\nsecond line", "? " * 9_000])
def test_any_goal_will_do(agent: Agent, goal: str) -> None:
    done = agent("run", "--dry-run", "--strategy", "babyagi", "--goal", goal, "--quiet")
    assert done.code == 0, done.err
    assert check_citations(report_of(agent), agent.workspace) >= 8


def test_it_searches_the_workspace_where_there_is_something(agent: Agent) -> None:
    agent.workspace.mkdir()
    (agent.workspace / "harbour.txt").write_text("The harbour has a wall.\n")
    assert agent(*RUN, "--quiet").code == 0
    report = report_of(agent)
    assert "[1] harbour.txt, line 1\n> The harbour has a wall." in report
    assert "tides.md" not in report


@pytest.mark.parametrize("options", [("--first-task", "Look at the tides"), ("--parallel", "3")])
def test_another_first_task_or_tasks_side_by_side_end_the_same(
    agent: Agent, notes: Path, undisturbed: str, options: tuple[str, str]
) -> None:
    done = agent(*RUN, "--knowledge", "notes", "--json", *options)
    assert done.code == 0, done.err
    assert done.finished["steps"] == STEPS
    assert report_of(agent) == undisturbed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run that nobody killed."""
    agent = Agent(tmp_path_factory.mktemp("undisturbed") / "place")
    shutil.copytree(NOTES, agent.folder / "notes")
    assert agent(*RUN, "--knowledge", "notes", "--quiet").code == 0
    return report_of(agent)


def killed(agent: Agent, lines: int) -> str:
    """A run that was killed after so many events; its session."""
    running = agent.start(*RUN, "--knowledge", "notes", "--json")
    assert running.stdout is not None
    session = ""
    for _ in range(lines):
        session = json.loads(running.stdout.readline())["session_id"]
    running.send_signal(signal.SIGKILL)
    running.communicate()
    return session


MORE = [pytest.param(lines, marks=pytest.mark.slow) for lines in (3, 12, 19, 31, 37, 43, 62, 68, 75, 84)]


# From the criteria to the summary; a run has some 90 events.
@pytest.mark.parametrize("lines", [6, 25, 50, 80, *MORE])
def test_a_session_that_is_killed_anywhere_ends_the_same(
    agent: Agent, notes: Path, undisturbed: str, lines: int
) -> None:
    session = killed(agent, lines)
    resumed: Done = agent("resume", session, "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.finished["steps"] == STEPS
    assert report_of(agent) == undisturbed
    again = agent("sessions", "export", session)
    events = [json.loads(line) for line in again.out.splitlines()]
    rows = [
        row
        for event in events
        if event["type"] == "tool.started" and event["name"] == "tasks"
        for row in event["arguments"]["tasks"]
    ]
    assert {row["id"]: row["status"] for row in rows} == dict.fromkeys(("t1", "t2", "t3", "t4"), "done")
    assert sum(event["type"] == "completion.received" for event in events) == STEPS


def test_the_list_is_shown_while_it_changes_and_afterwards_as_a_tree(agent: Agent, notes: Path) -> None:
    done = agent(*RUN, "--knowledge", "notes")
    lines = done.err.splitlines()
    assert "task t4 new: Write report.md from the passages, with the place of each (needs t1, t2, t3)" in lines
    assert any(line.startswith("task t4 done: report.md holds the passages") for line in lines)
    shown = agent("sessions", "show", agent.session()).out.splitlines()
    tree = shown[shown.index("") :]
    assert any(re.fullmatch(r"t4 done · 5 steps · \$0\.00 · .* · needs t1, t2, t3", line) for line in tree)
    assert sum(bool(re.match(r"[│├─ ]*step \d+ ", line)) for line in tree) == STEPS


def test_folders_of_knowledge_that_cannot_be_are_refused_before_anything_is_made(agent: Agent, notes: Path) -> None:
    for folder, why in (("missing", "does not exist"), ("notes/tides.md", "is not a folder"), ("/", "may not be '/'")):
        done = agent(*RUN, "--knowledge", folder)
        assert done.code == 2
        assert why in done.err
    assert not agent.workspace.exists() or not any(agent.workspace.iterdir())


def test_a_session_whose_knowledge_has_moved_says_so_and_is_told_where_to(agent: Agent, notes: Path) -> None:
    session = killed(agent, 12)
    notes.rename(agent.folder / "elsewhere")
    done = agent("resume", session)
    assert done.code == 2
    assert "does not exist" in done.err
    assert agent("resume", session, "--knowledge", "elsewhere", "--quiet").code == 0
    assert "../elsewhere/" in report_of(agent)
    assert check_citations(report_of(agent), agent.workspace) >= 12
