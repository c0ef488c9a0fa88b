"""The stage, once for a file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kill.scene import Scene, open_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with open_scene(tmp_path_factory.mktemp("kill")) as opened:
        yield opened


@pytest.fixture(scope="module")
def databases() -> dict[str, str]:
    """URLs of journals by name, as they are asked for."""
    return {"sqlite": ""}


@pytest.fixture
def url(request: pytest.FixtureRequest, databases: dict[str, str], database: str) -> str:
    """The URL of the journal for this test's `database`."""
    if database not in databases:
        databases[database] = request.getfixturevalue("postgres").new_schema()
    return databases[database]
