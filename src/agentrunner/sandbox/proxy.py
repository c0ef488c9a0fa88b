"""The one way out for sandboxed code: an HTTP proxy in the agent, on a socket that listens inside of the sandbox.

It understands CONNECT, and http URLs in full; one request per connection. Who may be reached is decided in network.py.
Everything that comes from inside is untrusted: it is bounded, and read strictly or refused.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import re
import socket
from dataclasses import dataclass

from .network import Network, Refused, Request

MAX_HEAD_BYTES = 64 << 10
MAX_CONNECTIONS = 32
HEAD_S = 10.0
CONNECT_S = 10.0
IDLE_S = 60.0
"""Without a byte in either direction."""
_READ_BYTES = 64 << 10

_LINE = re.compile(r"([A-Z]{1,20}) ([\x21-\x7e]{1,60000}) (HTTP/1\.[01])")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*)")
_AUTHORITY = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})"
_CONNECT = re.compile(_AUTHORITY + r":([0-9]{1,5})")
_URL = re.compile(r"[Hh][Tt][Tt][Pp]://" + _AUTHORITY + r"(?::([0-9]{1,5}))?([/?][^#]*)?")
_STATUS = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})( .*)?")
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "upgrade"}
_REASONS = {400: "Bad Request", 403: "Forbidden", 411: "Length Required", 429: "Too Many Requests"}


@dataclass(frozen=True, slots=True)
class _Head:
    request: Request
    target: str
    version: str
    headers: list[tuple[str, str]]
    body_bytes: int


async def serve(network: Network, control: socket.socket, over: asyncio.Future[None]) -> None:
    """Takes the listening socket that comes over `control`, and answers on it until `over` is done."""
    with control, contextlib.ExitStack() as received:
        receiving = asyncio.ensure_future(_listener(control, received))
        try:
            await asyncio.wait({receiving, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not receiving.done():
                receiving.cancel()
        listener = receiving.result() if receiving.done() and not receiving.cancelled() else None
        if listener is not None:
            control.close()
            await _answer(network, listener, over)


async def _answer(network: Network, listener: socket.socket, over: asyncio.Future[None]) -> None:
    running: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(running) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.ensure_future(_connection(network, reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(accept, sock=listener, limit=MAX_HEAD_BYTES)
    try:
        await asyncio.wait({over})
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _listener(control: socket.socket, received: contextlib.ExitStack) -> socket.socket | None:
    """None when nothing of the kind comes. What comes is closed with `received`, whatever happens meanwhile."""
    loop = asyncio.get_running_loop()
    control.setblocking(False)
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(control, lambda: readable.done() or readable.set_result(None))
    try:
        await readable
    finally:
        loop.remove_reader(control)
    try:
        _, ancillary, _, _ = control.recvmsg(1, socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return None
    fds = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if len(fds) != 1:
        return None
    return received.enter_context(socket.socket(fileno=fds[0]))


async def _connection(network: Network, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request: Request | None = None
    reason = ""
    try:
        request = network.begin()
        head = await _read_head(request, reader)
        upstream = await _connect(network, request)
        try:
            async with asyncio.timeout(IDLE_S) as idle:
                await _Exchange(network, head, (reader, writer), upstream, idle).run()
        finally:
            upstream[1].transport.abort()
    except Refused as refused:
        reason = refused.reason
        await _refuse(writer, refused)
    except TimeoutError:
        reason = f"nothing came for {IDLE_S:g} s"
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        reason = "the connection broke"
    except asyncio.CancelledError:
        reason = "the program ended"
        raise
    finally:
        writer.close()
        if request is not None:
            network.end(request, reason)


async def _read_head(request: Request, reader: asyncio.StreamReader) -> _Head:
    try:
        raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_S)
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise Refused(400, "no whole request came") from None
    line, headers = _parse(raw)
    found = _LINE.fullmatch(line)
    if not found:
        raise Refused(400, "not an HTTP/1 request")
    request.method, target, version = found[1], found[2], found[3]
    place = (_CONNECT if request.method == "CONNECT" else _URL).fullmatch(target)
    if not place:
        raise Refused(400, "this is a proxy: it takes CONNECT host:port, or a whole http:// URL without a user")
    port = int(place[2] or 80)
    if not 0 < port < 1 << 16:
        raise Refused(400, "no such port")
    request.host, request.port = place[1].lower().strip("[]"), port
    path = "" if request.method == "CONNECT" else place[3] or "/"
    return _Head(request, path if path.startswith("/") else f"/{path}", version, headers, _body_bytes(headers))


def _parse(raw: bytes) -> tuple[str, list[tuple[str, str]]]:
    """The first line and the headers. Raises `Refused` for what two programs could read differently."""
    line, *rest = raw[:-4].decode("latin-1").split("\r\n")
    found = [_HEADER.fullmatch(each) for each in rest]
    headers = [(match[1], match[2].rstrip()) for match in found if match]
    if len(headers) != len(rest):
        raise Refused(400, "a header cannot be read")
    return line, headers


def _body_bytes(headers: list[tuple[str, str]]) -> int:
    if any(name.lower() == "transfer-encoding" for name, _ in headers):
        raise Refused(411, "the proxy takes bodies of a known length only: send Content-Length")
    lengths = {value for name, value in headers if name.lower() == "content-length"}
    if not lengths:
        return 0
    length = lengths.pop()
    if lengths or not re.fullmatch(r"[0-9]{1,15}", length):
        raise Refused(400, "Content-Length cannot be read")
    return int(length)


async def _connect(network: Network, request: Request) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for address in await network.addresses(request):
        with contextlib.suppress(OSError, TimeoutError):
            opening = asyncio.open_connection(address, request.port, limit=MAX_HEAD_BYTES)
            return await asyncio.wait_for(opening, CONNECT_S)
    raise Refused(502, f"{request.host}:{request.port} does not answer")


async def _refuse(writer: asyncio.StreamWriter, refused: Refused) -> None:
    body = f"agent: {refused.reason}\n".encode()
    title = _REASONS.get(refused.status, "Bad Gateway")
    head = f"HTTP/1.1 {refused.status} {title}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    with contextlib.suppress(OSError, TimeoutError):
        writer.write(head.encode() + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await asyncio.wait_for(writer.drain(), HEAD_S)


class _Exchange:
    """One request that is allowed, and its answer, counted on their way."""

    def __init__(
        self,
        network: Network,
        head: _Head,
        inside: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        outside: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        idle: asyncio.Timeout,
    ) -> None:
        self._network = network
        self._head = head
        self._from_inside, self._to_inside = inside
        self._from_outside, self._to_outside = outside
        self._idle = idle

    async def run(self) -> None:
        tunnel = self._head.request.method == "CONNECT"
        sending = asyncio.ensure_future(self._tunnel_up() if tunnel else self._send())
        try:
            if tunnel:
                self._to_inside.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._pump(self._from_outside, self._to_inside)
            else:
                await self._answer()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _tunnel_up(self) -> None:
        await self._pump(self._from_inside, self._to_outside)
        self._to_outside.write_eof()

    async def _send(self) -> None:
        head = self._head
        host = f"[{head.request.host}]" if ":" in head.request.host else head.request.host
        authority = host if head.request.port == 80 else f"{host}:{head.request.port}"
        kept = _end_to_end(head.headers, {"host"})
        lines = [f"{head.request.method} {head.target} {head.version}", f"Host: {authority}", *kept]
        if await self._pass(_closing(lines), self._to_outside):
            await self._pump(self._from_inside, self._to_outside, head.body_bytes)

    async def _answer(self) -> None:
        status = 100
        headers: list[tuple[str, str]] = []
        while 100 <= status < 200:
            raw = await self._from_outside.readuntil(b"\r\n\r\n")
            line, headers = _parse(raw)
            found = _STATUS.fullmatch(line)
            if not found:
                raise ValueError("not an HTTP/1 answer")
            status = int(found[1])
            if not await self._pass(_closing([line, *_end_to_end(headers, set())], status >= 200), self._to_inside):
                return
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        if self._head.request.method == "HEAD" or status in (204, 304):
            return
        chunked = any(name.lower() == "transfer-encoding" for name, _ in headers)
        known = not chunked and bool(lengths) and lengths[0].isdigit()
        await self._pump(self._from_outside, self._to_inside, int(lengths[0]) if known else None)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, left_bytes: int | None = None
    ) -> None:
        """Until its end, or so many bytes, or a limit."""
        while left_bytes is None or left_bytes > 0:
            data = await source.read(_READ_BYTES if left_bytes is None else min(_READ_BYTES, left_bytes))
            if not data or not await self._pass(data, sink):
                return
            left_bytes = None if left_bytes is None else left_bytes - len(data)

    async def _pass(self, data: bytes, sink: asyncio.StreamWriter) -> bool:
        if not self._network.count(self._head.request, len(data)):
            self._to_outside.transport.abort()  # which ends the other direction too
            return False
        sink.write(data)
        await sink.drain()
        self._idle.reschedule(asyncio.get_running_loop().time() + IDLE_S)
        return True


def _end_to_end(headers: list[tuple[str, str]], dropped: set[str]) -> list[str]:
    """Without those that are meant for the proxy alone."""
    named = {
        word.strip().lower() for name, value in headers if name.lower() == "connection" for word in value.split(",")
    }
    own = _HOP_BY_HOP | dropped | (named - {"content-length", "transfer-encoding", "host"})
    return [f"{name}: {value}" for name, value in headers if name.lower() not in own]


def _closing(lines: list[str], last: bool = True) -> bytes:
    return "\r\n".join([*lines, *(["Connection: close"] if last else []), "", ""]).encode("latin-1")
