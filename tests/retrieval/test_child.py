"""The child that parses: one for many files, stopped when it takes too long, replaced when it dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentrunner.retrieval.documents import Limits, Unreadable
from agentrunner.retrieval.parse import Parser

PAGE = b"<p>hello"


def children() -> set[int]:
    tasks = Path(f"/proc/{os.getpid()}/task")
    return {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_many_files_share_one_process_that_ends_with_the_parser() -> None:
    before = children()
    with Parser() as parser:
        seen = set[int]()
        for _ in range(5):
            assert parser.parse_bytes(PAGE, "page.html").text == "hello\n"
            seen |= children() - before
        assert len(seen) == 1
    assert not children() - before


def test_plain_text_takes_no_process() -> None:
    before = children()
    with Parser() as parser:
        parser.parse_bytes(b"hello", "notes.txt")
        assert children() == before


def test_threads_may_share_a_parser() -> None:
    pages = [f"<p>{number} " + "x" * 100_000 for number in range(20)]
    with Parser() as parser, ThreadPoolExecutor(4) as threads:
        read = threads.map(lambda page: parser.parse_bytes(page.encode(), "page.html").text, pages)
        assert list(read) == [page.removeprefix("<p>") + "\n" for page in pages]


def test_a_child_that_was_killed_is_replaced() -> None:
    before = children()
    with Parser() as parser:
        parser.parse_bytes(PAGE, "page.html")
        for pid in children() - before:
            os.kill(pid, signal.SIGKILL)
            while is_alive(pid):
                time.sleep(0.01)
        assert parser.parse_bytes(PAGE, "page.html").text == "hello\n"


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_is_read() -> None:
    slow = b"<p>" + b"<div>\n" * 2_000_000
    with Parser(timeout_s=0.3) as parser:
        with pytest.raises(Unreadable, match=r"'slow.html' takes longer than 0.3 s"):
            parser.parse_bytes(slow, "slow.html")
        parser.timeout_s = 60
        assert parser.parse_bytes(PAGE, "page.html").text == "hello\n"


def test_a_child_ends_soon_after_the_one_that_asked_was_killed() -> None:
    program = (
        "from agentrunner.retrieval.parse import Parser\n"
        "parser = Parser()\n"
        "parser.parse_bytes(b'<p>hello', 'page.html')\n"
        "parser.timeout_s = 0.9\n"
        "print('ready', flush=True)\n"
        "parser.parse_bytes(b'<div>\\n' * 4_000_000, 'slow.html')\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert asking.stdout
    with asking, asking.stdout:
        assert asking.stdout.readline() == b"ready\n"
        (child,) = map(int, Path(f"/proc/{asking.pid}/task/{asking.pid}/children").read_text().split())
        asking.kill()
    deadline = time.monotonic() + 60
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_file_that_needs_too_much_memory_is_refused_and_the_next_one_is_read() -> None:
    with Parser(limits=Limits(memory_bytes=192 << 20)) as parser:
        with pytest.raises(Unreadable, match="needs more than 192 MB of memory"):
            parser.parse_bytes(b"<p>" + b"a" * (50 << 20), "large.html")
        assert parser.parse_bytes(PAGE, "page.html").text == "hello\n"


def test_files_can_be_parsed_behind_a_wall_of_the_callers() -> None:
    asked: list[float] = []

    def run(argv: Sequence[str], stdin: bytes, timeout_s: float) -> bytes:
        asked.append(timeout_s)
        return subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout_s, env={}).stdout

    with Parser(run=run, timeout_s=30) as parser:
        assert parser.parse_bytes(PAGE, "page.html").text == "hello\n"
        assert parser.parse_bytes(b"hello", "notes.txt").text == "hello"
    assert asked == [30]


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"bytes": -1}\n',
        b'{"bytes": 99999999999}\n',
        b'{"bytes": 2, "parts": [], "notes": []}\nhi',
        b'{"bytes": 2, "parts": [[5, "line", 1, true, ""]], "notes": []}\nhi',
        b'{"bytes": 2, "parts": [[0, "line", 1, true, ""]], "notes": []}\n\xff\xff',
        b'{"bytes": 2, "parts": [[0, "line"]], "notes": []}\nhi',
        b'{"bytes": 1, "parts": [[0, "line", 1, true, ""]], "notes": []}\nmuch more than one',
    ],
)
def test_a_child_that_was_taken_over_is_not_believed(said: bytes) -> None:
    with Parser(run=lambda argv, stdin, timeout_s: said) as parser, pytest.raises(Unreadable, match="nonsense"):
        parser.parse_bytes(PAGE, "page.html")


def test_a_child_that_ends_in_the_middle_of_its_answer_has_crashed() -> None:
    said = b'{"bytes": 5}\nhi'
    with Parser(run=lambda argv, stdin, timeout_s: said) as parser, pytest.raises(Unreadable, match="crashes"):
        parser.parse_bytes(PAGE, "page.html")
