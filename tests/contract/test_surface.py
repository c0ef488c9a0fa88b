"""Every method of the official Python client, in each of its forms, at both ends of its history."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.contract.conftest import PROGRAMS, output_of
from tests.contract.environments import Missing, python_of
from tests.runs.conftest import Server

OLDEST = "1.60.0"


def python_with(age: str) -> Path:
    if age == "newest":
        return Path(sys.executable)
    try:
        return python_of(age)
    except Missing as why:
        pytest.skip(str(why))


@pytest.mark.parametrize("kind", ["sync", "async", "azure"])
@pytest.mark.parametrize("age", ["newest", "oldest"])
def test_every_method_of_the_client_is_answered_as_it_expects(age: str, kind: str, server: Server) -> None:
    result = json.loads(output_of(python_with(age), PROGRAMS / "surface.py", server.url, kind))

    assert result["missed"] == []
    assert result["called"] >= 60  # Fewer would mean that the client's methods are no longer found.
    assert (result["version"] == OLDEST) == (age == "oldest")
