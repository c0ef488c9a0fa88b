"""The lock of a session: one holder at a time, named to others, and gone with its process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentrunner.errors import SessionBusy, UsageError
from agentrunner.journal import SessionLock, SqlJournal, holder

HOLD = """
import sys
from pathlib import Path
from agentrunner.errors import SessionBusy
from agentrunner.journal import SessionLock
sys.stdin.readline()
try:
    lock = SessionLock(Path(sys.argv[1]), "s").acquire()
except SessionBusy as busy:
    print("busy", busy, flush=True)
else:
    print("held", flush=True)
    sys.stdin.readline()
"""


def contender(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_of_processes_that_race_exactly_one_holds_the_session_and_the_others_are_told_who(home: Path) -> None:
    processes = [contender(home) for _ in range(5)]
    try:
        for process in processes:
            tell(process)
        answers = {process.pid: hear(process) for process in processes}
        (winner,) = [pid for pid, answer in answers.items() if answer == "held\n"]
        assert all(answer.startswith("busy session s is held by") for pid, answer in answers.items() if pid != winner)
        with pytest.raises(SessionBusy, match=rf"held by process {winner} \(.*\) since 20.* on {socket.gethostname()}"):
            SessionLock(home, "s").acquire()
        found = holder(home, "s")
        assert found is not None
        assert found.pid == winner
    finally:
        for process in processes:
            end(process)


def test_a_killed_holder_holds_no_longer(home: Path) -> None:
    process = contender(home)
    tell(process)
    assert hear(process) == "held\n"
    with pytest.raises(SessionBusy):
        SessionLock(home, "s").acquire()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert holder(home, "s") is None
    with SessionLock(home, "s"):
        assert holder(home, "s") is not None


def test_a_child_of_the_holder_does_not_keep_the_lock(home: Path) -> None:
    lock = SessionLock(home, "s").acquire()
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.readline()"], stdin=subprocess.PIPE)
    try:
        lock.release()
        assert holder(home, "s") is None
    finally:
        child.communicate(b"\n")


def test_the_same_process_cannot_hold_a_session_twice(home: Path) -> None:
    with SessionLock(home, "s"), SessionLock(home, "other"), pytest.raises(SessionBusy, match=str(os.getpid())):
        SessionLock(home, "s").acquire()
    with SessionLock(home, "s") as lock:
        lock.release()
        lock.release()


def test_the_holder_may_delete_the_session_and_the_next_lock_is_a_new_one(home: Path, journal: SqlJournal) -> None:
    with SessionLock(home, "s") as lock:
        journal.remove("s")
        assert not lock.path.exists()
        with SessionLock(home, "s"), pytest.raises(SessionBusy):
            SessionLock(home, "s").acquire()
    assert holder(home, "s") is None


def test_a_lock_file_without_readable_content_still_locks(home: Path) -> None:
    with SessionLock(home, "s") as lock:
        lock.path.write_text("[1, 2")
        with pytest.raises(SessionBusy, match="held by another process"):
            SessionLock(home, "s").acquire()


def test_where_locking_is_impossible_it_is_a_usage_error(home: Path) -> None:
    home.mkdir()
    (home / "locks").write_text("a file")
    with pytest.raises(UsageError, match="cannot lock"):
        SessionLock(home, "s").acquire()


def test_a_lock_file_that_is_a_link_is_not_followed(home: Path, tmp_path: Path) -> None:
    (home / "locks").mkdir(parents=True)
    (tmp_path / "precious").write_text("text")
    (home / "locks" / "s.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(UsageError, match="cannot lock"):
        SessionLock(home, "s").acquire()
    assert (tmp_path / "precious").read_text() == "text"
