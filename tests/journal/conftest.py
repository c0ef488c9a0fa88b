"""A journal of its own for each test, in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentrunner.journal import SqliteJournal, open_journal


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def journal(home: Path) -> Iterator[SqliteJournal]:
    opened = open_journal(home)
    yield opened
    opened.close()
