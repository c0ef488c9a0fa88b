"""The house rules that a machine can check: who imports whom, and what a start loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import agentrunner

PACKAGE = Path(agentrunner.__file__).parent
LEAVES = {"config", "guard", "strategies", "llm", "sandbox", "journal", "render", "retrieval", "sanitise"}
EVERYONE = {"types", "errors", "sanitise", "addresses", "certificates"}
ALLOWED = {
    **dict.fromkeys(LEAVES, EVERYONE),
    "types": set[str](),
    "errors": set[str](),
    "sanitise": set(),
    "addresses": set(),
    "certificates": set[str](),
    "scripts": set[str](),
    "tools": EVERYONE | {"sandbox", "retrieval"},
    "engine": EVERYONE | {"guard"},
    "runner": EVERYONE | LEAVES | {"tools", "engine"},
    "server": EVERYONE | LEAVES | {"tools", "engine", "runner"},
    "cli": EVERYONE | LEAVES | {"tools", "engine", "runner", "server", ""},
    "__init__": EVERYONE | {"tools"},
    "__main__": {"cli"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(path: Path) -> set[str]:
    """Rooms of this package that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "agentrunner":
                names = [f"agentrunner.{alias.name}" for alias in node.names]
        found |= {[*name.split("."), ""][1] for name in names if name.split(".")[0] == "agentrunner"}
    return {name for name in found if not name.startswith("__")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    here = room(path)
    assert here in ALLOWED, f"{here!r} is a new room: say in this test what it may import"
    assert imports(path) <= ALLOWED[here] | {here}


def loaded_by(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    heavy = {"openai", "pydantic", "pandas", "jinja2", "yaml", "trafilatura", "ddgs", "aiohttp", "asyncio"}
    code = "from agentrunner.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not heavy & loaded_by(code)


def test_every_public_name_is_there() -> None:
    for name in agentrunner.__all__:
        assert getattr(agentrunner, name), name
    assert set(agentrunner._HOME) == set(agentrunner.__all__) - {"__version__"}  # pyright: ignore[reportPrivateUsage]


def test_importing_the_package_loads_none_of_its_rooms() -> None:
    assert not {name for name in loaded_by("import agentrunner") if name.startswith("agentrunner.")}
