"""The sandbox of one session: opens the best wall that this machine has, and runs programs behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from agentrunner.errors import SandboxError

from .interpreter import Interpreter
from .launch import PROCESSES, Child, Launcher, Wall, launch
from .network import VARIABLES, Network, Request
from .plan import check_workspace, extra_packages
from .proxy import serve
from .running import to_end, until_dead
from .still import held_still, wait_until_built
from .values import Limits, Ran
from .walls import Level, build, lacking, offers, remedy, try_out
from .watch import Watch


class Sandbox:
    """Programs run here see the workspace and nothing else of the user's. Made by `open_sandbox`; belongs to one event
    loop at a time."""

    def __init__(self, wall: Wall, level: Level, lacks: tuple[str, ...], network: Network | None = None) -> None:
        self.level: Level = level
        self.launcher: Launcher = wall.launcher
        self.lacks = lacks
        """What this level does not hold, in sentences."""
        self.workspace = Path(wall.workspace)
        self.limits = wall.limits
        self._wall = wall
        self._watch = Watch(self.workspace, wall.limits, Path(wall.private.path) if wall.private else None)
        self._children: set[Child] = set()
        self._building = threading.Lock()
        self._interpreters: list[Interpreter] = []
        self._network = network
        self._proxies: dict[Child, asyncio.Task[None]] = {}
        self._closed = False

    async def run(self, argv: Sequence[str], *, timeout_s: float | None = None, stdin: bytes = b"") -> Ran:
        """Runs one program to its end, in the workspace. Raises `SandboxError` only if the wall cannot be built."""
        await self._watch.measure_before()
        child = await self._launch(argv, stdin)
        try:
            return await to_end(child, self._watch, self.limits.wall_s if timeout_s is None else timeout_s)
        finally:
            self._children.discard(child)
            await self._end_proxies([child])

    @property
    def hosts(self) -> tuple[str, ...]:
        """What programs may reach, through the proxy that their environment names."""
        return self._network.hosts if self._network else ()

    def take_requests(self) -> list[Request]:
        """What programs asked the proxy for since the last call; a tunnel still open is shown again by the next."""
        return self._network.take() if self._network else []

    @property
    def cpu_used_s(self) -> float:
        """Processor time of all programs and cells so far; `limits.cpu_total_s` is what they may use."""
        return self._watch.cpu_used_s

    async def interpreter(self, warm: Sequence[str] = ()) -> Interpreter:
        """A Python of its own, ready for its first cell. Those of the packages `warm` that are installed are imported
        meanwhile."""

        async def start(control: int) -> Child:
            worker = str(Path(__file__).parent / "inside" / "worker.py")
            argv = [sys.executable, "-I", worker, str(control), *extra_packages()]
            return await self._launch(argv, b"", (control,))

        started = Interpreter(start, self._watch)
        self._interpreters.append(started)
        await started.start()
        await started.warm([name for name in warm if find_spec(name.partition(".")[0])])
        return started

    async def aclose(self) -> None:
        """Ends everything that was started here."""
        for interpreter in self._interpreters:
            await interpreter.aclose()
        await self._end_proxies(list(self._proxies))
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
        ours, theirs = socket.socketpair() if self._network else (None, None)
        door = theirs.fileno() if theirs else -1
        starting = asyncio.create_task(asyncio.to_thread(self._start, argv, stdin, keep, door))
        try:
            child = await asyncio.shield(starting)
        except BaseException as failure:
            if ours:
                ours.close()
            if isinstance(failure, asyncio.CancelledError):  # it is being started all the same
                (await starting).discard()
            raise
        finally:
            if theirs:
                theirs.close()
        self._children = {other for other in self._children if other.process.returncode is None} | {child}
        if self._network and ours:
            self._proxies[child] = asyncio.create_task(self._proxy(self._network, ours, child))
        return child

    def _start(self, argv: Sequence[str], stdin: bytes, keep: Sequence[int], door: int) -> Child:
        with self._building:
            others = [child for child in self._children if child.lives]
            if not others or not PROCESSES.get(self.launcher):
                return launch(self._wall, argv, stdin=stdin, keep=keep, door=door)
            with held_still(child.process.pid for child in others):
                child = launch(self._wall, argv, stdin=stdin, keep=keep, door=door)
                wait_until_built(child.process.pid, child.handle, PROCESSES[self.launcher])
                return child

    async def _proxy(self, network: Network, control: socket.socket, child: Child) -> None:
        over = asyncio.ensure_future(self._over(child))
        try:
            await serve(network, control, over)
        finally:
            over.cancel()
            self._proxies.pop(child, None)

    async def _over(self, child: Child) -> None:
        with contextlib.suppress(OSError):  # it is over already, and its descriptors are closed
            await until_dead(child, self._watch)

    async def _end_proxies(self, children: Sequence[Child]) -> None:
        """When this returns, every request of theirs has its final count."""
        tasks = [self._proxies[child] for child in children if child in self._proxies]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def open_sandbox(
    workspace: Path,
    *,
    level: Literal["auto", "full", "partial", "none"] = "auto",
    launcher: Literal["auto", "bwrap", "native"] = "auto",
    limits: Limits | None = None,
    environment: Mapping[str, str] | None = None,
    confirmed_none: bool = False,
    allow_net: Sequence[str] | Network = (),
    on_request: Callable[[Request], None] | None = None,
    place: str = "",
) -> Sandbox:
    """The best sandbox of the wanted level. "auto" takes FULL, else PARTIAL, never NONE. `environment` is added to the
    few variables that programs get. `allow_net`: hosts, as name or name:port, that programs may reach by HTTP through a
    proxy; `on_request` is told of each try. `place`: where programs find the workspace as well, and begin (at level
    FULL). Raises `SandboxError` with the cause and the remedy."""
    if sys.platform != "linux":
        raise SandboxError(
            f"there is no sandbox for {sys.platform} yet: code and commands cannot be run", "files and web still work"
        )
    real = check_workspace(workspace)
    if level == "none" and not confirmed_none:
        raise SandboxError("running without a sandbox needs a confirmation", "add --i-know-there-is-no-sandbox")
    network = allow_net if isinstance(allow_net, Network) else Network(allow_net, on_request=on_request)
    refusals: list[str] = []
    for offer in offers(level, launcher):
        reaching = network if network.hosts and offer.level == "FULL" else None
        wall = build(offer, real, limits or Limits(), {**(VARIABLES if reaching else {}), **(environment or {})}, place)
        if not (refusal := try_out(wall)):
            lacks = lacking(offer, wall)
            if network.hosts and offer.level == "PARTIAL":
                lacks += ("programs reach no network at all, not even the allowed hosts",)
            return Sandbox(wall, offer.level, lacks, reaching)
        wall.discard()
        refusals.append(f"{offer.launcher}: {refusal}")
    raise SandboxError(f"no sandbox can be set up here ({'; '.join(dict.fromkeys(refusals))})", remedy(refusals))
