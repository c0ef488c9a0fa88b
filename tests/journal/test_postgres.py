"""The journal on a server: what goes wrong is said in one line, and a lost connection loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import re
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from agentrunner.errors import Fenced, JournalError, JournalFull, UsageError
from agentrunner.journal import GroupedJournal, open_journal
from tests.journal.parts import CREATED, append, python
from tests.support.postgres import Server


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.new_schema()


def query(url: str, statement: str) -> list[Any]:
    import psycopg

    with contextlib.closing(psycopg.connect(url, autocommit=True)) as db:
        cursor = db.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_the_schema_holds_what_was_written_as_json_that_the_server_can_read(home: Path, url: str) -> None:
    with contextlib.closing(open_journal(home, url)) as journal:
        append(journal, "s", 0, ("session.created", CREATED), ("tool.finished", {"content": "x" * 3_000_000}))
        assert query(url, "SELECT data::jsonb->>'goal' FROM events WHERE seq = 1") == [(CREATED["goal"],)]
        assert query(url, "SELECT length(data::jsonb->>'content') FROM events WHERE seq = 2") == [(3_000_000,)]
    assert not (home / "blobs").exists()


def test_a_server_that_is_restarted_between_two_commits_is_found_again(home: Path, postgres: Server, url: str) -> None:
    with contextlib.closing(open_journal(home, url)) as journal:
        append(journal, "s", 0, ("session.created", CREATED))
        postgres.stop()
        threading.Timer(0.5, postgres.start).start()
        append(journal, "s", 1, ("request.sent", {}))
        assert [event.seq for event in journal.load("s")] == [1, 2]


class Cutter:
    """Stands before the server's socket. When `armed`, it lets one more request through and drops the line in place of
    its reply: the client cannot know whether its commit was done. `spared` replies are passed on before that."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self._target = str(server.folder / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self.armed = False
        self.spared = 0
        self.cuts = 0
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._forward, self._listener.accept()[0])

    def _forward(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self._target)
            others = {client: server, server: client}
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is server and self.armed and self.spared:
                        self.spared -= 1
                    elif source is server and self.armed:
                        self.armed = False
                        self.cuts += 1
                        return
                    others[source].sendall(data)


@pytest.fixture
def cutter(postgres: Server) -> Iterator[Cutter]:
    # The path of a socket is limited to about a hundred characters.
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Cutter(Path(folder), postgres)) as made:
        yield made


def test_a_commit_whose_reply_was_lost_is_looked_up_and_not_done_twice(
    home: Path, postgres: Server, url: str, cutter: Cutter
) -> None:
    through = url.replace(quote(str(postgres.folder), safe=""), str(cutter.folder))
    with contextlib.closing(open_journal(home, through)) as journal:
        append(journal, "s", 0, ("session.created", CREATED))
        cutter.armed = True
        written = append(journal, "s", 1, ("a", {"n": 1}), ("b", {"n": 2}))
        cutter.armed = True
        entry = journal.post("s", "message", {"text": "hurry"})
        cutter.armed = True
        assert journal.drain("s") == [(entry, "message", {"text": "hurry"})]
        assert cutter.cuts == 3
        assert journal.load("s", after=1) == written


def test_a_shared_commit_whose_reply_was_lost_is_made_once(
    home: Path, postgres: Server, url: str, cutter: Cutter
) -> None:
    through = url.replace(quote(str(postgres.folder), safe=""), str(cutter.folder))

    async def append_to_all(grouped: GroupedJournal, after: int) -> list[Any]:
        appends = (grouped.append(f"s{n}", after, [("a", "", {}), ("b", "", {})]) for n in range(10))
        return list(await asyncio.gather(*appends, return_exceptions=True))

    with (
        contextlib.closing(open_journal(home, through)) as journal,
        contextlib.closing(GroupedJournal(journal)) as all_,
    ):
        asyncio.run(append_to_all(all_, 0))
        append(journal, "s3", 2, ("session.claimed", {}))
        # Each round meets the loss one reply later, and so, at some time, in place of the reply to COMMIT.
        for spared in range(16):
            cutter.spared = spared
            cutter.armed = True
            results = asyncio.run(append_to_all(all_, 2 + 2 * spared))
            assert [type(one) for one in results] == [Fenced if n == 3 else list for n in range(10)]
        assert cutter.cuts > 8
        for n in range(10):
            assert [event.seq for event in journal.load(f"s{n}")] == list(range(1, 4 if n == 3 else 35))


