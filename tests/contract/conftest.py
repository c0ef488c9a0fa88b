"""A server for clients that run as programs of their own, each with the packages it needs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.conftest import Server, full_sandbox, obey, server_in
from tests.support.endpoint import Endpoint

__all__ = ["full_sandbox"]
PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Endpoint(obey) as endpoint, server_in(tmp_path_factory.mktemp("contract"), endpoint) as running:
        yield running


def output_of(*command: str | Path) -> str:
    """What a client's program prints. It gets nothing of this environment that could change what is imported."""
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
    done = subprocess.run([str(part) for part in command], env=keep, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode()
