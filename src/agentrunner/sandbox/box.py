"""The sandbox of one session: opens the best wall that this machine has, and runs programs behind it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from agentrunner.errors import SandboxError

from .interpreter import Interpreter
from .launch import Child, Launcher, Wall, launch
from .plan import check_workspace, extra_packages
from .running import to_end
from .values import Limits, Ran
from .walls import Level, build, lacking, offers, remedy, try_out
from .watch import Watch


class Sandbox:
    """Programs run here see the workspace and nothing else of the user's. Made by `open_sandbox`; belongs to one event
    loop at a time."""

    def __init__(self, wall: Wall, level: Level, lacks: tuple[str, ...]) -> None:
        self.level: Level = level
        self.launcher: Launcher = wall.launcher
        self.lacks = lacks
        """What this level does not hold, in sentences."""
        self.workspace = Path(wall.workspace)
        self.limits = wall.limits
        self._wall = wall
        self._watch = Watch(self.workspace, wall.limits)
        self._children: set[Child] = set()
        self._interpreters: list[Interpreter] = []
        self._closed = False

    async def run(self, argv: Sequence[str], *, timeout_s: float | None = None, stdin: bytes = b"") -> Ran:
        """Runs one program to its end, in the workspace. Raises `SandboxError` only if the wall cannot be built."""
        await self._watch.measure_before()
        child = await self._launch(argv, stdin)
        try:
            return await to_end(child, self._watch, self.limits.wall_s if timeout_s is None else timeout_s)
        finally:
            self._children.discard(child)

    async def interpreter(self) -> Interpreter:
        """A Python of its own, ready for its first cell."""

        async def start(control: int) -> Child:
            worker = str(Path(__file__).parent / "inside" / "worker.py")
            argv = [sys.executable, "-I", worker, str(control), *extra_packages()]
            return await self._launch(argv, b"", (control,))

        started = Interpreter(start, self._watch)
        self._interpreters.append(started)
        await started.start()
        return started

    async def aclose(self) -> None:
        """Ends everything that was started here."""
        for interpreter in self._interpreters:
            await interpreter.aclose()
        self.close()

    def close(self) -> None:
        """The same at once, for the end of the process: waits for nobody's consent and needs no event loop."""
        self._closed = True
        for child in self._children:
            child.end_now()
        self._children.clear()
        self._wall.discard()

    async def _launch(self, argv: Sequence[str], stdin: bytes, keep: Sequence[int] = ()) -> Child:
        if self._closed:
            raise SandboxError("the sandbox is closed")
        starting = asyncio.create_task(asyncio.to_thread(launch, self._wall, argv, stdin=stdin, keep=keep))
        try:
            child = await asyncio.shield(starting)
        except asyncio.CancelledError:  # it is being started all the same
            (await starting).discard()
            raise
        self._children = {other for other in self._children if other.process.returncode is None} | {child}
        return child


def open_sandbox(
    workspace: Path,
    *,
    level: Literal["auto", "full", "partial", "none"] = "auto",
    launcher: Literal["auto", "bwrap", "native"] = "auto",
    limits: Limits | None = None,
    environment: Mapping[str, str] | None = None,
    confirmed_none: bool = False,
) -> Sandbox:
    """The best sandbox of the wanted level. "auto" takes FULL, else PARTIAL, never NONE. `environment` is added to the
    few variables that programs get. Raises `SandboxError` with the cause and the remedy."""
    if sys.platform != "linux":
        raise SandboxError(
            f"there is no sandbox for {sys.platform} yet: code and commands cannot be run", "files and web still work"
        )
    real = check_workspace(workspace)
    if level == "none" and not confirmed_none:
        raise SandboxError("running without a sandbox needs a confirmation", "add --i-know-there-is-no-sandbox")
    refusals: list[str] = []
    for offer in offers(level, launcher):
        wall = build(offer, real, limits or Limits(), environment or {})
        if not (refusal := try_out(wall)):
            return Sandbox(wall, offer.level, lacking(offer, wall))
        wall.discard()
        refusals.append(f"{offer.launcher}: {refusal}")
    raise SandboxError(f"no sandbox can be set up here ({'; '.join(dict.fromkeys(refusals))})", remedy(refusals))
