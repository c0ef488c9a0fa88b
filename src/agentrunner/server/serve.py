"""Starting the server: everything is checked, put together, bound, and then said."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Literal

from agentrunner.errors import UsageError
from agentrunner.journal import open_journal
from agentrunner.render.stdout import Unwritable
from agentrunner.runner.models import check_key, check_script
from agentrunner.server.keys import DEFAULT_OWNER, list_keys, owner_for

if TYPE_CHECKING:
    from types import FrameType

    from agentrunner.config import Settings
    from agentrunner.server.guarding import Policy
    from agentrunner.server.services import Services

GC_AFTER = 10_000
"""Objects more than before after which rings of them are looked for: a run makes some hundreds, and leaves few."""
GRACE_S = 5
"""What is being answered has so long to come to its end after Ctrl-C."""
HANG_UP_S = 1
"""Before that, streams are told that it is over."""


def serve(settings: Settings, *, model_override: str | None = None) -> None:
    """Serve until a signal comes. Raises `UsageError` when that cannot begin."""
    _need_packages()
    check_key(settings)
    check_script(settings)
    with contextlib.ExitStack() as stack:
        services = stack.enter_context(opened(settings, model_override))
        _make_vectors(services)
        local = is_loopback(settings.host)
        keys = services.store.database.read(list_keys)
        if not local and not keys:
            raise UsageError(
                f"at {settings.host!r} others could reach this server, and there are no API keys",
                "make one with 'agent keys create NAME', or leave --host out",
            )
        bound = stack.enter_context(contextlib.closing(_bind(settings.host, settings.port)))
        _run(services, policy_of(services, local=local), bound, keyed=bool(keys))


def _make_vectors(services: Services) -> None:
    from agentrunner.server.embedding import endpoint_of
    from agentrunner.server.vectors import VectorMaker

    endpoint = endpoint_of(services.settings, services.pool)
    if endpoint is not None:
        services.vectors = VectorMaker(services, endpoint)


@contextlib.contextmanager
def opened(settings: Settings, model_override: str | None = None) -> Generator[Services]:
    """The parts of a server, until the block ends."""
    from agentrunner.server.indexing import Indexer
    from agentrunner.server.services import Services
    from agentrunner.server.sessions import Sessions
    from agentrunner.server.storage.blobs import Blobs
    from agentrunner.server.storage.store import Store
    from agentrunner.server.tools import Tools
    from agentrunner.server.worker import Worker

    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(contextlib.closing(open_journal(settings.home, settings.database_url)))
        store = stack.enter_context(contextlib.closing(Store(journal.database)))
        indexer = stack.enter_context(contextlib.closing(Indexer(settings.home, strict=settings.strict_file_types)))
        sessions = stack.enter_context(contextlib.closing(Sessions(journal)))
        blobs = Blobs(settings.home)
        services = Services(settings.home, settings, journal, sessions, store, blobs, indexer, model_override)
        services.tools, services.worker = Tools(services), Worker(services)
        yield services


def policy_of(services: Services, *, local: bool) -> Policy:
    from agentrunner.server.guarding import Policy, own_names

    settings = services.settings

    async def owner(secret: str | None) -> str | None:
        found = await services.store.read_all(lambda execute: owner_for(execute, secret))
        # Keys may be removed while the server runs, the last one too.
        return found if local or found != DEFAULT_OWNER else None

    hosts = {host.lower() for host in settings.allow_host}
    if not local:
        hosts |= own_names()
    return Policy(owner, hosts, any_address=not local, requests_per_minute=settings.requests_per_minute)


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # asyncio sends small answers at once only where the socket says that it is TCP; else each waits 40 ms.
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host!r}: {error.strerror}", "give --host an address of this machine"
        ) from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}", "give --port another number, or 0"
        ) from None
    return bound


def _run(services: Services, policy: Policy, bound: socket.socket, *, keyed: bool) -> None:
    import uvicorn

    from agentrunner.server.app import make_app

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if not self.should_exit:
                asyncio.get_running_loop().call_soon(self.greet)

        def greet(self) -> None:
            try:
                print(_greeting(bound, keyed), flush=True)
            except Unwritable:  # Whoever started it has gone, and it ends as after a signal.
                self.should_exit = True

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            super().handle_exit(sig, frame)
            if self.force_exit:  # the second Ctrl-C: nobody wants to read what it cuts off
                logging.getLogger("uvicorn.error").disabled = True

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Streams last as long as their runs; those that are not over in time are ended, not cut.
            asyncio.get_running_loop().call_later(GRACE_S - HANG_UP_S, services.worker.hang_up)
            await super().shutdown(sockets)

    logging.getLogger("python_multipart").addHandler(logging.NullHandler())  # else it speaks on standard error
    config = uvicorn.Config(
        make_app(services, policy),
        http=_protocol(),
        ws="none",
        log_level="error",  # what clients do wrong, they are told
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=False,  # who asks, and how it came here, is not asked
        timeout_graceful_shutdown=GRACE_S,
    )
    # The signal is raised again when all is shut down; then the parts have to be closed, too.
    signal.signal(signal.SIGTERM, _terminated)
    # What is loaded now stays: the collector need not go through it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_AFTER)
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        runner.run(Server(config).serve([bound]))


def _protocol() -> type[asyncio.Protocol] | Literal["h11"]:
    """How requests are read: by httptools where it is installed."""
    try:
        from agentrunner.server.heads import BoundedHeads
    except ImportError:
        return "h11"
    return BoundedHeads


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed, which does the same in less time; it does not exist for every platform."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _terminated(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _greeting(bound: socket.socket, keyed: bool) -> str:
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - what was chosen with --host, where everything was checked
        host = socket.gethostname()
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    key = "THE KEY THAT 'agent keys create' PRINTED" if keyed else "not-needed"
    return (
        f"serving the Assistants API at {address}; Ctrl-C stops it. Two lines change in a program:\n\n"
        f'    base_url="{address}/v1",\n    api_key="{key}",\n'
    )


def _need_packages() -> None:
    try:
        import python_multipart  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import starlette  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import uvicorn  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise UsageError(
            f"the server needs {error.name}, which is not installed", "pip install 'agentrunner[server]'"
        ) from None
