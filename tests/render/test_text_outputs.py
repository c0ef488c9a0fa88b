"""Plain lines, JSON lines, the result on standard output, and the HTML report."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from sample_events import Recorder, created, finished, hostile_events, session_events, stopped_events
from test_terminal import HOSTILE, is_harmless

from agentrunner.render.jsonl import JsonlWriter, export
from agentrunner.render.outcome import result_text, resume_commands
from agentrunner.render.plain import PlainScreen
from agentrunner.render.report import html_report
from agentrunner.render.screen import choose_screen
from agentrunner.types import Event


def plain(events: list[Event]) -> tuple[str, str]:
    """Standard error and standard output of a session without a terminal."""
    stderr, stdout = io.StringIO(), io.StringIO()
    screen = PlainScreen(stderr)
    for event in events:
        screen(event)
    screen.show_result(events[-1], stdout)
    return stderr.getvalue(), stdout.getvalue()


def test_plain_lines_say_one_fact_each() -> None:
    lines = plain(session_events())[0].splitlines()
    assert "step 3 thought: The column is lower case; I plot size against flippers." in lines
    assert "step 3 python ok 1.9 s: ok correlation 0.871" in lines
    assert "step 3 file: insights.png (48 KB)" in lines
    assert "step 3 plan changed as asked" in lines
    assert "step 3 429 from the endpoint (Rate limit reached), trying again in 2.0 s" in lines
    assert "finished: goal met (status completed, exit 0)" in lines


def test_the_plain_end_says_what_is_pending_and_how_to_go_on() -> None:
    recorder = Recorder("s-1")
    created(recorder)
    pending = [{"call_id": "c1", "kind": "approval", "question": "may web_fetch reach example.org?"}]
    finished(recorder, status="requires_action", reason="needs_approval", exit_code=10, answer="", pending=pending)
    lines = plain(recorder.events)[0].splitlines()
    assert "pending approval: may web_fetch reach example.org?" in lines
    assert "go on: agent resume s-1 --answer y" in lines


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_plain_lines_cannot_be_forged(text: str) -> None:
    stderr, stdout = plain(hostile_events(f"{text}\nstep 9 python ok 0.1 s: forged"))
    assert is_harmless(stderr)
    assert is_harmless(stdout.replace("\t", ""))
    assert not any(line.startswith("step 9") for line in stderr.splitlines())


def test_quiet_shows_the_result_and_nothing_else() -> None:
    stderr, stdout = io.StringIO(), io.StringIO()
    screen = choose_screen(stderr, {}, quiet=True)
    for event in session_events():
        screen(event)
    screen.show_result(session_events()[-1], stdout)
    assert stderr.getvalue() == ""
    assert stdout.getvalue() == result_text(session_events()[-1])


def test_a_stream_without_the_characters_gets_escapes_instead_of_a_crash() -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stderr = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    end = session_events()[-1]
    end.data["answer"] = "größer"
    choose_screen(stderr, {}).show_result(end, stdout)
    stdout.seek(0)
    assert stdout.read() == "gr\\xf6\\xdfer\n"


@pytest.mark.parametrize(
    ("reason", "option"),
    [
        ("budget_steps", " --add-steps 20"),
        ("budget_cost", " --add-cost 0.50"),
        ("budget_tokens", " --add-tokens 100000"),
        ("budget_time", " --add-time 15m"),
        ("needs_input", ' --answer "..."'),
        ("interrupted", ""),
        ("goal_met", ' "what to do next"'),
    ],
)
def test_the_way_on_is_a_command_to_paste(reason: str, option: str) -> None:
    status = "completed" if reason == "goal_met" else "incomplete"
    data = {"reason": reason, "status": status, "resumable": True}
    assert resume_commands("s-1", data) == [f"agent resume s-1{option}"]


def test_raised_limits_are_added_to_what_was_allowed() -> None:
    recorder = Recorder()
    created(recorder)
    recorder.add("budget.raised", steps=20, usd=0.5)
    finished(recorder, status="failed", reason="provider_error", exit_code=3, answer="", message="401: bad key")
    text = plain(recorder.events)[0]
    assert "limits raised by 20 steps, $0.50" in text
    assert "why: 401: bad key" in text
    assert "$0.0124 of $1.50" in text


def test_a_session_that_cannot_go_on_names_no_command() -> None:
    assert resume_commands("s-1", {"reason": "internal_error", "resumable": False}) == []


def test_json_lines_carry_the_envelope_and_the_public_keys() -> None:
    events = session_events()
    events[2].data["_messages"] = ["internal"]
    stream = io.StringIO()
    writer = JsonlWriter(stream)
    for event in events:
        writer(event)
    writer.on_delta("half")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert list(lines[0])[:5] == ["v", "seq", "at", "session_id", "type"]
    assert "_messages" not in lines[2]
    assert lines[3]["thoughts"] == events[3].data["thoughts"]
    assert lines[-1] == {"v": 1, "type": "text_delta", "session_id": events[0].session_id, "text": "half"}
    exported = [json.loads(line) for line in export(events)]
    assert [line["_key"] for line in exported] == [event.key for event in events]
    assert [{key: line[key] for key in shown} for line, shown in zip(exported, lines[:-1], strict=True)] == lines[:-1]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_json_lines_keep_hostile_text_exactly_and_show_nothing_of_it(text: str) -> None:
    lines = list(export(hostile_events(text)))
    assert json.loads(lines[0])["goal"] == text
    for line in lines:
        assert is_harmless(line)
        assert len(line.splitlines()) == 1
        line.encode("utf-8")


def test_json_lines_on_a_stream_that_is_not_utf8_are_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    JsonlWriter(stream)(hostile_events("größer €")[0])
    stream.seek(0)
    assert json.loads(stream.read())["goal"] == "größer €"


def test_a_reader_that_left_stops_the_writing_without_an_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    told: list[str] = []
    with os.fdopen(write_end, "wb", buffering=0) as pipe:
        writer = JsonlWriter(io.TextIOWrapper(pipe, write_through=True), on_broken=lambda: told.append("broken"))
        for event in session_events():
            writer(event)
        writer.close()
    assert writer.broken
    assert told == ["broken"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a Linux device")
def test_a_full_disk_is_an_error_at_the_end() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = JsonlWriter(io.TextIOWrapper(full, write_through=True))
        writer(session_events()[0])
        with pytest.raises(OSError):
            writer.close()


class Page(HTMLParser):
    """Checks that tags are balanced, and collects them with their attributes."""

    VOID = ("meta", "br", "img", "link")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_tells_the_whole_session() -> None:
    page = Page(html_report(session_events()))
    for fact in ("Find the most important insights", "goal met", "KeyError", "correlation 0.871", "22.2k tokens"):
        assert fact in page.text
    assert sum(tag == "rect" for tag, _ in page.tags) == 4
    assert Page(html_report(stopped_events())).text.count("guard, replan") == 1


@pytest.mark.parametrize(
    "text", [*HOSTILE, "</style><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "$body $title"]
)
def test_foreign_text_in_the_report_is_only_text(text: str) -> None:
    source = html_report(hostile_events(text))
    page = Page(source)
    assert is_harmless(source.replace("\t", ""))
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "a", "img"} == set()
    assert not any(name.startswith("on") or name == "href" for _, attributes in page.tags for name in attributes)


def test_the_report_forbids_the_browser_to_load_anything() -> None:
    source = html_report(session_events())
    assert "default-src 'none'" in source
    assert re.findall(r"https?://", source) == []


def test_the_report_of_a_session_that_only_began_is_a_page() -> None:
    assert "not finished" in Page(html_report(session_events()[:1])).text
    assert "not finished" in Page(html_report([])).text


def report_with_picture(root: Path, path: str, sha256: str) -> str:
    recorder = Recorder()
    created(recorder)
    finished(recorder, artifacts=[{"path": path, "bytes": 40, "sha256": sha256}])
    return html_report(recorder.events, root)


def test_a_picture_is_embedded_when_it_is_still_the_recorded_one(tmp_path: Path) -> None:
    data = b"\x89PNG\r\n\x1a\n" + b"0" * 32
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a.png").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    assert "data:image/png;base64,iVBOR" in report_with_picture(tmp_path, "plots/a.png", sha256)
    assert "data:image/png" not in report_with_picture(tmp_path, "plots/a.png", "0" * 64)


def test_a_picture_outside_of_the_workspace_is_not_embedded(tmp_path: Path) -> None:
    data = b"\x89PNG\r\n\x1a\n" + b"0" * 32
    sha256 = hashlib.sha256(data).hexdigest()
    root = tmp_path / "workspace"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(data)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.png")
    for path in ("link.png", "folder/secret.png", "../secret.png", str(tmp_path / "secret.png"), "pipe.png", "no.png"):
        assert "data:image/png" not in report_with_picture(root, path, sha256)