def test_a_commit_whose_reply_was_lost_is_fenced_when_another_owner_was_quicker(
    home: Path, postgres: Server, url: str, cutter: Cutter
) -> None:
    through = url.replace(quote(str(postgres.folder), safe=""), str(cutter.folder))
    with contextlib.closing(open_journal(home, through)) as old, contextlib.closing(open_journal(home, url)) as new:
        append(old, "s", 0, ("session.created", CREATED))
        append(new, "s", 1, ("session.claimed", {"owner": "new"}))
        cutter.armed = True
        with pytest.raises(Fenced):
            append(old, "s", 1, ("session.claimed", {"owner": "old"}))
        assert cutter.cuts == 1


FREEZE = """
import sys
from agentrunner.journal.postgres import PostgresDatabase
database = PostgresDatabase(sys.argv[1])
def work(execute):
    execute("INSERT INTO events VALUES ('s', 2, 'a', '', '', '', '', '{}')")
    print("holding", flush=True)
    sys.stdin.readline()
database.write(work)
"""


def test_a_writer_that_freezes_in_its_transaction_is_ended_by_the_server_and_nobody_is_stranded(
    home: Path, url: str
) -> None:
    with contextlib.closing(open_journal(home, url)) as journal:
        append(journal, "s", 0, ("session.created", CREATED))
        frozen = python(FREEZE, url, stdin=subprocess.PIPE)
        try:
            assert frozen.stdout is not None
            assert frozen.stdout.readline() == "holding\n"
            frozen.send_signal(signal.SIGSTOP)
            before = time.monotonic()
            append(journal, "s", 1, ("session.claimed", {"owner": "me"}))
            assert time.monotonic() - before < 20
            assert [event.type for event in journal.load("s")] == ["session.created", "session.claimed"]
        finally:
            frozen.kill()
            frozen.communicate()


def test_a_session_that_is_deleted_under_its_busy_writer_leaves_no_event(home: Path, url: str) -> None:
    def write() -> None:
        with contextlib.closing(open_journal(home, url)) as writer:
            for after in range(1, 10_000):
                append(writer, "s", after, ("e", {}))

    with contextlib.closing(open_journal(home, url)) as journal, ThreadPoolExecutor(1) as pool:
        append(journal, "s", 0, ("session.created", CREATED))
        writing = pool.submit(write)
        while len(journal.load("s")) < 20:
            assert not writing.done()
        journal.remove("s")
        assert isinstance(writing.exception(30), Fenced)
        assert journal.load("s") == []


def test_a_wrong_password_is_one_line_that_does_not_show_it(home: Path, postgres: Server) -> None:
    query(postgres.url(), "DO $$ BEGIN CREATE ROLE guarded LOGIN PASSWORD 'right'; EXCEPTION WHEN OTHERS THEN END $$")
    wrong = postgres.url(user="guarded").replace("guarded@", "guarded:hunter2@")
    with pytest.raises(UsageError, match=r"cannot be reached: .*password.*AGENT_DATABASE_URL, PGPASSWORD") as caught:
        open_journal(home, wrong)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql://me:hunter2@127.0.0.1:1/agent",
            r"postgresql://127\.0\.0\.1:1/agent' cannot be reached.*start the",
        ),
        ("postgresql://me:hun/ter2@127.0.0.1:1/agent", r"'postgresql://\.\.\.' cannot be reached"),
        ("postgresql://me:hunter2@[::1/agent", "cannot be understood; expected postgresql://USER"),
        ("mysql://me:hunter2@db/agent", r"'mysql://\.\.\.' is not supported; give AGENT_DATABASE_URL as postgresql://"),
        ("me:hunter2", r"'://\.\.\.' is not supported"),
    ],
)
def test_a_server_that_cannot_be_reached_is_a_usage_error_without_the_password(home: Path, url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        open_journal(home, url)
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)


