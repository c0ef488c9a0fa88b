"""A journal of its own for each test, in a folder of its own: once as a file, once on a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentrunner.journal import SqlJournal, open_journal


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    """An empty database: None is the file in the home."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres").new_schema()


@pytest.fixture
def journal(home: Path, url: str | None) -> Iterator[SqlJournal]:
    with contextlib.closing(open_journal(home, url)) as opened:
        yield opened


@pytest.fixture
def file_journal(home: Path) -> Iterator[SqlJournal]:
    with contextlib.closing(open_journal(home)) as opened:
        yield opened
