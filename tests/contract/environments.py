"""Makes the environments of the contract tests: a folder for each client, with that client and nothing else of ours.

python -m tests.contract.environments FOLDER
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

PYTHONS = {
    "oldest": ("openai==1.60.0", "httpx<1"),
    "langchain": ("langchain-classic", "langchain-openai"),
    "semantic-kernel": ("semantic-kernel",),
}
"""What pip installs into the environment of that name. The newest client is among the development requirements."""

NODE = "node"
FOLDER = Path(os.environ.get("CONTRACT_ENVIRONMENTS") or Path(__file__).parents[2] / ".contract").absolute()


class Missing(Exception):
    """An environment is not there; says why and how to make it."""


def python_of(name: str, folder: Path = FOLDER) -> Path:
    found = folder / name / "bin" / "python"
    if not _is_complete(folder / name):
        raise Missing(f"no environment {name!r} in {folder}: `make contract` makes it")
    return found


def node_of(folder: Path = FOLDER) -> str:
    """The node that has npm's client in FOLDER/node."""
    found = shutil.which("node")
    if not found:
        raise Missing("node is not installed")
    if not _is_complete(folder / NODE):
        raise Missing(f"no environment {NODE!r} in {folder}: `make contract` makes it, where npm is installed")
    return found


def make(folder: Path) -> None:
    """Make what is not there yet. A half-made environment is made again."""
    for name, packages in PYTHONS.items():
        here = folder / name
        if not _is_complete(here):
            venv.create(here, clear=True, with_pip=True)
            _run([str(here / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages])
            _mark(here)
    here = folder / NODE
    if not shutil.which("npm"):
        print("npm is not installed: its client is left out", file=sys.stderr)
    elif not _is_complete(here):
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir(parents=True)
        (here / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "openai"], here)
        _mark(here)


def _run(command: list[str], folder: Path | None = None) -> None:
    print("$", *command, flush=True)
    subprocess.run(command, cwd=folder, check=True)


def _mark(folder: Path) -> None:
    (folder / "complete").touch()


def _is_complete(folder: Path) -> bool:
    return (folder / "complete").is_file()


if __name__ == "__main__":
    make(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else FOLDER)