def test_a_database_that_is_not_there_is_named(home: Path, postgres: Server) -> None:
    with pytest.raises(UsageError, match=r'database "nosuch" does not exist; make it with \'createdb\''):
        open_journal(home, postgres.url(database="nosuch"))


def test_a_database_that_cannot_hold_every_character_is_refused(home: Path, postgres: Server) -> None:
    query(postgres.url(), "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(UsageError, match=r"has the encoding LATIN1.*createdb -E UTF8"):
        open_journal(home, postgres.url(database="latin"))


def test_tables_of_somebody_else_are_left_alone(home: Path, url: str) -> None:
    query(url, "CREATE TABLE events (id INT)")
    with pytest.raises(JournalError, match=r"has tables 'events' or 'inbox' that are not a journal's; give"):
        open_journal(home, url)


def test_a_user_who_may_not_make_tables_is_told_what_to_grant(home: Path, postgres: Server, url: str) -> None:
    query(postgres.url(), "DO $$ BEGIN CREATE ROLE weak LOGIN; EXCEPTION WHEN OTHERS THEN END $$")
    with pytest.raises(UsageError, match=r"may not be read or written.*grant its user CREATE"):
        open_journal(home, postgres.url(user="weak", schema="public"))


def test_the_database_of_a_newer_version_is_refused(home: Path, url: str) -> None:
    open_journal(home, url).close()
    query(url, "UPDATE agent_journal SET format = 7")
    with pytest.raises(JournalError, match=r"has format 7, this program knows formats up to 1; update agentrunner"):
        open_journal(home, url)


def test_without_psycopg_the_extra_to_install_is_named() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pathlib import Path\nfrom agentrunner.journal import open_journal\n"
        "try: open_journal(Path('/nowhere'), 'postgresql://me:hunter2@db/agent')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = python(code).communicate()[0]
    assert re.match(r"UsageError .*psycopg, which is not installed.*pip install 'agentrunner\[postgres\]'", said)
    assert "hunter2" not in said


def test_psycopg_is_not_loaded_for_a_journal_in_a_file(home: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom agentrunner.journal import open_journal\n"
        "open_journal(Path(sys.argv[1])).close()\nprint('psycopg' in sys.modules)"
    )
    assert python(code, home).communicate()[0] == "False\n"


def test_a_server_that_stays_away_ends_the_wait_with_one_line(
    home: Path, postgres: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentrunner.journal.postgres.RECONNECT_S", 0.5)
    with contextlib.closing(open_journal(home, url)) as journal:
        append(journal, "s", 0, ("session.created", CREATED))
        postgres.stop()
        try:
            with pytest.raises(JournalFull, match=r"could not be written or read.*then resume"):
                append(journal, "s", 1, ("request.sent", {}))
        finally:
            postgres.start()
        assert len(journal.load("s")) == 1


OPEN = """
import sys
from pathlib import Path
import psycopg
from agentrunner.journal import GroupedJournal, open_journal
print("ready", flush=True)
sys.stdin.readline()
open_journal(Path(sys.argv[1]), sys.argv[2]).close()
"""


def test_processes_that_make_the_tables_at_the_same_moment_all_find_them(home: Path, url: str) -> None:
    openers = [python(OPEN, home, url, stdin=subprocess.PIPE) for _ in range(5)]
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("\n")
        opener.stdin.flush()
    assert [(opener.communicate(timeout=60), opener.returncode)[1] for opener in openers] == [0] * 5
